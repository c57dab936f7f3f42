"""Which workers a scale-down spares."""

from typing import Any

import pytest

from muster_api.workers import Autoscaling
from muster_operator.reconcile.sparing import changed_costs, spared
from muster_operator.resources import Manifest

LIMITS = Autoscaling(target_tasks_per_worker=4)


def pod(name: str, cost: str | None = None, **metadata: Any) -> Manifest:
    annotations = {} if cost is None else {"controller.kubernetes.io/pod-deletion-cost": cost}
    return {"metadata": {"name": name, "annotations": annotations, **metadata}}


def test_only_pods_whose_load_has_changed_get_a_new_cost() -> None:
    pods = [
        pod("idle"),
        pod("busy"),
        pod("still-busy", "1"),
        pod("done", "2"),
        pod("going", deletionTimestamp="now"),
    ]
    loads = {"busy": 2, "still-busy": 1, "going": 1}
    assert changed_costs(pods, loads, 2) == {"busy": "2", "done": "0"}


def test_a_task_that_only_waits_in_a_worker_costs_nothing() -> None:
    assert changed_costs([pod("one", "1"), pod("two")], {"one": 2, "two": 2}, 1) == {"two": "1"}


@pytest.mark.parametrize(
    ("loads", "outstanding", "kept"),
    [
        ({}, 0, 0),
        ({}, 100, 0),
        # Three are busy, and three tasks ask for one worker.
        ({"a": 1, "b": 1, "c": 1}, 3, 3),
        ({"a": 1, "b": 1, "c": 0}, 3, 2),
        # The queue asks for three, and so need not be helped.
        ({"a": 2, "b": 2, "c": 2}, 12, 0),
        # One that goes anyway, or is another pool's, is not kept.
        ({"a": 1, "going": 1, "elsewhere": 1}, 3, 0),
        ({"a": 1, "b": 1, "going": 1, "elsewhere": 1}, 4, 2),
    ],
)
def test_as_many_are_kept_as_are_busy(loads: dict[str, int], outstanding: int, kept: int) -> None:
    pods = [pod("a"), pod("b"), pod("c"), pod("going", deletionTimestamp="now")]
    assert spared(pods, loads, outstanding, LIMITS) == kept
