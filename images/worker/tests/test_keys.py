"""Proving keys: fetched, checked, kept, loaded; refused where they are not what was announced."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from muster_proving import KeyMaterial, generate_insecure_key
from muster_testing.waiting import eventually

from .conftest import StartWorker, children, streaming
from .recording import INPUTS, RecordingCoordinator, until

pytestmark = pytest.mark.integration

RANGE = "range-8-poseidon@bn254"


async def test_a_key_with_another_digest_than_announced_is_refused(
    coordinator: RecordingCoordinator, local_worker: StartWorker, tmp_path: Path
) -> None:
    coordinator.corrupt_keys = True
    worker = await local_worker(ready=False)
    await worker.ops.until_problem("its SHA-256 is")
    assert coordinator.registrations == []
    # The next try may be under way.
    await eventually(lambda: not list((tmp_path / "cache").iterdir()), what="nothing is kept")
    coordinator.corrupt_keys = False
    await streaming(coordinator, worker.ops)


async def test_a_key_of_another_version_than_announced_is_refused(
    coordinator: RecordingCoordinator, local_worker: StartWorker
) -> None:
    good = coordinator.keys[RANGE]
    coordinator.keys[RANGE] = replace(good, version="sha256:" + 64 * "0")
    worker = await local_worker(ready=False)
    body = await worker.ops.until_problem(f"KeyMismatch: proving key of {RANGE}")
    assert not body["keys_loaded"]
    assert coordinator.registrations == []
    coordinator.keys[RANGE] = good
    await streaming(coordinator, worker.ops)


async def test_a_key_longer_than_announced_is_refused(
    coordinator: RecordingCoordinator, local_worker: StartWorker
) -> None:
    coordinator.announce_sizes = {RANGE: 100}
    worker = await local_worker(ready=False)
    await worker.ops.until_problem("more than the announced 100 bytes")


async def test_keys_are_fetched_once_and_again_only_if_damaged(
    coordinator: RecordingCoordinator, local_worker: StartWorker, tmp_path: Path
) -> None:
    first = await local_worker()
    assert coordinator.keys_sent == 1
    await first.leave()
    [damaged] = (tmp_path / "cache").glob("*.key")
    damaged.write_bytes(b"damaged")
    second = await local_worker()
    assert coordinator.keys_sent == 2
    await until(coordinator.assign("task-1", "range", INPUTS["range"]), "completed")
    await second.leave()


def key_file(path: Path, key: KeyMaterial) -> dict[str, str]:
    """A file with a key, and the entry of worker.yaml that names it."""
    path.write_bytes(key.proving_key)
    digest = hashlib.sha256(key.proving_key).hexdigest()
    return {"key_id": key.spec.key_id, "path": str(path), "sha256": digest}


async def test_a_key_in_a_file_is_not_fetched(
    coordinator: RecordingCoordinator, local_worker: StartWorker, tmp_path: Path
) -> None:
    await local_worker(keys=[key_file(tmp_path / "mounted", coordinator.keys[RANGE])])
    assert coordinator.keys_sent == 0
    await until(coordinator.assign("task-1", "range", INPUTS["range"]), "completed")


async def test_a_file_with_another_version_of_the_key_is_left_alone(
    coordinator: RecordingCoordinator, local_worker: StartWorker, tmp_path: Path
) -> None:
    other = generate_insecure_key(coordinator.keys[RANGE].spec)
    await local_worker(keys=[key_file(tmp_path / "mounted", other)])
    assert coordinator.keys_sent == 1
    await until(coordinator.assign("task-1", "range", INPUTS["range"]), "completed")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "can't be read: No such file"),
        (b"another", "its SHA-256 is"),
        (b"", "neither a .zkey nor a proving key of Muster"),
    ],
)
async def test_a_wrong_file_is_named(
    content: bytes | None,
    problem: str,
    coordinator: RecordingCoordinator,
    local_worker: StartWorker,
    tmp_path: Path,
) -> None:
    path = tmp_path / "mounted"
    entry = {"key_id": RANGE, "path": str(path), "sha256": hashlib.sha256(b"").hexdigest()}
    if content is not None:
        path.write_bytes(content)
    worker = await local_worker(ready=False, keys=[entry])
    body = await worker.ops.until_problem(problem)
    assert str(path) in body["problem"]
    assert coordinator.registrations == []


def mapped(pid: int) -> set[str]:
    """The files of tables in the memory of the processes that a worker started."""
    lines = [
        line.split()
        for child in children(pid)
        for line in Path(f"/proc/{child}/maps").read_text().splitlines()
    ]
    return {f"{line[4]} {line[5]}" for line in lines if line[-1].endswith(".tables")}


async def test_workers_on_one_directory_share_the_tables(
    coordinator: RecordingCoordinator, worker_process: StartWorker, tmp_path: Path
) -> None:
    first = await worker_process(id="worker-1", concurrency=2)
    second = await worker_process(id="worker-2", spool_dir=str(tmp_path / "spool-2"))
    [tables] = (tmp_path / "cache").glob("*.tables")
    shared = {f"{tables.stat().st_ino} {tables}"}
    assert mapped(first.pid) == mapped(second.pid) == shared
    assert not list((tmp_path / "cache").glob("*.partial"))


async def test_damaged_tables_are_built_anew(
    coordinator: RecordingCoordinator, local_worker: StartWorker, tmp_path: Path
) -> None:
    await (await local_worker()).leave()
    [tables] = (tmp_path / "cache").glob("*.tables")
    good = tables.read_bytes()
    (tmp_path / "bad").write_bytes(good[:-1] + b"x")
    (tmp_path / "bad").replace(tables)
    await local_worker()
    assert tables.read_bytes() == good
    await until(coordinator.assign("task-1", "range", INPUTS["range"]), "completed")


async def test_two_versions_of_a_key_are_held_at_once(
    coordinator: RecordingCoordinator, local_worker: StartWorker
) -> None:
    older = coordinator.keys[RANGE]
    newer = generate_insecure_key(older.spec)
    coordinator.older_keys = [newer]
    await local_worker()
    held = coordinator.registrations[0].capabilities["keys"].split(",")
    assert sorted(held) == sorted(f"{RANGE}={key.version}" for key in (older, newer))
    for number, key in enumerate((older, newer)):
        record = coordinator.assign(
            f"task-{number}", "range", INPUTS["range"], key_version=key.version
        )
        record.key = key
        await until(record, "completed")
        metadata = json.loads(record.completion.proof_metadata_json)
        assert metadata["key_version"] == key.version


async def test_a_key_of_a_circuit_that_is_not_known_is_for_other_workers(
    coordinator: RecordingCoordinator, local_worker: StartWorker
) -> None:
    coordinator.keys["sudoku-9-poseidon@bn254"] = coordinator.keys[RANGE]
    await local_worker()
    assert "sudoku" not in str(coordinator.registrations[0].capabilities)
    assert coordinator.keys_sent == 1


async def test_keys_that_do_not_fit_the_memory_limit_say_so(
    coordinator: RecordingCoordinator, local_worker: StartWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("muster_worker.config.SMALLEST_MEMORY_LIMIT", 0)
    worker = await local_worker(ready=False, task_memory_limit="16Mi")
    await worker.ops.until_problem("out of memory: needs more than task_memory_limit, 16Mi")
