"""Keys from files: imported by the leader, replaced without mixing versions, retired at last."""

import asyncio
import hashlib
from pathlib import Path
from typing import Any

import pytest

from muster_coordinator.engine.errors import StaleEpoch
from muster_coordinator.engine.identity import new_id
from muster_coordinator.engine.model import NewWorkload, Requirement
from muster_coordinator.proving.imports import KeyFile
from muster_coordinator.proving.keyring import KeyRing
from muster_coordinator.proving.offers import Offers, Pool
from muster_coordinator.store.database import Database
from muster_coordinator.store.keys import PostgresKeys
from muster_coordinator.store.leadership import PostgresLeadership
from muster_coordinator.store.migrate import migrate
from muster_coordinator.store.queue import PostgresQueue
from muster_protos import coordinator_pb2 as pb
from muster_proving import CircuitSpec, Curve, KeyMaterial, generate_insecure_key
from muster_testing.waiting import eventually

from .harness import Replica, rows, serving, settings
from .workers import Worker

pytestmark = pytest.mark.integration

SPEC = CircuitSpec("range", size=8)


def write(path: Path, material: KeyMaterial) -> KeyFile:
    """A file as a configuration would name it."""
    path.write_bytes(material.proving_key)
    return KeyFile(path, hashlib.sha256(material.proving_key).hexdigest())


def pool(file: KeyFile | None, name: str = "demo") -> Pool:
    imports = {} if file is None else {SPEC: file}
    return Pool(name, (SPEC,), insecure_setup=False, imports=imports)


@pytest.fixture(scope="module")
def materials() -> list[KeyMaterial]:
    return [generate_insecure_key(SPEC) for _ in range(2)]


class Leading:
    """A database with a leader's epoch, and key rings over it."""

    def __init__(self, database: Database, epoch: int) -> None:
        self.database = database
        self.epoch = epoch
        self.store = PostgresKeys(database)

    async def ring(self, *pools: Pool, grace: float = 600.0) -> KeyRing:
        """A ring that has done the leader's duty once and loaded what there is."""
        ring = KeyRing(self.store, Offers(pools), grace)
        await ring.make_missing(self.epoch)
        await ring.import_missing(self.epoch)
        await self.load(ring)
        return ring

    async def load(self, ring: KeyRing) -> None:
        running = asyncio.create_task(ring.run())
        await eventually(lambda: not ring.missing(), what="all keys loaded")
        running.cancel()

    async def queue(self, version: str) -> str:
        """A task that was queued with a version; its id."""
        need = Requirement("demo", SPEC.task_type, SPEC.key_id, version)
        workload = NewWorkload(new_id(), need, b"{}")
        await PostgresQueue(self.database).submit([workload])
        return str(workload.id)


@pytest.fixture
async def leading(dsn: str) -> Any:
    await migrate(dsn)
    async with Database(dsn) as database:
        epoch, _ = await PostgresLeadership(database).take_epoch("c-0")
        yield Leading(database, epoch)


async def test_the_key_of_a_file_becomes_the_key_of_its_pool(
    leading: Leading, materials: list[KeyMaterial], tmp_path: Path, dsn: str
) -> None:
    demo = pool(write(tmp_path / "key", materials[0]))
    insecure = Pool("toy", (SPEC,), insecure_setup=True)
    ring = await leading.ring(demo, insecure)
    await ring.import_missing(leading.epoch)
    found = dict(ring.in_use())
    assert found["demo"].version == materials[0].version
    assert found["toy"].insecure
    assert not found["demo"].insecure
    assert len(await rows(dsn, "SELECT key_id FROM proving_keys")) == 2
    chunks = [c async for c in leading.store.proving_key(SPEC.key_id, found["demo"].version)]
    assert b"".join(chunks) == materials[0].proving_key


async def test_two_pools_keep_the_keys_of_their_own_files(
    leading: Leading, materials: list[KeyMaterial], tmp_path: Path
) -> None:
    pools = [pool(write(tmp_path / str(i), m), f"pool-{i}") for i, m in enumerate(materials)]
    ring = await leading.ring(*pools)
    found = [key.record.version for one in pools if (key := ring.current(one, SPEC))]
    assert found == [material.version for material in materials]


