"""What a KVCluster says, and which storage nodes are registered."""

from dataclasses import replace
from typing import Any

import pytest

from muster_api.conditions import ConditionType, Reason
from muster_api.kv_backup import KVBackup
from muster_api.kv_tenants import KVTenant
from muster_api.kvcluster import KVClusterSpec
from muster_operator.children.base import Owner
from muster_operator.reconcile.conditions import Verdict
from muster_operator.reconcile.growth import Shortfall
from muster_operator.reconcile.kv.backups import Backups, backed_up
from muster_operator.reconcile.kv.client import Member, Topology, Work
from muster_operator.reconcile.kv.reconciler import held_nodes, is_whole, remembered
from muster_operator.reconcile.kv.size import Size
from muster_operator.reconcile.kv.status import KvFacts, kv_status, kv_verdicts
from muster_operator.reconcile.kv.store import (
    StoreState,
    Wanted,
    joined,
    known_nodes,
    unregistered,
)
from muster_operator.reconcile.rollout import Rollout
from muster_operator.resources import Key

KEY = Key("KVCluster", "data", "demo")
HOST = "demo-kv-storage-{}.demo-kv-storage.data.svc"


def pods(wanted: int, ready: int | None = None) -> Rollout:
    return Rollout(wanted, wanted, wanted, wanted if ready is None else ready, current=True)


ACME = KVTenant(name="acme")
WHOLE = KvFacts(
    owner=Owner(KEY, "uid"),
    spec=KVClusterSpec(tenants=[ACME]),
    size=Size(3),
    storage=pods(3),
    coordinators=pods(2),
    database=pods(1),
    store=StoreState(ring_version=3, members=3, present=1, settled=1, topology=Topology(3, 0, 7)),
)


def found(facts: KvFacts, kind: ConditionType = ConditionType.READY) -> Verdict:
    return next(each for each in kv_verdicts(facts) if each.type is kind)


def test_what_is_whole_is_ready_and_nothing_else_is_said() -> None:
    verdict = found(WHOLE)
    assert (verdict.status, verdict.reason) == ("True", Reason.ALL_READY)
    kinds = {each.type for each in kv_verdicts(WHOLE)}
    assert not kinds & {ConditionType.RECONCILING, ConditionType.STALLED}
    assert kv_status(WHOLE, 1).replication_factor == 3


def test_the_replication_factor_is_that_of_all_tenants() -> None:
    """Declared ones are not all, and what is declared is not always there yet."""
    for said, told in ((5, 5), (1, 1), (0, None), (None, 3)):
        facts = replace(WHOLE, store=replace(WHOLE.store, factor=said))
        assert kv_status(facts, 1).replication_factor == told
    assert kv_status(replace(WHOLE, spec=KVClusterSpec()), 1).replication_factor is None


RESTORING = KVClusterSpec(backup=KVBackup(claim_name="backups", restore="b"))


@pytest.mark.parametrize(
    ("change", "restored"),
    [
        ({}, "b"),
        # One has not begun yet, or not with this; members are those of a former cluster.
        ({"storage": pods(3, 2)}, None),
        ({"storage": Rollout(3, 3, 1, 3, current=True)}, None),
        ({"store": replace(WHOLE.store, members=2)}, None),
        # That is what was said last.
        ({"store": StoreState("no route", 3, 3, 1, 1)}, None),
        ({"spec": KVClusterSpec(backup=KVBackup(claim_name="backups"))}, None),
        ({"spec": KVClusterSpec()}, None),
        # Once it has been said it holds.
        ({"restored": "a"}, "a"),
        ({"restored": "b", "storage": pods(3, 2)}, "b"),
        ({"restored": "b", "spec": KVClusterSpec()}, "b"),
    ],
)
def test_a_backup_is_restored_once(change: dict[str, Any], restored: str | None) -> None:
    facts = replace(WHOLE, spec=RESTORING)
    assert kv_status(replace(facts, **change), 1).restored == restored


