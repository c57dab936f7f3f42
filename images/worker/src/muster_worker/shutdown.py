"""How the worker spends the time between SIGTERM and its end: pure decisions."""

from dataclasses import dataclass
from enum import Enum, auto

LONGEST_CLOSING = 5.0


class Step(Enum):
    """What to do now."""

    WAIT = auto()
    """Let tasks finish and reports arrive."""
    RELEASE = auto()
    """Stop what still runs and hand it back."""
    LEAVE = auto()
    """Say goodbye and end."""


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Moments on the monotonic clock, in seconds.

    Attributes:
        finish: until then running tasks may finish.
        leave: until then reports may be delivered.
    """

    finish: float
    leave: float


def plan(now: float, timeout: float) -> Deadlines:
    """Divide `timeout` seconds: the last quarter, at most 5 s, is kept for handing back."""
    return Deadlines(now + timeout - min(LONGEST_CLOSING, timeout / 4), now + timeout)


def hurry(deadlines: Deadlines, now: float) -> Deadlines:
    """Asked a second time: nothing may finish any more, the handing back keeps its time."""
    closing = deadlines.leave - deadlines.finish
    return Deadlines(min(deadlines.finish, now), min(deadlines.leave, now + closing))


def next_step(deadlines: Deadlines, now: float, running: int, reporting: int) -> Step:
    """What to do with `running` tasks and `reporting` undelivered reports."""
    if running:
        return Step.WAIT if now < deadlines.finish else Step.RELEASE
    if reporting and now < deadlines.leave:
        return Step.WAIT
    return Step.LEAVE


def next_deadline(deadlines: Deadlines, running: int) -> float:
    """When `next_step` may change without anything happening."""
    return deadlines.finish if running else deadlines.leave
