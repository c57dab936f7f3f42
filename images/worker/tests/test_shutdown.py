import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster_worker.shutdown import Deadlines, Step, hurry, next_deadline, next_step, plan


def test_30_seconds_leave_25_to_finish() -> None:
    assert plan(100.0, 30.0) == Deadlines(finish=125.0, leave=130.0)


def test_a_short_time_keeps_a_quarter_for_handing_back() -> None:
    assert plan(100.0, 4.0) == Deadlines(finish=103.0, leave=104.0)


@pytest.mark.parametrize(
    ("now", "running", "reporting", "step"),
    [
        (0.0, 1, 0, Step.WAIT),
        (24.9, 1, 0, Step.WAIT),
        (25.0, 1, 0, Step.RELEASE),
        (0.0, 0, 1, Step.WAIT),
        (29.9, 0, 1, Step.WAIT),
        (30.0, 0, 1, Step.LEAVE),
        (0.0, 0, 0, Step.LEAVE),
    ],
)
def test_what_runs_may_finish_what_is_done_may_be_reported(
    now: float, running: int, reporting: int, step: Step
) -> None:
    assert next_step(plan(0.0, 30.0), now, running, reporting) is step


def test_a_second_request_releases_at_once() -> None:
    deadlines = hurry(plan(0.0, 30.0), now=3.0)
    assert next_step(deadlines, 3.0, running=1, reporting=0) is Step.RELEASE
    assert next_step(deadlines, 7.9, running=0, reporting=1) is Step.WAIT
    assert next_step(deadlines, 8.0, running=0, reporting=1) is Step.LEAVE


def test_hurrying_twice_gives_no_more_time() -> None:
    once = hurry(plan(0.0, 30.0), now=3.0)
    assert hurry(once, now=4.0).leave <= once.leave


@given(st.floats(1, 3600), st.integers(0, 3), st.integers(0, 3), st.booleans())
def test_leaving_ends_in_time(timeout: float, running: int, reporting: int, hurried: bool) -> None:
    deadlines = plan(0.0, timeout)
    now = 0.0
    for _ in range(4):
        if hurried:
            deadlines = hurry(deadlines, now)
        match next_step(deadlines, now, running, reporting):
            case Step.LEAVE:
                break
            case Step.RELEASE:
                running = 0
            case Step.WAIT:
                now = next_deadline(deadlines, running)
    else:
        pytest.fail("never leaves")
    assert now <= timeout
