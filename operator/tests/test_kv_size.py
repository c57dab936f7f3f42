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
        (3, (), FOUR, Step.ASK),
        (2, (), FOUR, Step.ASK),
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
        (Step.ASK, Size(4, leaving=(named(3),))),
        # It is not registered again before it is gone.
        (Step.CANCEL, Size(4, leaving=(named(3),))),
        (Step.FORGET, Size(3)),
        (Step.TAKE, Size(3, left=named(3))),
    ],
)
def test_the_volume_goes_only_with_a_node_that_has_left(step: Step, size: Size) -> None:
    assert size_after(step, Sizing("demo", 4, 3), listed(*FOUR)) == size


def test_nodes_that_are_drained_are_named() -> None:
    sizing = Sizing("demo", 4, 2, (named(3),))
    states = listed("active", "active", "draining", "draining")
    assert size_after(Step.WAIT, sizing, states) == Size(4, leaving=(named(2), named(3)))
