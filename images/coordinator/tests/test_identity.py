"""Ids of workloads sort by the moment they were made."""

import time
from itertools import pairwise
from uuid import RFC_4122

from muster_coordinator.engine.identity import Ids, new_id


def test_an_id_is_a_uuid_of_version_7_with_the_time() -> None:
    before = time.time_ns() // 1_000_000
    made = new_id()
    after = time.time_ns() // 1_000_000
    assert (made.version, made.variant) == (7, RFC_4122)
    assert before <= made.int >> 80 <= after


def test_what_is_made_later_sorts_later() -> None:
    made = [new_id() for _ in range(10_000)]
    assert all(one < other for one, other in pairwise(made))
    assert len({one.int % 2**62 for one in made}) == len(made)


def test_a_clock_that_stands_still_or_goes_back_keeps_the_order() -> None:
    clock = iter((1_000_000, 1_000_000, 0, 5_000_000))
    ids = Ids(lambda: next(clock))
    made = [ids.new() for _ in range(4)]
    assert all(one < other for one, other in pairwise(made))
    assert [one.int >> 80 for one in made] == [1, 1, 1, 5]