async def test_a_leader_of_an_old_epoch_imports_nothing(
    leading: Leading, materials: list[KeyMaterial], tmp_path: Path, dsn: str
) -> None:
    await PostgresLeadership(leading.database).take_epoch("c-1")
    ring = KeyRing(leading.store, Offers([pool(write(tmp_path / "key", materials[0]))]))
    with pytest.raises(StaleEpoch):
        await ring.import_missing(leading.epoch)
    assert await rows(dsn, "SELECT key_id FROM proving_keys") == []


async def problem(store: PostgresKeys, *pools: Pool) -> str:
    """What a replica that does not lead says of its one missing key."""
    ring = KeyRing(store, Offers(pools))
    running = asyncio.create_task(ring.run())
    [sentence] = await eventually(ring.problems, what="a problem")
    running.cancel()
    assert ring.missing() == [f"demo/{pools[0].circuits[0].key_id}"]
    return str(sentence)


async def test_what_is_wrong_with_a_file_is_said_in_one_sentence(
    leading: Leading, materials: list[KeyMaterial], tmp_path: Path
) -> None:
    store = leading.store
    good = write(tmp_path / "key", materials[0])
    begin = f"demo/{SPEC.key_id}: {tmp_path}/"
    assert await problem(store, pool(None)) == (
        f"demo/{SPEC.key_id}: no import is configured, nor insecure_setup"
    )
    assert (await problem(store, pool(KeyFile(tmp_path / "none", good.sha256)))).startswith(
        f"{begin}none can't be read: No such file"
    )
    assert await problem(store, pool(KeyFile(good.path, "0" * 64))) == (
        f"{begin}key has SHA-256 {good.sha256}; configured is {'0' * 64}"
    )
    cut = KeyMaterial(SPEC, "", materials[0].proving_key[:-9], b"")
    assert (await problem(store, pool(write(tmp_path / "cut", cut)))) == (
        f"{begin}cut: key of {SPEC.key_id}: the key file is cut off"
    )
    other = generate_insecure_key(CircuitSpec("range", Curve.BLS12_381, 8))
    assert "not of range-8-poseidon@bn254" in await problem(
        store, pool(write(tmp_path / "other", other))
    )


async def test_a_file_that_is_mended_is_taken(
    leading: Leading, materials: list[KeyMaterial], tmp_path: Path
) -> None:
    file = write(tmp_path / "key", materials[0])
    file.path.write_bytes(b"half a copy")
    ring = KeyRing(leading.store, Offers([pool(file)]))
    tending = asyncio.create_task(ring.tend(leading.epoch))
    loading = asyncio.create_task(ring.run())
    await eventually(ring.problems, what="the damage is seen")
    write(file.path, materials[0])
    await eventually(lambda: not ring.missing(), what="the key is there")
    assert ring.problems() == []
    for task in (tending, loading):
        task.cancel()


async def test_a_replaced_version_is_offered_while_work_needs_it(
    leading: Leading, materials: list[KeyMaterial], tmp_path: Path, dsn: str
) -> None:
    old, new = (pool(write(tmp_path / str(i), m)) for i, m in enumerate(materials))
    before, after = (material.version for material in materials)
    await leading.ring(old)
    task = await leading.queue(before)
    ring = await leading.ring(new, grace=0.0)
    await ring.retire(leading.epoch)
    assert [record.version for record in await ring.provable(new)] == [after, before]
    await rows(dsn, "UPDATE workloads SET state = 'CANCELLED', input = NULL")
    assert [record.version for record in await ring.provable(new)] == [after]
    await ring.retire(leading.epoch)
    retired = "SELECT version, proving_key IS NULL FROM proving_keys ORDER BY created_at"
    assert await rows(dsn, retired) == [(before, True), (after, False)]
    assert ring.verifier(SPEC.key_id, before) is not None, f"for the proof of {task}"
    fresh = await leading.ring(new)
    assert fresh.verifier(SPEC.key_id, before) is not None