def test_a_refusal_says_what_to_write() -> None:
    refused = replace(WHOLE, spec=KVClusterSpec(replicas=1), size=Size(5, refusal="a disk is full"))
    said = found(refused, ConditionType.STALLED).message
    assert said == (
        "spec.replicas is 1, and 5 storage nodes hold data: none is taken away, for a disk is "
        "full; write replicas: 5"
    )
    few = replace(refused, size=Size(5, refusal="tenants want 3 replicas", fewest=3))
    said = found(few, ConditionType.STALLED).message
    assert said.endswith("none is taken away, for tenants want 3 replicas; write replicas: 3")


@pytest.mark.parametrize(
    ("change", "size"),
    [
        ({"members": 2}, Size(3)),
        ({"settled": 0}, Size(3)),
        ({"topology": Topology(3, 1, 0)}, Size(3)),
        ({"members": 4}, Size(4)),
        ({}, Size(3, leaving=("demo-kv-storage-2",))),
    ],
)
def test_what_changes_by_itself_is_looked_at_more_often(change: dict[str, Any], size: Size) -> None:
    assert is_whole(WHOLE.store, Size(3), WHOLE.spec)
    assert not is_whole(replace(WHOLE.store, **change), size, WHOLE.spec)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"database": pods(1, 0)}, Reason.WAITING_FOR_DATABASE),
        ({"storage": pods(3, 1)}, Reason.NODES_STARTING),
        ({"coordinators": pods(2, 0)}, Reason.NO_PODS_READY),
        ({"storage": Rollout(3, 3, 1, 3, current=True)}, Reason.ROLLING_OUT),
        ({"store": StoreState(silent="no route")}, Reason.STORE_SILENT),
        ({"store": StoreState(ring_version=2, members=2)}, Reason.NODES_JOINING),
        ({"store": StoreState(ring_version=3, members=3)}, Reason.TENANTS_WAITING),
        ({"size": Size(3, refusal="they are too few")}, Reason.SCALE_DOWN_REFUSED),
        (
            {"store": replace(WHOLE.store, topology=Topology(3, ahead=("demo-kv-storage-0",)))},
            Reason.RING_OUTDATED,
        ),
    ],
)
def test_what_keeps_it_from_being_ready(change: dict[str, Any], reason: Reason) -> None:
    verdict = found(replace(WHOLE, **change))
    assert (verdict.status, verdict.reason) == ("False", reason)


@pytest.mark.parametrize(
    "change",
    [
        {"settled": 0},
        {"topology": Topology(3, work=(Work("m", "replication_change", "acme", "x"),))},
    ],
)
def test_a_refusal_that_may_pass_is_not_for_good(change: dict[str, Any]) -> None:
    """A factor that is lowered with `replicas` is lowered first."""
    store = replace(WHOLE.store, **change)
    refused = replace(WHOLE, spec=KVClusterSpec(replicas=2, tenants=[]), store=store)
    refused = replace(refused, size=Size(3, refusal="tenants want 3"))
    assert ConditionType.STALLED not in {each.type for each in kv_verdicts(refused)}
    doing = found(refused, ConditionType.RECONCILING)
    assert doing.reason is Reason.NODES_LEAVING
    assert doing.message.endswith("; tenants want 3")


def test_without_one_node_it_is_ready_and_not_finished() -> None:
    facts = replace(WHOLE, storage=pods(3, 2))
    assert found(facts).status == "True"
    assert found(facts, ConditionType.RECONCILING).reason is Reason.NODES_STARTING


def test_while_volumes_grow_the_store_is_ready_and_not_finished() -> None:
    claim = {"metadata": {"name": "data-demo-kv-storage-0"}, "spec": {}}
    facts = replace(WHOLE, small=(Shortfall(claim, "2Gi", asks=False),))
    assert found(facts).status == "True"
    assert found(facts, ConditionType.RECONCILING).reason is Reason.VOLUMES_GROWING
    refused = replace(facts, small=(Shortfall(claim, "2Gi", asks=False, refused="no"),))
    assert found(refused).status == "True"
    said = found(refused, ConditionType.VOLUMES_TOO_SMALL)
    assert said.reason is Reason.VOLUME_EXPANSION_REFUSED
    assert ConditionType.RECONCILING not in {each.type for each in kv_verdicts(refused)}


