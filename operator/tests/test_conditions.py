"""How objects stand, from what was seen of them."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml

from muster_api.conditions import ConditionType, EventReason, Reason
from muster_api.coordinator import CoordinatorSpec
from muster_api.proverpool import ProverPoolSpec
from muster_operator.children.base import Owner
from muster_operator.children.prover_pool import PoolInput
from muster_operator.reconcile.conditions import Finding, Verdict, merged, verdict
from muster_operator.reconcile.coordinator_status import (
    CoordinatorFacts,
    coordinator_status,
    coordinator_verdicts,
)
from muster_operator.reconcile.growth import Shortfall
from muster_operator.reconcile.pool_status import PoolFacts, pool_status, pool_verdicts
from muster_operator.reconcile.reconciler import news, outcome
from muster_operator.reconcile.rollout import Rollout, Unplaced, rollout, trouble, unplaced
from muster_operator.resources import Key
from muster_operator.telemetry.report import QueueNumbers, Report

FULL = Rollout(wanted=2, existing=2, updated=2, ready=2, current=True)
UP = Rollout(wanted=1, existing=1, updated=1, ready=1, current=True)
SAID = Report({"demo": QueueNumbers(3, 1, 2, 9)}, {"w-1": 1, "w-2": 0}, {"demo": {"k": "v"}}, "c-0")


def coordinator(text: str = "", **seen: Any) -> CoordinatorFacts:
    owner = Owner(Key("Coordinator", "proofs", "demo"), "uid")
    spec = CoordinatorSpec.model_validate(yaml.safe_load(text) or {})
    return CoordinatorFacts(owner, spec, **{"pods": FULL, "database": UP, **seen})


def pool(text: str = "", *, asleep: bool = False, **seen: Any) -> PoolFacts:
    owner = Owner(Key("ProverPool", "proofs", "demo"), "uid")
    spec = ProverPoolSpec.model_validate(
        {"keys": {"insecureSetup": True}, **(yaml.safe_load(text) or {})}
    )
    given = {"pods": FULL, "coordinator_ready": True, **seen}
    return PoolFacts(PoolInput(owner, spec, asleep=asleep), **given)


def said(verdicts: list[Verdict]) -> dict[str, tuple[str, str]]:
    return {each.type.value: (each.status, each.reason.value) for each in verdicts}


PROBLEM = Finding(Reason.REFUSED, "Deployment demo: no")
BEHIND = replace(FULL, current=False)
HALF = replace(FULL, ready=1)
NONE = replace(FULL, ready=0)
SMALL = Shortfall({"metadata": {"name": "data-demo-postgres-0"}, "spec": {}}, "2Gi", asks=False)


@pytest.mark.parametrize(
    ("facts", "ready", "reconciling", "stalled"),
    [
        (coordinator(), ("True", "AllReady"), None, None),
        (coordinator(pods=HALF), ("True", "AllReady"), "PodsStarting", None),
        (coordinator(pods=NONE), ("False", "NoPodsReady"), "NoPodsReady", None),
        (coordinator(pods=BEHIND), ("False", "RollingOut"), "RollingOut", None),
        (
            coordinator(pods=replace(FULL, existing=3)),
            ("False", "RollingOut"),
            "RollingOut",
            None,
        ),
        (
            coordinator(database=Rollout(wanted=1)),
            ("False", "WaitingForDatabase"),
            "WaitingForDatabase",
            None,
        ),
        (coordinator(problem=PROBLEM), ("False", "Refused"), None, "Refused"),
        (
            coordinator("suspend: true", pods=Rollout(existing=1, current=True)),
            ("False", "Suspended"),
            "Suspended",
            None,
        ),
        (
            coordinator("suspend: true", pods=Rollout(current=True)),
            ("False", "Suspended"),
            None,
            None,
        ),
        (coordinator(pods=HALF, paused=True), ("True", "AllReady"), None, None),
        (coordinator(small=(SMALL,)), ("True", "AllReady"), "VolumesGrowing", None),
        (coordinator(small=(replace(SMALL, refused="no"),)), ("True", "AllReady"), None, None),
    ],
)
def test_a_coordinator_stands_as_its_pods_do(
    facts: CoordinatorFacts,
    ready: tuple[str, str],
    reconciling: str | None,
    stalled: str | None,
) -> None:
    found = said(coordinator_verdicts(facts))
    assert found["Ready"] == ready
    assert found.get("Reconciling") == (("True", reconciling) if reconciling else None)
    assert found.get("Stalled") == (("True", stalled) if stalled else None)
    assert ("Paused" in found) is facts.paused
    assert ("VolumesTooSmall" in found) is bool(facts.small)


@pytest.mark.parametrize(
    ("facts", "ready", "reconciling"),
    [
        (pool(), ("True", "AllReady"), None),
        (pool(pods=HALF), ("True", "AllReady"), None),
        (pool("autoscaling: {minReplicas: 2}", pods=HALF), ("True", "AllReady"), "PodsStarting"),
        (
            pool("autoscaling: {minReplicas: 2}", pods=HALF, unplaced=Unplaced(1, "no cpu")),
            ("True", "AllReady"),
            "Unschedulable",
        ),
        (pool(pods=NONE), ("False", "NoPodsReady"), "NoPodsReady"),
        (pool(pods=BEHIND), ("False", "RollingOut"), "RollingOut"),
        (
            pool(coordinator_ready=False),
            ("False", "WaitingForCoordinator"),
            "WaitingForCoordinator",
        ),
        (
            pool("{replicas: 0, autoscaling: {enabled: false}}", pods=Rollout(current=True)),
            ("True", "AllReady"),
            None,
        ),
        (
            pool("autoscaling: {minReplicas: 0}", asleep=True, pods=Rollout(existing=1)),
            ("True", "ScaledToZero"),
            None,
        ),
        (
            pool("autoscaling: {minReplicas: 0}", pods=replace(NONE, wanted=1)),
            ("False", "NoPodsReady"),
            "NoPodsReady",
        ),
        (pool("suspend: true", pods=Rollout(current=True)), ("False", "Suspended"), None),
        (pool("suspend: true", pods=UP), ("False", "Suspended"), "Suspended"),
    ],
)
def test_a_pool_stands_as_its_workers_and_coordinator_do(
    facts: PoolFacts, ready: tuple[str, str], reconciling: str | None
) -> None:
    found = said(pool_verdicts(facts))
    assert found["Ready"] == ready
    assert found.get("Reconciling") == (("True", reconciling) if reconciling else None)
    assert "Stalled" not in found


def test_what_keeps_pods_from_running_is_said() -> None:
    facts = pool(pods=NONE, trouble="pod demo-1: ImagePullBackOff: no such image")
    message = next(each.message for each in pool_verdicts(facts))
    assert message == "0 of 2 workers are ready; pod demo-1: ImagePullBackOff: no such image"


def test_what_keeps_a_coordinator_from_finding_a_node_is_said() -> None:
    facts = coordinator(pods=NONE, unplaced=Unplaced(1, "0/3 nodes are available"))
    verdicts = {each.type.value: each for each in coordinator_verdicts(facts)}
    assert verdicts["Ready"].message == "0 of 2 coordinators are ready; 0/3 nodes are available"
    assert verdicts["PodsScheduled"].message == "1 pods find no node: 0/3 nodes are available"
    assert said(coordinator_verdicts(coordinator()))["PodsScheduled"] == ("True", "AllScheduled")


def test_what_the_coordinator_waits_for_is_said_of_the_pool_too() -> None:
    facts = pool(coordinator_ready=False, coordinator_message="no database")
    message = next(each.message for each in pool_verdicts(facts))
    assert message == "Coordinator demo is not ready: no database"


def test_a_key_of_another_version_than_the_pinned_one_is_said() -> None:
    source = "{secretRef: {name: s, key: k}}"
    digest = "c" * 64
    pin, other = ("sha256:" + digit * 64 for digit in "ab")
    text = f"""
        circuits: [{{name: merkle}}]
        keys: {{imported: [{{name: merkle, source: {source}, sha256: {digest}, version: '{pin}'}}]}}
    """

    def in_use(version: str) -> PoolFacts:
        keys = {"demo": {"merkle-20-poseidon@bn254": version}}
        return pool(text, report=Report(keys=keys))

    assert said(pool_verdicts(in_use(pin)))["Ready"] == ("True", "AllReady")
    assert "InsecureSetup" not in said(pool_verdicts(in_use(pin)))
    ready = next(iter(pool_verdicts(in_use(other))))
    assert (ready.status, ready.reason.value) == ("False", "KeyVersionDiffers")
    assert ready.message == (
        f"the key merkle-20-poseidon@bn254 in use is {other}, and keys.imported pins {pin}: "
        "correct the pin or the key"
    )


def test_insecure_keys_and_unverified_results_are_said() -> None:
    found = said(pool_verdicts(pool("verification: None")))
    assert found["InsecureSetup"] == ("True", "KeysMadeInCluster")
    assert found["ProofsVerified"] == ("False", "VerificationOff")


@pytest.mark.parametrize(
    ("facts", "status", "reason"),
    [
        (coordinator("replicas: 1"), "False", "SingleReplica"),
        (coordinator(), "False", "ManagedDatabase"),
        (coordinator(database=None), "True", "Replicated"),
        (coordinator(database=None, pods=HALF), "False", "PodsStarting"),
    ],
)
def test_high_availability_is_only_claimed_where_it_is(
    facts: CoordinatorFacts, status: str, reason: str
) -> None:
    assert said(coordinator_verdicts(facts))["HighlyAvailable"] == (status, reason)


def test_the_status_of_a_pool_has_its_queue_its_keys_and_its_busy_workers() -> None:
    facts = pool(report=SAID, workers=frozenset({"w-1", "w-2", "w-3"}), unplaced=Unplaced(1, "x"))
    status = pool_status(facts, 4).to_wire()
    assert status == {
        "observedGeneration": 4,
        "conditions": [],
        "replicas": 2,
        "readyReplicas": 2,
        "desiredReplicas": 2,
        "unschedulableReplicas": 1,
        "busyReplicas": 1,
        "selector": "app.kubernetes.io/component=worker,app.kubernetes.io/instance=demo,"
        "app.kubernetes.io/name=muster,muster.dev/proverpool=demo",
        "coordinator": "demo",
        "queue": {"pending": 3, "assigned": 1, "inProgress": 2, "oldestPendingSeconds": 9},
        "keys": [{"keyId": "k", "version": "v"}],
    }


def test_what_is_not_known_is_not_in_the_status() -> None:
    assert not {"queue", "busyReplicas"} & pool_status(pool(), 1).to_wire().keys()
    assert not {"queue", "leader"} & coordinator_status(coordinator(), 1).to_wire().keys()


def test_a_coordinator_sums_up_the_queues_of_its_pools() -> None:
    report = Report({"a": QueueNumbers(1, 2, 3, 4), "b": QueueNumbers(10, 20, 30, None)})
    status = coordinator_status(coordinator(report=report, leader="c-1", pools=2), 1).to_wire()
    assert status["queue"] == {
        "pending": 11,
        "assigned": 22,
        "inProgress": 33,
        "oldestPendingSeconds": 4,
    }
    assert (status["leader"], status["pools"]) == ("c-1", 2)


def test_the_time_of_a_condition_changes_only_with_its_status() -> None:
    early, late = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)

    def ready(holds: bool, message: str) -> list[Verdict]:
        return [verdict(ConditionType.READY, holds, Reason.ALL_READY, message)]

    first = merged([], ready(True, "one"), 1, early)
    same = merged(first, ready(True, "two"), 2, late)
    other = merged(same, ready(False, "two"), 2, late)
    assert first[0]["lastTransitionTime"] == "2026-01-01T00:00:00Z"
    assert same[0]["lastTransitionTime"] == "2026-01-01T00:00:00Z"
    assert (same[0]["message"], same[0]["observedGeneration"]) == ("two", 2)
    assert other[0]["lastTransitionTime"] == "2026-01-02T00:00:00Z"


def condition(kind: str, status: str, message: str = "m", *, reason: str = "Why") -> dict[str, str]:
    return {"type": kind, "status": status, "reason": reason, "message": message}


GROWS = condition("VolumesTooSmall", "True", reason="VolumesGrowing")
MAY_NOT_GROW = condition("VolumesTooSmall", "True", reason="VolumeExpansionRefused")
SLEEPS = condition("Ready", "True", reason="ScaledToZero")


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ([], [condition("Ready", "False")], []),
        ([], [condition("Ready", "True")], [EventReason.BECAME_READY]),
        ([condition("Ready", "True")], [condition("Ready", "True", "other")], []),
        (
            [condition("Ready", "True")],
            [condition("Ready", "False")],
            [EventReason.NO_LONGER_READY],
        ),
        ([condition("Ready", "True")], [SLEEPS], [EventReason.SCALED_TO_ZERO]),
        ([SLEEPS], [SLEEPS], []),
        (
            [SLEEPS],
            [condition("Ready", "False", reason="NoPodsReady")],
            [EventReason.SCALED_FROM_ZERO],
        ),
        (
            [SLEEPS],
            [condition("Ready", "False", reason="WaitingForCoordinator")],
            [EventReason.NO_LONGER_READY],
        ),
        (
            [condition("Ready", "False")],
            [condition("Ready", "False"), condition("Stalled", "True")],
            [EventReason.STALLED],
        ),
        (
            [condition("Ready", "False"), condition("Stalled", "True")],
            [condition("Ready", "False"), condition("Stalled", "True")],
            [],
        ),
        (
            [condition("Ready", "True")],
            [condition("Ready", "True"), condition("WorkersScheduled", "False")],
            [EventReason.UNSCHEDULABLE],
        ),
        (
            [condition("Ready", "False"), condition("PodsScheduled", "True")],
            [condition("Ready", "False"), condition("PodsScheduled", "False")],
            [EventReason.UNSCHEDULABLE],
        ),
        (
            [condition("Ready", "False"), condition("PodsScheduled", "False")],
            [condition("Ready", "False"), condition("PodsScheduled", "True")],
            [],
        ),
        (
            [condition("Ready", "True"), condition("NodesJoined", "False")],
            [condition("Ready", "True"), condition("NodesJoined", "True")],
            [EventReason.NODES_JOINED],
        ),
        (
            # Nobody had said that they have not.
            [condition("Ready", "True"), condition("NodesJoined", "Unknown")],
            [condition("Ready", "True"), condition("NodesJoined", "True")],
            [],
        ),
        (
            [condition("Ready", "True"), condition("BackedUp", "Unknown")],
            [condition("Ready", "True"), condition("BackedUp", "False")],
            [EventReason.BACKUP_FAILED],
        ),
        ([condition("Ready", "True"), GROWS], [condition("Ready", "True")], []),
        (
            [condition("Ready", "True"), GROWS],
            [condition("Ready", "True"), MAY_NOT_GROW],
            [EventReason.VOLUME_EXPANSION_REFUSED],
        ),
        (
            [condition("Ready", "True"), MAY_NOT_GROW],
            [condition("Ready", "True"), {**MAY_NOT_GROW, "message": "another"}],
            [],
        ),
    ],
)
def test_events_tell_of_changes_and_of_nothing_else(
    before: list[dict[str, str]], after: list[dict[str, str]], told: list[EventReason]
) -> None:
    assert [reason for reason, _ in news(before, after)] == told


@pytest.mark.parametrize(
    ("facts", "result"),
    [
        (pool(), "ready"),
        (pool(pods=NONE), "working"),
        (pool(problem=PROBLEM), "stalled"),
        (pool(paused=True), "paused"),
    ],
)
def test_the_outcome_follows_from_the_conditions(facts: PoolFacts, result: str) -> None:
    assert outcome(pool_verdicts(facts)).result == result


def test_a_rollout_is_read_from_a_deployment() -> None:
    deployment = {
        "metadata": {"generation": 3},
        "spec": {"replicas": 2},
        "status": {
            "observedGeneration": 3,
            "replicas": 3,
            "updatedReplicas": 1,
            "readyReplicas": 2,
            "conditions": [
                {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"}
            ],
        },
    }
    assert rollout(deployment) == Rollout(2, 3, 1, 2, True, "exceeded quota")
    assert not rollout(deployment).complete
    assert rollout(None) == Rollout()


def test_troubled_pods_are_told_from_those_that_only_start() -> None:
    def pod(name: str, **waiting: str) -> dict[str, Any]:
        state = {"waiting": waiting}
        return {
            "metadata": {"name": name},
            "status": {"containerStatuses": [{"name": "worker", "state": state}]},
        }

    assert trouble([pod("a", reason="ContainerCreating")]) == ""
    assert trouble([pod("b", reason="CrashLoopBackOff"), pod("a", reason="ErrImagePull")]) == (
        "pod a: ErrImagePull"
    )
    # Of one that is tried again, why it ended is worth more.
    ended = {"terminated": {"exitCode": 1, "message": "/backup/b: is it a backup?\n"}}
    waits = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}
    first = {"initContainerStatuses": [{"state": waits, "lastState": ended}]}
    assert trouble([{"metadata": {"name": "c"}, "status": first}]) == (
        "pod c: CrashLoopBackOff: /backup/b: is it a backup?"
    )
    long = trouble([pod("a", reason="ErrImagePull", message="x" * 1000)])
    assert len(long) == 300
    assert long.endswith("...")


def test_pods_without_a_node_are_counted() -> None:
    condition = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": "0/3 nodes are available",
    }
    pod = {"metadata": {"name": "a"}, "status": {"conditions": [condition]}}
    placed = {"metadata": {"name": "b"}, "status": {}}
    assert unplaced([pod, placed, pod]) == Unplaced(2, "0/3 nodes are available")
    assert unplaced([placed]) == Unplaced()