async def test_a_replaced_version_is_kept_for_a_while(
    leading: Leading, materials: list[KeyMaterial], tmp_path: Path, dsn: str
) -> None:
    old, new = (pool(write(tmp_path / str(i), m)) for i, m in enumerate(materials))
    await leading.ring(old)
    ring = await leading.ring(new, grace=600.0)
    await ring.retire(leading.epoch)
    held = "SELECT count(*) FROM proving_keys WHERE proving_key IS NOT NULL"
    assert await rows(dsn, held) == [(2,)]
    await rows(dsn, "UPDATE proving_keys SET superseded_at = superseded_at - interval '601 s'")
    await ring.retire(leading.epoch)
    assert await rows(dsn, held) == [(1,)]


async def test_a_version_that_is_taken_up_again_is_whole_again(
    leading: Leading, materials: list[KeyMaterial], tmp_path: Path
) -> None:
    old, new = (pool(write(tmp_path / str(i), m)) for i, m in enumerate(materials))
    await leading.ring(old)
    ring = await leading.ring(new, grace=0.0)
    await ring.retire(leading.epoch)
    await ring.retire(leading.epoch)
    again = await leading.ring(old)
    key = again.current(old, SPEC)
    assert key is not None
    assert key.record.version == materials[0].version
    chunks = [c async for c in leading.store.proving_key(SPEC.key_id, key.record.version)]
    assert b"".join(chunks) == materials[0].proving_key


class Holding(Worker):
    """A worker that has loaded one version of the key only."""

    def __init__(self, target: str, name: str, version: str) -> None:
        super().__init__(target, name)
        self._version = version

    async def register(self) -> None:
        await super().register()
        request = pb.RegisterWorkerRequest(
            worker_id=self.name, max_concurrent_tasks=4, pool="demo", version="test"
        )
        request.capabilities["circuits"] = "range"
        request.capabilities["keys"] = f"{SPEC.key_id}={self._version}"
        await self.stub.RegisterWorker(request)


async def test_each_task_is_proved_with_the_version_it_was_queued_with(
    materials: list[KeyMaterial], tmp_path: Path, dsn: str
) -> None:
    def document(file: KeyFile) -> dict[str, Any]:
        key = {"path": str(file.path), "sha256": file.sha256}
        circuit = {"name": "range", "size": 8, "import": key}
        return settings() | {"proving": {"pools": [{"name": "demo", "circuits": [circuit]}]}}

    async def queue(replica: Replica) -> str:
        answer = await replica.http.post(
            "/api/v1/tasks/range", json={"value": 5, "min": 1, "max": 9}
        )
        assert answer.status_code == 202, answer.text
        return str(answer.json()["task_id"])

    before, after = (material.version for material in materials)
    files = [write(tmp_path / str(i), material) for i, material in enumerate(materials)]
    async with serving(dsn, document(files[0]), tmp_path) as replica:
        first = await queue(replica)
    async with serving(dsn, document(files[1]), tmp_path) as replica:
        second = await queue(replica)
        async with Holding(replica.target, "old", before) as old:
            done = await replica.ends(first)
            third = await queue(replica)
            async with Holding(replica.target, "new", after) as new:
                ends = [await replica.ends(task) for task in (second, third)]
        assert [task.task_id for task in old.tasks] == [first]
        assert {task.task_id for task in new.tasks} == {second, third}
        for task, version in ((done, before), (ends[0], after), (ends[1], after)):
            assert (task["status"], task["key_version"]) == ("completed", version)
            assert task["verified"]
            assert task["proof"]["protocol"] == "groth16"


async def test_a_coordinator_without_its_key_lives_and_says_which(dsn: str, tmp_path: Path) -> None:
    circuit = {"name": "range", "size": 8, "import": {"path": "/nowhere/key", "sha256": "0" * 64}}
    document = settings() | {
        "proving": {"pools": [{"name": "demo", "insecure_setup": False, "circuits": [circuit]}]}
    }
    async with serving(dsn, document, tmp_path, ready=False) as replica:

        async def says_why() -> bool:
            answer = await replica.ops.get("/ready")
            keys = answer.json()["dependencies"]
            assert answer.status_code == 503
            assert keys["keys"] == f"missing: demo/{SPEC.key_id}"
            sentences = keys.get("key_problems", [])
            assert len(sentences) == 1, "not looked at yet"
            return str(sentences[0]).startswith(f"demo/{SPEC.key_id}: /nowhere/key can't be read")

        await eventually(says_why, what="the status names key and file")
        assert (await replica.ops.get("/health")).status_code == 200
