"""A hundred workers, a thousand tasks, and trouble all the time."""

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from muster_coordinator.engine.identity import new_id
from muster_coordinator.engine.model import NewWorkload, Requirement
from muster_coordinator.store.database import Database
from muster_coordinator.store.queue import PostgresQueue
from muster_proving import CircuitSpec, load_proving_key, parse_inputs
from muster_testing.waiting import eventually

from .blackhole import Network
from .harness import prepare, process, rows, settings

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

TASKS = 1000
# Work comes in parts, so that there is some whenever something breaks.
PART = TASKS // 5
PROCESSES = 10
WORKERS_EACH = 10

SPEC = CircuitSpec.from_key_id("addition-poseidon@bn254")


class Fleet:
    """Processes of ten simulated workers each, by the number of the process."""

    def __init__(self, keys: str, proofs: Path) -> None:
        self._keys = keys
        self._proofs = proofs
        self._processes: dict[int, subprocess.Popen[bytes]] = {}

    def start(self, number: int, target: str) -> None:
        """Start the workers of one process; the same names each time."""
        names = ",".join(f"w-{number * WORKERS_EACH + one:03}" for one in range(WORKERS_EACH))
        script = str(Path(__file__).with_name("fleet.py"))
        self._processes[number] = subprocess.Popen(
            [sys.executable, script, target, names, self._keys, str(self._proofs)],
            stderr=subprocess.DEVNULL,
        )

    def kill(self, number: int) -> None:
        """As the kernel does when memory runs out."""
        self._processes[number].kill()
        self._processes[number].wait()

    @property
    def dead(self) -> list[int]:
        """The processes that have ended."""
        return [number for number, one in self._processes.items() if one.poll() is not None]

    def close(self) -> None:
        """Kill what is left."""
        for number in self._processes:
            self.kill(number)


@contextlib.contextmanager
def _fleet(keys: str, proofs: Path) -> Iterator[Fleet]:
    fleet = Fleet(keys, proofs)
    try:
        yield fleet
    finally:
        fleet.close()


def _made(version: str, key: bytes, path: Path) -> list[bytes]:
    """Inputs whose proofs are in the file at `path`."""
    prover = load_proving_key(SPEC, key, version)
    proofs = {}
    for number in range(16):
        inputs = parse_inputs(SPEC, {"a": number, "b": 1})
        text = json.dumps(inputs, separators=(",", ":"))
        proofs[text] = prover.prove(inputs).proof.hex()
    path.write_text(json.dumps(proofs))
    return [text.encode() for text in proofs]


async def _submit(queue: PostgresQueue, version: str, inputs: list[bytes]) -> None:
    """Submit one part of the tasks."""
    need = Requirement("demo", SPEC.task_type, SPEC.key_id, version)
    await queue.submit(
        [NewWorkload(new_id(), need, inputs[number % len(inputs)]) for number in range(PART)]
    )


async def _reached(dsn: str, count: int) -> None:
    async def probe() -> bool:
        [(done,)] = await rows(dsn, "SELECT count(*) FROM results")
        return bool(done >= count)

    await eventually(probe, deadline=600.0, every=0.1, what=f"{count} tasks are done")


@pytest.mark.timeout(900)
async def test_workers_killed_and_cut_off_lose_no_task_and_repeat_none(
    dsn: str, tmp_path: Path
) -> None:
    await prepare(dsn)
    [(version, key)] = await rows(dsn, "SELECT version, proving_key FROM proving_keys")
    inputs = _made(version, key, tmp_path / "proofs.json")
    # However often a slow machine takes a task from its worker, it is not what killed that one.
    document = settings(heartbeat_timeout="8s", max_worker_losses=100)
    with (
        process(dsn, document, tmp_path / "c-0") as coordinator,
        _fleet(f"{SPEC.key_id}={version}", tmp_path / "proofs.json") as fleet,
    ):
        replica = await coordinator.serving()
        async with Network(replica.target) as network, Database(dsn) as database:
            queue = PostgresQueue(database)
            for number in range(PROCESSES):
                fleet.start(number, network.target if number < 3 else replica.target)

            async def connected() -> bool:
                listed = (await replica.ops.get("/workers")).json()["workers"]
                there = [worker for worker in listed if worker["connected"]]
                return len(there) == PROCESSES * WORKERS_EACH

            await eventually(connected, deadline=300.0, what="all workers are there")
            await _submit(queue, version, inputs)

            for number, count in ((3, 50), (4, 150), (5, 250)):
                await _reached(dsn, count)
                await _submit(queue, version, inputs)
                fleet.kill(number)
            await _submit(queue, version, inputs)
            network.cut()
            await _reached(dsn, 400)
            fleet.start(3, replica.target)
            fleet.kill(6)
            await _reached(dsn, 600)
            network.mend()
            fleet.start(4, replica.target)
            await _reached(dsn, TASKS)
            assert fleet.dead == [5, 6]
            await replica.close()
            await _nothing_waits(dsn)
    await _audited(dsn)


async def _nothing_waits(dsn: str) -> None:
    """What is left of the trouble must not reopen anything either."""
    await asyncio.sleep(1.0)
    states = "SELECT state, count(*) FROM workloads GROUP BY state"
    assert await rows(dsn, states) == [("COMPLETED", TASKS)]


async def _audited(dsn: str) -> None:
    """Every task was submitted and accepted exactly once, under the generation that held it."""
    counts = "SELECT event, count(*) FROM audit GROUP BY event"
    events: dict[str, int] = dict(await rows(dsn, counts))
    assert (events["workload.submitted"], events["workload.completed"]) == (TASKS, TASKS)
    assert "workload.failed" not in events
    assert "workload.poisoned" not in events
    # There was trouble at all.
    assert events.get("workload.unscheduled", 0) + events.get("workload.redistributing", 0) > 10
    twice = (
        "SELECT workload_id FROM audit WHERE event = 'workload.completed' "
        "GROUP BY workload_id HAVING count(*) <> 1"
    )
    assert await rows(dsn, twice) == []
    same = (
        "SELECT count(*) FROM results JOIN audit USING (workload_id, worker_id, generation) "
        "WHERE event = 'workload.completed' AND verified"
    )
    assert await rows(dsn, same) == [(TASKS,)]
    # A task moves on only from where it was: no event is missing from its way.
    gaps = (
        "SELECT workload_id FROM (SELECT workload_id, before, lag(after) OVER "
        "(PARTITION BY workload_id ORDER BY seq) AS was FROM audit "
        "WHERE workload_id IS NOT NULL AND after IS NOT NULL) AS steps "
        "WHERE before IS DISTINCT FROM was"
    )
    assert await rows(dsn, gaps) == []
