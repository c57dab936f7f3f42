"""The order of a migration's stages, and what it does to the ring."""

import pytest
from msgspec.structs import replace

from muster_kv.consistency import Level, required
from muster_kv.ring import Member, MemberState, Phase, Ring
from muster_kv.wire.messages import NodeState, Status
from muster_kv_coordinator.core.model import Migration, MigrationStatus, MigrationType
from muster_kv_coordinator.core.room import Disk, too_full
from muster_kv_coordinator.topology import plan
from muster_kv_coordinator.topology.plan import Change, Task, spread_enough, wanted
from muster_kv_coordinator.topology.stages import Action, Seen, Stage, next_action

A, B, C, D = (Member(name, "h", 1, virtual_nodes=8) for name in "abcd")
JOIN, LEAVE = Change(joining=D), Change(leaving="a")
RAISE = Change(tenant="t", factors=(1, 3))
RING = Ring(1, (A, B, C))


def _run(stage: Stage, *, cancelled: bool = False) -> list[Action]:
    """All actions of a migration whose nodes do what they are asked."""
    leads_to = {
        Action.MOVE: Stage.COPYING,
        Action.SWITCH: Stage.SETTLING,
        Action.SETTLE: Stage.CLEANING,
        Action.GO_BACK: Stage.UNDOING,
    }
    done = False
    actions: list[Action] = []
    while not actions or actions[-1] not in {Action.COMPLETE, Action.CANCEL}:
        action = next_action(Seen(stage, cancelled, spread=True, done=done))
        actions.append(action)
        done = action in {Action.CLEAR, Action.COPY, Action.CLEAN, Action.UNDO}
        stage = leads_to.get(action, stage)
    return actions


def test_a_migration_goes_through_its_stages() -> None:
    assert _run(Stage.CLEARING) == [
        Action.CLEAR,
        Action.MOVE,
        Action.COPY,
        Action.SWITCH,
        Action.SETTLE,
        Action.CLEAN,
        Action.COMPLETE,
    ]


def test_a_cancelled_one_goes_back_until_reads_have_been_switched() -> None:
    assert _run(Stage.CLEARING, cancelled=True) == [Action.CANCEL]
    assert _run(Stage.COPYING, cancelled=True) == [Action.GO_BACK, Action.UNDO, Action.CANCEL]
    assert _run(Stage.SETTLING, cancelled=True)[-1] is Action.COMPLETE


@pytest.mark.parametrize("stage", [Stage.CLEARING, Stage.COPYING, Stage.SETTLING, Stage.CLEANING])
def test_no_step_is_taken_before_nodes_hold_the_ring(stage: Stage) -> None:
    assert next_action(Seen(stage, cancelled=False, spread=False, done=True)) is Action.WAIT


def test_a_node_joins_in_three_rings() -> None:
    moving = Ring(2, *plan.moving(RING, JOIN))
    assert (moving.phase, moving.members[-1].state) == (Phase.MOVING, MemberState.BOOTSTRAPPING)
    switched = Ring(3, *plan.switched(moving, JOIN))
    assert switched.phase is Phase.SWITCHED
    assert Ring(4, *plan.settled(switched, JOIN)) == Ring(4, (A, B, C, D))
    assert Ring(3, *plan.undone(moving, JOIN)) == Ring(3, (A, B, C))


def test_a_node_leaves_in_three_rings() -> None:
    moving = Ring(2, *plan.moving(RING, LEAVE))
    assert moving.members[0] == replace(A, state=MemberState.LEAVING)
    assert Ring(4, *plan.settled(moving, LEAVE)) == Ring(4, (B, C))
    assert Ring(3, *plan.undone(moving, LEAVE)) == Ring(3, (A, B, C))


def test_a_factor_changes_and_the_members_stay() -> None:
    assert plan.moving(RING, RAISE) == plan.switched(RING, RAISE) == ((A, B, C), Phase.STABLE)
    tasks = plan.tasks(RING, RAISE, [1])
    assert tasks
    assert all(task.gains and task.factor == 1 for task in tasks)


@pytest.mark.parametrize("change", [JOIN, LEAVE])
def test_the_plan_is_the_same_before_and_while_members_change(change: Change) -> None:
    moving = Ring(2, *plan.moving(RING, change))
    assert plan.tasks(RING, change, [2]) == plan.tasks(moving, change, [2])
    assert plan.leftovers(RING, change, 2) == plan.leftovers(moving, change, 2)


def test_only_what_a_target_did_not_hold_is_cleared_there() -> None:
    lowered = Change(tenant="t", factors=(3, 1))
    assert not any(task.gains for task in plan.tasks(RING, lowered, [3]))
    assert all(task.gains for task in plan.tasks(RING, JOIN, [2]))


def _task(replaces: str = "") -> Task:
    (first, *_) = plan.tasks(RING, JOIN, [3])
    return Task(3, first.range, "d", ("a", "b", "c"), 2, replaces, gains=True)


def test_the_data_of_the_node_that_is_replaced_are_enough() -> None:
    assert wanted(_task("b"), (), (), forced=False) == "b"
    assert wanted(_task("b"), ("b",), (), forced=False) == ""


def test_else_a_quorum_is_joined() -> None:
    assert wanted(_task("b"), (), ("b",), forced=False) == "a"
    assert wanted(_task("b"), ("a",), ("b",), forced=False) == "c"
    assert wanted(_task("b"), ("a", "c"), ("b",), forced=False) == ""


