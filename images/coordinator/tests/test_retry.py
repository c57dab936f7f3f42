"""What follows a failure."""

from datetime import UTC, datetime

import pytest

from muster_coordinator.engine.identity import new_id
from muster_coordinator.engine.model import Held, Requirement
from muster_coordinator.engine.retry import Backoff, RetryPolicy
from muster_coordinator.engine.states import State

POLICY = RetryPolicy(Backoff(first=1.0, longest=60.0, jitter=0.0), max_redistributions=2)


def _held(state: State = State.RUNNING, retries: int = 0, lost: int = 0) -> Held:
    need, at = Requirement("demo", "x"), datetime.now(UTC)
    return Held(new_id(), need, state, "w-0", 1, retries, 3, lost, at)


@pytest.mark.parametrize(("retries", "seconds"), [(0, 1.0), (1, 2.0), (2, 4.0), (20, 60.0)])
def test_pauses_double_up_to_the_longest(retries: int, seconds: float) -> None:
    assert POLICY.backoff.after(retries) == seconds


def test_jitter_only_lengthens_and_only_a_little() -> None:
    assert all(1.0 <= Backoff(1.0, 60.0, 0.2).after(0) <= 1.2 for _ in range(100))


def test_a_transient_failure_is_tried_elsewhere_after_a_pause() -> None:
    move = POLICY.failed(_held(retries=1), "lost power", transient=True)
    assert (move.after, move.delay, move.failed_on) == (State.PENDING, 2.0, "w-0")
    assert move.retried
    assert move.error is None


def test_the_last_retry_is_the_last() -> None:
    move = POLICY.failed(_held(retries=3), "lost power", transient=True)
    assert (move.after, move.error) == (State.FAILED, "lost power (given up after 4 tries)")


def test_a_permanent_failure_fails_at_once_with_its_message() -> None:
    move = POLICY.failed(_held(State.SCHEDULED), "unknown circuit", transient=False)
    assert (move.after, move.error) == (State.FAILED, "unknown circuit")


def test_a_wrong_result_is_tried_elsewhere_at_once() -> None:
    move = POLICY.refused(_held(), "the proof does not hold")
    assert (move.after, move.delay, move.failed_on) == (State.PENDING, 0.0, "w-0")
    assert POLICY.refused(_held(retries=3), "the proof does not hold").after is State.FAILED


def test_handing_back_is_no_failure() -> None:
    move = POLICY.released(_held(retries=3), "draining")
    assert (move.after, move.retried, move.failed_on) == (State.PENDING, False, None)


def test_what_runs_is_redistributed_and_what_waits_just_goes_back() -> None:
    assert POLICY.lost(_held(), "it is DEAD").after is State.REDISTRIBUTING
    move = POLICY.lost(_held(State.SCHEDULED, lost=9), "it is DEAD")
    assert (move.after, move.redistributed) == (State.PENDING, False)


def test_what_kills_its_workers_is_given_up() -> None:
    move = POLICY.lost(_held(lost=2), "it is DEAD")
    assert move.after is State.FAILED
    assert move.error == "its worker was lost 3 times, the last time: worker w-0: it is DEAD"
