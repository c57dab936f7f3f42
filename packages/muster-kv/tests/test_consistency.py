"""Quorums: pure progress from answer to answer."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster_kv.consistency import (
    Level,
    Progress,
    State,
    parse_level,
    read_progress,
    required,
    write_progress,
)
from muster_kv.ring import Placement

THREE = Placement(("a", "b", "c"))
JOINT = Placement(("a", "b", "c"), ("a", "b", "d"))


@pytest.mark.parametrize(
    ("level", "rf", "needed"),
    [
        (Level.ONE, 3, 1),
        (Level.QUORUM, 1, 1),
        (Level.QUORUM, 2, 2),
        (Level.QUORUM, 3, 2),
        (Level.QUORUM, 4, 3),
        (Level.QUORUM, 5, 3),
        (Level.ALL, 3, 3),
    ],
)
def test_required_replicas(level: Level, rf: int, needed: int) -> None:
    assert required(level, rf) == needed


@pytest.mark.parametrize("rf", range(1, 11))
def test_two_quorums_share_a_replica(rf: int) -> None:
    assert 2 * required(Level.QUORUM, rf) > rf


def test_levels_have_names() -> None:
    assert parse_level("ONE") is Level.ONE
    assert parse_level("", Level.ALL) is Level.ALL
    with pytest.raises(ValueError, match="consistency: 'most'; allowed: one, quorum, all"):
        parse_level("most")


def test_a_quorum_is_reached() -> None:
    progress = write_progress(THREE, Level.QUORUM, 3).ack("a")
    assert progress.state is State.PENDING
    assert progress.ack("a").state is State.PENDING
    assert progress.ack("c").state is State.REACHED
    assert progress.answered == 1


def test_a_quorum_becomes_impossible_and_says_what_was_reached() -> None:
    progress = read_progress(THREE, Level.QUORUM, 3).ack("a").fail("b")
    assert progress.state is State.PENDING
    progress = progress.fail("c")
    assert progress.state is State.IMPOSSIBLE
    assert progress.shortfall() == "1 of 2 needed replicas answered"


def test_a_late_success_counts_after_all() -> None:
    progress = write_progress(THREE, Level.QUORUM, 3).ack("a").fail("b").fail("c").ack("b")
    assert progress.state is State.REACHED
    assert progress.fail("a").state is State.REACHED


def test_too_few_nodes_make_a_level_impossible_at_once() -> None:
    assert write_progress(Placement(("a",)), Level.QUORUM, 3).state is State.IMPOSSIBLE


def test_while_members_change_both_quorums_are_needed() -> None:
    progress = write_progress(JOINT, Level.QUORUM, 3).ack("a").ack("c")
    assert progress.state is State.PENDING
    assert progress.shortfall() == ("2 of 2 needed replicas and 1 of 2 needed replicas answered")
    assert progress.ack("d").state is State.REACHED
    assert progress.fail("b").fail("d").state is State.IMPOSSIBLE
    assert read_progress(JOINT, Level.QUORUM, 3).ack("a").ack("c").state is State.REACHED


def test_a_growing_factor_needs_the_new_quorum_too() -> None:
    placement = Placement(("a", "b", "c"), ("a", "b", "c", "d", "e"))
    progress = write_progress(placement, Level.QUORUM, 3, moving_to=5).ack("a").ack("b")
    assert progress.state is State.PENDING
    assert progress.ack("e").state is State.REACHED


events = st.lists(st.tuples(st.booleans(), st.sampled_from("abcd")))


@given(events)
def test_reached_means_a_quorum_in_each_group(history: list[tuple[bool, str]]) -> None:
    progress: Progress = write_progress(JOINT, Level.QUORUM, 3)
    acked: set[str] = set()
    for success, node in history:
        progress = progress.ack(node) if success else progress.fail(node)
        acked |= {node} if success else set()
    reached = all(
        any(set(quorum) <= acked for quorum in combinations(group, 2))
        for group in (JOINT.natural, JOINT.next)
    )
    assert (progress.state is State.REACHED) == reached