def test_without_a_quorum_it_waits_unless_what_is_lost_was_given_up() -> None:
    with pytest.raises(LookupError, match="waiting for b, c, which should give its data to d"):
        wanted(_task(), (), ("b", "c"), forced=False)
    assert wanted(_task(), (), ("b", "c"), forced=True) == "a"
    assert wanted(_task(), ("a",), ("b", "c"), forced=True) == ""


def test_a_step_needs_so_many_that_no_quorum_holds_an_older_ring() -> None:
    assert spread_enough(RING, {"a", "b", "c"}, [1])
    assert not spread_enough(RING, {"a", "b"}, [3, 1])
    assert spread_enough(RING, {"a", "b"}, [3, 2])
    assert not spread_enough(RING, {"a"}, [3])
    assert spread_enough(RING, {"a"}, [3], given_up="b")
    assert not spread_enough(RING, {"a", "b"}, [])


def test_ranges_of_the_same_owners_are_the_whole_ring() -> None:
    found = plan.owned_together(RING, 2)
    assert sum(map(plan.share_of, found.values())) == pytest.approx(1.0)
    assert set(plan.owned_together(RING, 3)) == {("a", "b", "c")}


REFILL = Change(refilled="a", folder="new")


def test_a_member_with_an_empty_disk_gets_all_that_it_should_have() -> None:
    tasks = plan.tasks(RING, REFILL, [2])
    owned = [spans for owners, spans in plan.owned_together(RING, 2).items() if "a" in owners]
    assert sum(map(plan.share_of, owned)) == pytest.approx(
        plan.share_of(task.range for task in tasks)
    )
    assert {task.target for task in tasks} == {"a"}
    assert not any("a" in task.sources or task.gains for task in tasks)
    assert not plan.tasks(RING, REFILL, [1]), "nobody else has it"


@pytest.mark.parametrize(("factor", "needed"), [(2, 1), (3, 2), (4, 2), (5, 3)])
def test_so_many_are_joined_that_one_has_what_a_quorum_had(factor: int, needed: int) -> None:
    ring = Ring(1, tuple(Member(name, "h", 1, virtual_nodes=2) for name in "abcdefg"))
    tasks = plan.tasks(ring, REFILL, [factor])
    assert {task.needed for task in tasks} == {needed}
    # Of a quorum that the lost one was in, the rest and so many must have one in common.
    assert all(needed + required(Level.QUORUM, factor) - 1 > len(each.sources) for each in tasks)


def test_it_is_a_member_with_another_folder_when_it_has_all() -> None:
    ring = Ring(1, plan.with_folders(RING, {"a": "old", "b": "other"}))
    assert Ring(2, *plan.moving(ring, REFILL)).members == ring.members
    switched = Ring(3, *plan.switched(ring, REFILL))
    assert [one.folder for one in switched.members] == ["new", "other", ""]
    assert Ring(4, *plan.settled(switched, REFILL)).members == switched.members
    assert plan.leftovers(switched, REFILL, 3) == []


def test_a_node_joins_with_the_folder_that_it_has() -> None:
    asked = Migration("m", MigrationType.NODE_ADDITION, "d", "", MigrationStatus.PENDING)
    change = plan.change_of(asked, D, folder="f")
    members, _ = plan.moving(RING, change)
    assert members[-1] == replace(D, folder="f", state=MemberState.BOOTSTRAPPING)


def _status(node: str, folder: str) -> Status:
    return Status(node, f"{node}#0", NodeState.NORMAL, 1, 0, 0, 0.0, folder=folder)


def test_members_with_other_folders_than_they_joined_with() -> None:
    ring = Ring(1, plan.with_folders(RING, {"a": "1", "b": "2"}))
    said = {"a": _status("a", "9"), "b": _status("b", "2"), "c": _status("c", "3")}
    assert plan.unfilled(ring, said) == {"a": "9"}
    assert plan.unfilled(ring, {"a": _status("a", "")}) == {}


def test_a_store_is_put_back_when_all_members_come_with_other_data() -> None:
    ring = Ring(1, plan.with_folders(RING, {"a": "1", "b": "2", "c": "3"}))
    said = {node: _status(node, "9") for node in "abc"}
    assert not plan.put_back(ring, said), "their disks are empty"
    said["a"] = replace(said["a"], keys=7)
    assert plan.put_back(ring, said)
    assert not plan.put_back(ring, said | {"c": _status("c", "3")})
    assert not plan.put_back(ring, {node: said[node] for node in "ab"})
    assert not plan.put_back(RING, said)


def test_ranges_are_under_replicated_while_a_replica_is_away_or_missing() -> None:
    assert plan.under_replicated(RING, [1, 3], {"a", "b", "c"}) == 0
    assert plan.under_replicated(RING, [3], {"a", "b"}) == 24
    assert 0 < plan.under_replicated(RING, [1], {"a", "b"}) < 24
    assert plan.under_replicated(RING, [4], {"a", "b", "c"}) == 24
    assert plan.under_replicated(RING, [], ()) == 0


def test_a_node_leaves_only_where_disks_have_room_for_its_data() -> None:
    leaving = Disk("a", 8, 60, 100, 60.0)
    rest = [Disk("b", 8, 10, 100, 10.0), Disk("c", 4, 40, 100, 40.0), Disk("d", 8, 0, 0, 0.0)]
    assert too_full(leaving, rest, 85) == ""
    assert too_full(leaving, rest[:2], 55) == (
        "the disk of c would be 60% full with its part of what a holds; allowed: 55%"
    )