def test_while_a_node_leaves_the_store_is_ready_and_not_finished() -> None:
    leaving = "demo-kv-storage-3"
    work = Work("m", "node_deletion", leaving, "in_progress", 25)
    store = replace(WHOLE.store, members=4, topology=Topology(4, 0, 0, (work,)))
    facts = replace(WHOLE, size=Size(4, (leaving,)), storage=pods(4), store=store)
    assert found(facts).status == "True"
    doing = found(facts, ConditionType.RECONCILING)
    assert doing.reason is Reason.NODES_LEAVING
    assert doing.message == f"4 storage nodes, 3 wanted; leaving: {leaving}"
    status = kv_status(facts, 1)
    assert (status.nodes, status.leaving) == (4, [leaving])
    assert [each.percent for each in status.migrations or []] == [25]


def test_what_a_migration_waits_for_is_told() -> None:
    leaving, text = "demo-kv-storage-3", "waiting for demo-kv-storage-1 to answer"
    work = Work("m", "node_deletion", leaving, "in_progress", 25, "copying", text)
    store = replace(WHOLE.store, members=4, topology=Topology(4, 0, 0, (work,)))
    facts = replace(WHOLE, size=Size(4, (leaving,)), storage=pods(4), store=store)
    doing = found(facts, ConditionType.RECONCILING)
    assert doing.message.endswith(f"leaving: {leaving}; node_deletion of {leaving}: {text}")
    (told,) = kv_status(facts, 1).migrations or []
    assert (told.stage, told.waiting_for) == ("copying", text)


def test_a_node_whose_former_volume_is_still_there_is_yet_to_come() -> None:
    facts = replace(WHOLE, spec=KVClusterSpec(replicas=4, tenants=[ACME]))
    doing = found(facts, ConditionType.RECONCILING)
    assert doing.message.startswith("3 storage nodes, 4 wanted")


@pytest.mark.parametrize(
    ("backups", "status", "reason"),
    [
        (Backups(), "Unknown", Reason.NO_BACKUP),
        (Backups("2026-01-02T03:00:00Z", running=True), "Unknown", Reason.NO_BACKUP),
        (Backups("2026-01-02T03:00:00Z"), "False", Reason.BACKUP_FAILED),
        (Backups("2026-01-02T03:00:00Z", "2026-01-01T03:01:00Z"), "False", Reason.BACKUP_FAILED),
        (
            Backups("2026-01-02T03:00:00Z", "2026-01-01T03:01:00Z", running=True),
            "True",
            Reason.BACKUP_MADE,
        ),
        (Backups("2026-01-02T03:00:00Z", "2026-01-02T03:01:00Z"), "True", Reason.BACKUP_MADE),
        # Made by hand.
        (Backups("", "2026-01-02T03:01:00Z"), "True", Reason.BACKUP_MADE),
    ],
)
def test_whether_the_last_backup_is_whole(backups: Backups, status: str, reason: Reason) -> None:
    said = backed_up(backups)
    assert (said.status, said.reason) == (status, reason)


def test_ranges_without_a_replica_are_told() -> None:
    store = replace(WHOLE.store, topology=Topology(3, 300, 12))
    verdict = found(replace(WHOLE, store=store), ConditionType.FULLY_REPLICATED)
    assert (verdict.status, verdict.message) == ("False", "300 ranges lack a replica")
    assert found(WHOLE, ConditionType.FULLY_REPLICATED).status == "True"
    silent = replace(WHOLE, store=StoreState("no route", 3, 3, 1, 1))
    assert found(silent, ConditionType.FULLY_REPLICATED).status == "Unknown"
    assert kv_status(replace(WHOLE, store=store), 1).hints_waiting == 12


def test_what_a_coordinator_refuses_is_told() -> None:
    store = StoreState(ring_version=3, members=3, refusal="tenant acme: no")
    verdict = found(replace(WHOLE, store=store), ConditionType.TENANTS_SETTLED)
    assert (verdict.status, verdict.reason) == ("False", Reason.STORE_REFUSED)
    assert verdict.message == "tenant acme: no"


