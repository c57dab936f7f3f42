"""How storage nodes go: never before their records are with the others."""

import pytest

from muster_operator.reconcile.kv.client import Member, Topology, Work
from muster_operator.reconcile.kv.size import (
    Size,
    Sizing,
    Step,
    migration_of,
    next_step,
    size_after,
)


def named(number: int) -> str:
    return f"demo-kv-storage-{number}"


def listed(*states: str) -> dict[str, Member]:
    """The cluster's nodes as coordinators list them; `-` is one that they don't know."""
    return {
        named(number): Member("h", 1, state) for number, state in enumerate(states) if state != "-"
    }


FOUR = ("active",) * 4


@pytest.mark.parametrize(
    ("wanted", "asked", "states", "step"),
    [
        (4, (), FOUR, Step.NOTHING),
        (6, (), FOUR, Step.NOTHING),
        # It is written down before it is asked.
        (3, (), FOUR, Step.TELL),
        (2, (), FOUR, Step.TELL),
        (3, (3,), FOUR, Step.ASK),
        (2, (3,), FOUR, Step.ASK),
        # It was not asked, or coordinators refused, and it is wanted again.
        (4, (3,), FOUR, Step.NOTHING),
        (3, (3,), (*FOUR[:3], "draining"), Step.WAIT),
        (3, (3,), (*FOUR[:3], "inactive"), Step.TAKE),
        # Somebody else removed it.
        (3, (), (*FOUR[:3], "inactive"), Step.TAKE),
        # More are wanted again: it has left nevertheless, and comes back empty.
        (4, (3,), (*FOUR[:3], "inactive"), Step.TAKE),
        # It comes back, and has not joined yet.
        (4, (), (*FOUR[:3], "inactive"), Step.NOTHING),
        # It never joined.
        (3, (), (*FOUR[:3], "-"), Step.FORGET),
        # Who knows nobody may have lost what they knew.
        (3, (), ("-",) * 4, Step.WAIT),
        (2, (), ("active", "-", "active", "-"), Step.WAIT),
    ],
)
def test_a_node_goes_step_by_step(
    wanted: int, asked: tuple[int, ...], states: tuple[str, ...], step: Step
) -> None:
    sizing = Sizing("demo", 4, wanted, tuple(map(named, asked)))
    assert next_step(sizing, listed(*states)) is step


@pytest.mark.parametrize(
    ("wanted", "asked", "last", "under_way", "step"),
    [
        # It comes, and is wanted no more.
        (3, (), "joining", "node_addition", Step.CANCEL),
        # It is filled again, as one that lost its disk; or has just come.
        (3, (), "joining", "", Step.WAIT),
        (4, (3,), "joining", "node_addition", Step.NOTHING),
        # It goes, and is wanted again.
        (4, (3,), "draining", "node_deletion", Step.CANCEL),
        (5, (3,), "draining", "node_deletion", Step.CANCEL),
        # It has gone just now.
        (4, (3,), "draining", "", Step.WAIT),
        # Somebody else wants it to go.
        (4, (2,), "draining", "node_deletion", Step.WAIT),
        (3, (3,), "draining", "node_deletion", Step.WAIT),
    ],
)
def test_what_is_under_way_is_cancelled_where_the_opposite_is_wanted(
    wanted: int, asked: tuple[int, ...], last: str, under_way: str, step: Step
) -> None:
    sizing = Sizing("demo", 4, wanted, tuple(map(named, asked)))
    assert next_step(sizing, listed(*FOUR[:3], last), under_way) is step


@pytest.mark.parametrize(
    ("wanted", "factor", "last", "step"),
    [
        (3, 3, "active", Step.TELL),
        (2, 3, "active", Step.REFUSE),
        # Not one of those that are too many goes before it is known where that ends.
        (1, 2, "active", Step.REFUSE),
        (4, 5, "active", Step.NOTHING),
        # What has begun is ended, and one without data is not missed.
        (2, 3, "draining", Step.WAIT),
        (2, 3, "inactive", Step.TAKE),
        (2, 3, "joining", Step.CANCEL),
        (2, 3, "-", Step.FORGET),
        # There are no tenants, or coordinators don't tell.
        (1, 0, "active", Step.TELL),
    ],
)
def test_no_fewer_nodes_remain_than_a_tenant_has_replicas(
    wanted: int, factor: int, last: str, step: Step
) -> None:
    sizing, states = Sizing("demo", 4, wanted), listed(*FOUR[:3], last)
    under_way = {"draining": "node_deletion", "joining": "node_addition"}.get(last, "")
    assert next_step(sizing, states, under_way, factor) is step


