"""How a Coordinator's own worker pools stand, from what was seen of them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import yaml

from muster_api.conditions import Reason
from muster_api.coordinator import CoordinatorSpec
from muster_api.proverpool import ProverPoolSpec
from muster_operator import naming
from muster_operator.inventory import Inventory
from muster_operator.metrics_api.queues import METRICS
from muster_operator.reconcile.coordinator import contradiction, idle_since
from muster_operator.reconcile.rollout import Rollout
from muster_operator.reconcile.sleep import Rest
from muster_operator.reconcile.worker_pool_status import (
    WorkerPoolFacts,
    worker_numbers,
    worker_pool_statuses,
    worker_pool_verdicts,
)
from muster_operator.reconcile.worker_pools import Observed, SeenPool, look_again, seen_pools
from muster_operator.resources import Manifest
from muster_operator.telemetry.report import QueueNumbers, Report, Worker

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
FULL = Rollout(wanted=1, existing=1, updated=1, ready=1, current=True)


def spec(text: str) -> CoordinatorSpec:
    return CoordinatorSpec.model_validate(yaml.safe_load(text))


TWO = """
workerPools:
  - {name: plain, workloads: [sleep]}
  - {name: seldom, workloads: [command], autoscaling: {minReplicas: 0, scaleToZeroAfter: 1m}}
"""


def pod(name: str, pool: str) -> Manifest:
    return {"metadata": {"name": name, "namespace": "ns", "labels": {naming.WORKER_POOL: pool}}}


def deployment(pool: str, replicas: int) -> dict[tuple[str, str], Manifest]:
    name = f"demo-{pool}-workers"
    return {("Deployment", name): {"metadata": {"name": name}, "spec": {"replicas": replicas}}}


def look(text: str = TWO, report: Report | None = None, **seen: Any) -> dict[str, SeenPool]:
    observed = Observed(seen.get("live", {}), seen.get("pods", ()), report, seen.get("noted", {}))
    return {each.pool.name: each for each in seen_pools("demo", spec(text), observed, NOW)}


def test_each_pool_sees_its_own_pods_and_queue() -> None:
    report = Report({"plain": QueueNumbers(in_progress=2)}, {"p-1": 1, "p-2": 1, "s-1": 1})
    pods = [pod("p-1", "plain"), pod("p-2", "plain"), pod("s-1", "seldom"), pod("c", "")]
    found = look(report=report, pods=pods)
    assert [each["metadata"]["name"] for each in found["plain"].pods] == ["p-1", "p-2"]
    assert found["plain"].spared == 2, "two tasks need one worker, and two have one each"
    assert found["seldom"].spared == 1


def test_a_pool_falls_asleep_when_it_has_had_no_work_for_long_enough() -> None:
    live, report = deployment("seldom", 1), Report({})
    idle = look(report=report, live=live)
    assert idle["seldom"].rest == Rest(idle_since=NOW, again_after=60)
    assert look_again(idle.values()) == 60
    noted = {"seldom": (NOW - timedelta(minutes=2)).isoformat()}
    asleep = look(report=report, live=live, noted=noted)["seldom"]
    assert (asleep.scale.asleep, asleep.needed, asleep.autoscaled) == (True, 0, False)
    busy = look(report=Report({"seldom": QueueNumbers(pending=1)}), live=live, noted=noted)
    assert (busy["seldom"].needed, busy["seldom"].autoscaled) == (1, True)


def test_what_was_noted_is_read_from_the_status() -> None:
    pools = [{"name": "a"}, {"name": "b", "idleSince": "2026-01-01T12:00:00Z"}]
    assert idle_since({"status": {"workerPools": pools}}) == {"b": "2026-01-01T12:00:00Z"}
    assert idle_since({}) == {}


def test_a_suspended_coordinator_needs_no_workers() -> None:
    found = look(f"{TWO}\nsuspend: true")
    assert [(each.needed, each.autoscaled) for each in found.values()] == [(0, False)] * 2


@pytest.mark.parametrize(
    ("pods", "status", "reason"),
    [
        (FULL, "True", Reason.ALL_READY),
        (replace(FULL, ready=0), "False", Reason.NO_PODS_READY),
        (replace(FULL, updated=0), "False", Reason.ROLLING_OUT),
        (replace(FULL, wanted=2, ready=1), "False", Reason.PODS_STARTING),
    ],
)
def test_the_condition_says_what_the_first_pool_lacks(
    pods: Rollout, status: str, reason: Reason
) -> None:
    text = "workerPools: [{name: a, workloads: [sleep], autoscaling: {minReplicas: %d}}]"
    seen = look(text % max(1, pods.wanted))["a"]
    ready, placed = worker_pool_verdicts([WorkerPoolFacts(seen, pods)])
    assert (ready.type, ready.status, ready.reason) == ("WorkerPoolsReady", status, reason)
    assert status == "True" or "of pool a are ready" in ready.message
    assert placed.status == "True"


def test_without_pools_nothing_is_said_of_them() -> None:
    assert worker_pool_verdicts([]) == []


def test_the_status_has_the_numbers_of_each_pool_and_of_all_workers() -> None:
    report = Report(
        {"plain": QueueNumbers(1, 0, 2)},
        {"p-1": 2, "p-2": 0},
        workers={"p-1": Worker("plain", "ACTIVE"), "p-2": Worker("plain", "DEAD")},
    )
    facts = [WorkerPoolFacts(look(report=report)["plain"], FULL)]
    (status,) = worker_pool_statuses(facts, report)
    assert status.to_wire() == {
        "name": "plain",
        "replicas": 1,
        "readyReplicas": 1,
        "desiredReplicas": 1,
        "unschedulableReplicas": 0,
        "queue": {"pending": 1, "assigned": 0, "inProgress": 2},
    }
    numbers = worker_numbers(report)
    assert (numbers.known, numbers.active, numbers.busy) == (2, 1, 1)


def test_a_pool_may_not_be_called_as_a_proverpool_is() -> None:
    pools = {"plain": ProverPoolSpec()}
    found = contradiction(look().values(), pools)
    assert found is not None
    assert found.reason is Reason.POOL_NAME_TAKEN
    assert found.message == "worker pool plain has the name of a ProverPool: rename one of the two"
    assert contradiction(look().values(), {"other": ProverPoolSpec()}) is None


def test_the_metric_has_a_value_for_each_pool_of_a_namespace() -> None:
    known = Inventory()
    for namespace in ("ns", "elsewhere"):
        metadata = {"name": "demo", "namespace": namespace, "uid": namespace}
        body = {"kind": "Coordinator", "metadata": metadata, "spec": yaml.safe_load(TWO)}
        known.put(body)
    queues = METRICS["muster_worker_pool_outstanding_tasks"](known, "ns")
    assert [(queue.pool, dict(queue.labels)) for queue in queues] == [
        ("plain", {"coordinator": "demo", "pool": "plain"}),
        ("seldom", {"coordinator": "demo", "pool": "seldom"}),
    ]
    assert {queue.coordinator.namespace for queue in queues if queue.coordinator} == {"ns"}
