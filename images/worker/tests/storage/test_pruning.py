"""Old backups go, but never what the store could still be put back from."""

import random

import pytest

from muster_storage.pruning import Part, superseded


def part(day: int, node: int) -> Part:
    """What a node backed up on a day; a run goes from node to node."""
    return Part(f"2026-01-{day:02}T03:{node:02}:00+00:00", f"s-{node}.run-{day}", f"s-{node}")


class Volume:
    """A volume with the backups of a store, by day and node."""

    def __init__(self) -> None:
        self.parts: set[tuple[int, int]] = set()

    def made(self, day: int, node: int, keep: int, nodes: int) -> None:
        """A node makes one, and what is superseded goes."""
        self.parts.add((day, node))
        known = {part(*each): each for each in self.parts}
        gone = superseded(part(day, node), list(known), keep, nodes)
        assert gone == sorted(gone)
        self.parts -= {known[each] for each in gone}

    def run(self, day: int, keep: int, nodes: int, *failing: int) -> None:
        """All nodes make one, but for those that fail."""
        for node in range(nodes):
            if node not in failing:
                self.made(day, node, keep, nodes)

    def of(self, node: int) -> list[int]:
        """On which days those were made that are left of a node."""
        return sorted(day for day, each in self.parts if each == node)


@pytest.fixture
def volume() -> Volume:
    return Volume()


def test_each_node_keeps_so_many(volume: Volume) -> None:
    for day in range(1, 6):
        volume.run(day, 2, 3)
    assert [volume.of(node) for node in range(3)] == [[4, 5]] * 3


def test_the_last_run_of_all_nodes_stays_until_there_is_another(volume: Volume) -> None:
    for day in range(1, 3):
        volume.run(day, 2, 3)
    for day in range(3, 9):
        volume.run(day, 2, 3, 1)
    assert [volume.of(node) for node in range(3)] == [[2, 7, 8], [1, 2], [2, 7, 8]]
    volume.run(9, 2, 3)
    assert [volume.of(node) for node in range(3)] == [[8, 9], [2, 9], [8, 9]]


def test_where_one_is_kept_it_goes_when_the_next_is_there_of_all(volume: Volume) -> None:
    volume.run(1, 1, 3)
    for node in range(2):
        volume.made(2, node, 1, 3)
        assert {(1, each) for each in range(3)} <= volume.parts
    volume.made(2, 2, 1, 3)
    assert volume.parts == {(2, each) for each in range(3)}


def test_those_of_nodes_that_left_go_with_the_others_of_their_runs(volume: Volume) -> None:
    for day in range(1, 4):
        volume.run(day, 3, 5)
    volume.run(4, 3, 3)
    assert [volume.of(node) for node in range(5)] == [[2, 3, 4]] * 3 + [[2, 3]] * 2
    volume.run(5, 3, 3)
    assert [volume.of(node) for node in range(5)] == [[3, 4, 5]] * 3 + [[3]] * 2
    volume.run(6, 3, 3)
    assert [volume.of(node) for node in range(5)] == [[4, 5, 6]] * 3 + [[]] * 2


def test_those_of_nodes_that_left_stay_while_nothing_newer_is_whole(volume: Volume) -> None:
    volume.run(1, 1, 5)
    for day in range(2, 6):
        volume.run(day, 1, 3, 2)
    assert {(1, node) for node in range(5)} <= volume.parts
    volume.run(6, 1, 3)
    assert volume.parts == {(6, node) for node in range(3)}


def test_what_was_whole_stays_until_a_node_that_is_new_is_in_a_run(volume: Volume) -> None:
    volume.run(1, 1, 3)
    # It has as many nodes, and could be put back by nobody.
    volume.run(2, 1, 4, 2)
    assert {(1, node) for node in range(3)} <= volume.parts
    volume.run(3, 1, 4)
    assert volume.parts == {(3, node) for node in range(4)}


def test_what_has_another_name_counts_as_one_of_its_node() -> None:
    hand = Part("2026-01-01T00:00:00+00:00", "before-the-upgrade", "s-0")
    parts = [hand, part(1, 0), part(2, 0)]
    assert superseded(part(2, 0), parts, 2, 1) == [hand]
    assert superseded(part(2, 0), parts, 3, 1) == []


def test_what_is_not_of_numbered_nodes_is_no_node_that_left() -> None:
    strangers = [
        Part("2026-01-01T00:00:00+00:00", f"{node}.run-1", node) for node in ("s", "t-7", "s-x")
    ]
    assert superseded(part(2, 0), [*strangers, part(1, 0), part(2, 0)], 1, 1) == [part(1, 0)]


def test_the_one_just_made_stays_whatever_the_clock_says() -> None:
    behind, ahead = part(1, 0), part(9, 0)
    assert superseded(behind, [ahead, behind], 1, None) == [ahead]
    assert behind not in superseded(behind, [ahead, behind], 1, 1)


def test_without_a_number_of_nodes_none_of_others_goes() -> None:
    parts = [part(day, node) for day in range(1, 5) for node in range(2)]
    assert superseded(part(4, 0), parts, 3, None) == [part(1, 0)]


@pytest.mark.parametrize("seed", range(50))
def test_whatever_fails_and_whoever_leaves(volume: Volume, seed: int) -> None:
    chance, keep, nodes = random.Random(seed), seed % 4 + 1, 5
    since, whole = 0, set[tuple[int, int]]()
    for day in range(1, 32):
        if chance.random() < 0.1:
            nodes = max(1, nodes - 1)
        failing = [node for node in range(nodes) if chance.random() < 0.2]
        volume.run(day, keep, nodes, *failing)
        if not failing:
            since, whole = day, {(day, node) for node in range(nodes)}
        # A newer one takes its place if it has all of its nodes that there are still.
        rest = range(min(nodes, len(whole)))
        newer = (
            {(later, node) for node in rest} <= volume.parts for later in range(since + 1, day + 1)
        )
        assert whole <= volume.parts or any(newer)
        for node in range(nodes):
            assert len(volume.of(node)) <= keep + 1
    for day in range(32, 32 + keep + 1):
        volume.run(day, keep, 1)
    assert {node for _, node in volume.parts} == {0}
