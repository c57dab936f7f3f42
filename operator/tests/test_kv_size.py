"""How storage nodes go: never before their records are with the others."""

import pytest

from muster_operator.reconcile.kv.client import Member
from muster_operator.reconcile.kv.size import Size, Sizing, Step, next_step, size_after


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
        (3, (), (*FOUR[:3], "joining"), Step.ASK),
        (3, (3,), (*FOUR[:3], "draining"), Step.WAIT),
        (3, (3,), (*FOUR[:3], "inactive"), Step.TAKE),
        # Somebody else removed it.
        (3, (), (*FOUR[:3], "inactive"), Step.TAKE),
        # More are wanted again: it has left nevertheless, and comes back empty.
        (4, (3,), (*FOUR[:3], "draining"), Step.WAIT),
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


def test_before_there_are_any_there_is_nothing_to_take() -> None:
    assert next_step(Sizing("demo", 0, 3), {}) is Step.NOTHING


@pytest.mark.parametrize(
    ("step", "size"),
    [
        (Step.NOTHING, Size(4)),
        (Step.ASK, Size(4, leaving=(named(3),))),
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
