"""Tasks over real sockets, in real executing processes."""

import json
from typing import Any

import pytest
from muster_testing.waiting import eventually

from .conftest import GateFile, StartWorker
from .recording import RecordingCoordinator

pytestmark = pytest.mark.integration

INPUTS: dict[str, dict[str, Any]] = {
    "merkle": {"leaves": ["0x1", "0x22", "0x333", "0x4", "0x5"], "leaf_index": 4},
    "range": {"value": "77", "min": "10", "max": "200", "blinding": "5"},
    "addition": {"a": "3", "b": "4", "blinding_a": "1", "blinding_b": "2"},
}


@pytest.mark.parametrize("circuit", INPUTS)
async def test_a_proof_is_made_and_holds(
    circuit: str, coordinator: RecordingCoordinator, local_worker: StartWorker
) -> None:
    worker = await local_worker()
    record = coordinator.assign("task-1", circuit, INPUTS[circuit])
    await eventually(lambda: record.state == "completed", what="completed")
    assert record.started == [1]
    assert bool(record.completion.merkle_root) is (circuit == "merkle")
