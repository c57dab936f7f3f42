from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster_runtime.election.record import (
    LeaseRecord,
    Timings,
    first,
    held,
    observe,
    released,
)

WALL = datetime(2026, 1, 1, tzinfo=UTC)
LATER = WALL + timedelta(seconds=7)
TIMINGS = Timings()


def _record(holder: str = "a", transitions: int = 3) -> LeaseRecord:
    return LeaseRecord(holder, 15.0, WALL, WALL, transitions)


def test_a_record_is_expired_when_it_has_not_changed_for_its_duration() -> None:
    seen = observe(None, _record(), now=100.0)
    assert not seen.is_free("b", now=114.9)
    assert seen.is_free("b", now=115.0)


@given(st.datetimes(timezones=st.just(UTC)))
def test_the_times_in_a_record_never_expire_it(renewed: datetime) -> None:
    record = LeaseRecord("a", 15.0, renewed, renewed, 0)
    assert not observe(None, record, now=100.0).is_free("b", now=100.1)


def test_only_a_change_of_the_record_makes_it_young_again() -> None:
    seen = observe(None, _record(), now=100.0)
    assert observe(seen, _record(), now=110.0) is seen
    renewed = held(_record(), "a", TIMINGS, LATER)
    assert observe(seen, renewed, now=110.0).since == 110.0


def test_the_holder_and_a_released_lease_wait_for_nobody() -> None:
    seen = observe(None, _record("a"), now=0.0)
    assert seen.is_free("a", now=0.0)
    assert observe(None, _record(""), now=0.0).is_free("b", now=0.0)


def test_renewing_keeps_the_term_and_taking_over_begins_the_next() -> None:
    renewed = held(_record("a", 3), "a", TIMINGS, LATER)
    assert (renewed.transitions, renewed.acquired, renewed.renewed) == (3, WALL, LATER)
    taken = held(_record("a", 3), "b", TIMINGS, LATER)
    assert (taken.holder, taken.transitions, taken.acquired) == ("b", 4, LATER)


def test_taking_a_released_lease_begins_the_next_term_also_for_the_one_who_released_it() -> None:
    free = released(held(_record("a", 3), "a", TIMINGS, LATER), LATER)
    assert (free.holder, free.transitions) == ("", 3)
    assert held(free, "a", TIMINGS, LATER).transitions == 4


def test_the_first_term_is_number_zero() -> None:
    assert first("a", TIMINGS, WALL).transitions == 0


@pytest.mark.parametrize("wrong", [(15, 15, 2), (15, 10, 10), (15, 10, 0), (5, 10, 2)])
def test_timings_that_could_elect_two_leaders_are_refused(wrong: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="each must be less than the next"):
        Timings(*wrong)