@pytest.mark.parametrize(
    ("spec", "smallest", "database", "reason"),
    [
        (KVClusterSpec(tenants=[ACME]), 3, pods(1), Reason.MANAGED_DATABASE),
        (KVClusterSpec(tenants=[ACME]), 3, None, Reason.REPLICATED),
        # Coordinators of the version before don't tell.
        (KVClusterSpec(tenants=[ACME]), 0, None, Reason.REPLICATED),
        (KVClusterSpec(tenants=[ACME]), 2, None, Reason.TOO_FEW_REPLICAS),
        (KVClusterSpec(), 1, None, Reason.TOO_FEW_REPLICAS),
        (
            KVClusterSpec(tenants=[KVTenant(name="a", replication_factor=2)]),
            3,
            None,
            Reason.TOO_FEW_REPLICAS,
        ),
    ],
)
def test_whether_a_loss_is_survived(
    spec: KVClusterSpec, smallest: int, database: Rollout | None, reason: Reason
) -> None:
    store = replace(WHOLE.store, topology=Topology(3, smallest=smallest))
    facts = replace(WHOLE, spec=spec, store=store, database=database)
    assert found(facts, ConditionType.HIGHLY_AVAILABLE).reason is reason


def test_nodes_are_counted_by_what_there_has_been() -> None:
    stopped = {"spec": {"replicas": 0}}
    assert held_nodes({}, None) == 0
    assert held_nodes({"status": {"nodes": 3}}, stopped) == 3
    assert held_nodes({"status": {"nodes": 3}}, {"spec": {"replicas": 5}}) == 5


def test_what_a_silent_store_said_last_is_remembered() -> None:
    body = {"status": {"ringVersion": 7, "members": 3, "tenants": 1, "replicationFactor": 5}}
    kept = remembered(StoreState(silent="no route"), body)
    assert kept == StoreState("no route", 7, 3, 1, 1, factor=5)
    said = StoreState(ring_version=8, members=2)
    assert remembered(said, body) is said


def wanted(**running: str) -> Wanted:
    zones = {f"demo-kv-storage-{name[1:]}": zone for name, zone in running.items()}
    return Wanted(KEY, KVClusterSpec(), 3, running=zones)


def test_running_nodes_are_registered_with_their_zones() -> None:
    names = [name for name, _ in unregistered(wanted(_10="a", _2="b"), {})]
    assert names == ["demo-kv-storage-2", "demo-kv-storage-10"]
    ((_, member),) = unregistered(wanted(_0="a"), {})
    assert member == Member(HOST.format(0), 50052, "active", "a", 150)


def test_a_member_keeps_its_zone_and_gets_only_another_address() -> None:
    name = "demo-kv-storage-0"
    there = Member(HOST.format(0), 50052, "active", "a", 99)
    assert unregistered(wanted(_0="b"), {name: there}) == []
    moved = replace(there, host="elsewhere")
    assert unregistered(wanted(_0="b"), {name: moved}) == [(name, there)]


def test_a_node_that_leaves_is_not_registered_again() -> None:
    left = {"demo-kv-storage-1": Member("h", 1, "inactive")}
    assert unregistered(replace(wanted(_1="a"), leaving=tuple(left)), left) == []


def test_only_the_clusters_own_active_nodes_have_joined() -> None:
    listed = {
        "demo-kv-storage-0": Member("h", 1, "active"),
        "demo-kv-storage-1": Member("h", 1, "joining"),
        "demo-kv-storage-2": Member("h", 1, "draining"),
        "demo-kv-storage-7": Member("h", 1, "active"),
        "other": Member("h", 1, "active"),
    }
    assert joined(wanted(), listed) == 2


def test_every_member_of_the_cluster_is_known_to_have_a_pod() -> None:
    def at(number: int, status: str, host: str = HOST) -> tuple[str, Member]:
        return f"demo-kv-storage-{number}", Member(host.format(number), 1, status)

    listed = dict([at(0, "active"), at(3, "draining"), at(4, "inactive"), at(5, "active", "h")])
    assert known_nodes(KEY, listed) == 4
    assert known_nodes(KEY, {"other-9": Member("h", 1, "active")}) == 0
