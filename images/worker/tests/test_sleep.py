"""The workload type `sleep`."""

import json
from typing import Any

import pytest

from muster_sdk import InvalidInput
from muster_sdk.testing import Bench, run
from muster_worker.workloads.sleep import Sleep


def test_it_sleeps_and_tells_how_far_it_is() -> None:
    bench = Bench()
    result = run(Sleep(), {"seconds": 0.12}, context=bench).result
    assert result["slept_seconds"] >= 0.12
    assert result["resumed_at_seconds"] == 0
    assert [percent for percent, _ in bench.reports] == sorted(p for p, _ in bench.reports)


def test_it_goes_on_where_it_was_stopped() -> None:
    stopped = run(Sleep(), {"seconds": 600}, context=Bench(stop_at=2))
    assert stopped.checkpoint is not None
    slept = json.loads(stopped.checkpoint)["slept_seconds"]
    assert slept > 0
    result = run(Sleep(), {"seconds": slept}, checkpoint=stopped.checkpoint).result
    assert result["resumed_at_seconds"] == pytest.approx(slept, abs=0.001)


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({}, "seconds is missing; allowed: a number from 0 to 604800"),
        ({"seconds": -1}, "seconds is -1; allowed: a number from 0 to 604800"),
        ({"seconds": "5s"}, 'seconds is "5s"; allowed: a number from 0 to 604800'),
        ({"seconds": 1, "unit": "h"}, "unit is unknown; allowed: seconds"),
    ],
)
def test_what_cannot_be_right_is_named(given: dict[str, Any], error: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        run(Sleep(), given)
    assert str(caught.value) == error


@pytest.mark.parametrize("checkpoint", [b"", b"[]", b'{"slept_seconds": -1}', b"{}"])
def test_a_checkpoint_of_something_else_is_named(checkpoint: bytes) -> None:
    with pytest.raises(InvalidInput, match=r"^checkpoint is .*; allowed: what this type saved"):
        run(Sleep(), {"seconds": 1}, checkpoint=checkpoint)
