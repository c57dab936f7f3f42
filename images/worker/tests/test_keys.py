"""Proving keys: fetched, checked, kept, loaded; refused where they are not what was announced."""

from dataclasses import replace
from pathlib import Path

import pytest

from .conftest import StartWorker, streaming
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
    assert list((tmp_path / "cache").iterdir()) == []
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
    damaged = next((tmp_path / "cache").iterdir())
    damaged.write_bytes(b"damaged")
    second = await local_worker()
    assert coordinator.keys_sent == 2
    await until(coordinator.assign("task-1", "range", INPUTS["range"]), "completed")
    await second.leave()


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