class Ring:
    """Four storage nodes as coordinators have them, and an operator that looks at them.

    Args:
        slow: how many looks it takes to move a node's records away.
    """

    def __init__(self, slow: int) -> None:
        self.states = dict.fromkeys(map(named, range(4)), "active")
        self.written = Size(4)
        self.taken: list[str] = []
        self._slow = self._left = slow

    def look(self, wanted: int, *, dies: bool) -> Step:
        """One look; an operator that dies does so before it writes the status."""
        sizing = Sizing("demo", self.written.nodes, wanted, self.written.leaving)
        there = {name: Member("h", 1, state) for name, state in self.states.items()}
        last, draining = sizing.last, self.states[sizing.last] == "draining"
        step = next_step(sizing, there, "node_deletion" if draining else "", 2)
        size = size_after(step, sizing, there, 2)
        if step is Step.ASK:
            self.states[last], self._left = "draining", self._slow
        if step is Step.CANCEL:
            self.states[last] = "active"
        if size.left:
            self.taken.append(size.left)
        if not dies:
            self.written = size
            if size.left:
                # Its pod has gone; with another it comes back, and has nothing.
                self.states[last] = "active"
        return step

    def pass_by(self) -> None:
        """Let some time go by."""
        for name, state in self.states.items():
            if state == "draining":
                self._left -= 1
                self.states[name] = state if self._left > 0 else "inactive"


@pytest.mark.parametrize("slow", [1, 2, 5])
@pytest.mark.parametrize("dies", range(8))
def test_who_follows_an_operator_that_died_takes_the_node_that_was_to_leave(
    dies: int, slow: int
) -> None:
    ring = Ring(slow)
    for number in range(12):
        ring.look(3, dies=number == dies)
        ring.pass_by()
    assert ring.written == Size(3)
    assert set(ring.taken) == {named(3)}


@pytest.mark.parametrize("slow", [1, 2, 5])
@pytest.mark.parametrize("away", range(4))
@pytest.mark.parametrize("dies", range(8))
def test_who_follows_an_operator_that_died_takes_back_what_is_wanted_no_more(
    dies: int, away: int, slow: int
) -> None:
    """`replicas` was raised again while no operator was there."""
    ring = Ring(slow)
    for number in range(dies + 1):
        ring.look(3, dies=number == dies)
        ring.pass_by()
    for _ in range(away):
        ring.pass_by()
    for _ in range(4):
        ring.look(4, dies=False)
        ring.pass_by()
    # All serve: none leaves still, and none has left and is there with what it had.
    assert ring.states == dict.fromkeys(map(named, range(4)), "active")
    assert ring.written == Size(4)


def test_a_node_s_migration_is_told_from_others() -> None:
    others = (
        Work("a", "node_addition", named(2), "pending"),
        Work("b", "node_replacement", named(3), "pending"),
        Work("c", "replication_change", named(3), "pending"),
    )
    assert migration_of(named(3), Topology(1, work=others)) is None
    wanted = Work("d", "node_deletion", named(3), "in_progress")
    assert migration_of(named(3), Topology(1, work=(*others, wanted))) is wanted


def test_before_there_are_any_there_is_nothing_to_take() -> None:
    assert next_step(Sizing("demo", 0, 3), {}) is Step.NOTHING


@pytest.mark.parametrize(
    ("step", "size"),
    [
        (Step.NOTHING, Size(4)),
        (Step.TELL, Size(4, leaving=(named(3),))),
        (Step.ASK, Size(4, leaving=(named(3),))),
        (Step.REFUSE, Size(4, refusal="tenants want 5 replicas", fewest=5)),
        # It is not registered again before it is gone.
        (Step.CANCEL, Size(4, leaving=(named(3),))),
        (Step.FORGET, Size(3)),
        (Step.TAKE, Size(3, left=named(3))),
    ],
)
def test_the_volume_goes_only_with_a_node_that_has_left(step: Step, size: Size) -> None:
    assert size_after(step, Sizing("demo", 4, 3), listed(*FOUR), 5) == size


def test_nodes_that_are_drained_are_named() -> None:
    sizing = Sizing("demo", 4, 2, (named(3),))
    states = listed("active", "active", "draining", "draining")
    assert size_after(Step.WAIT, sizing, states) == Size(4, leaving=(named(2), named(3)))
