"""A task as this worker sees it, and why one can fail."""

from dataclasses import dataclass, field
from enum import StrEnum


class Reason(StrEnum):
    """Why a task failed; the values are labels of a metric."""

    INVALID_INPUT = "invalid_input"
    UNKNOWN_TYPE = "unknown_type"
    KEY_UNAVAILABLE = "key_unavailable"
    TIMEOUT = "timeout"
    OUT_OF_MEMORY = "out_of_memory"
    CRASHED = "crashed"
    FAILED = "failed"
    """The workload said so itself, and why."""
    INTERNAL = "internal"
    REJECTED = "rejected"
    """The coordinator did not accept the proof."""

    @property
    def transient(self) -> bool:
        """Whether another worker, or a later try, may succeed where this one failed.

        Only a wrong input is wrong everywhere. A type or key that is missing here may be loaded
        elsewhere, and time, memory and luck differ between machines; the coordinator limits tries.
        """
        return self is not Reason.INVALID_INPUT


@dataclass(frozen=True, slots=True)
class Ticket:
    """The right to report on a task: the assignment that this worker holds.

    A generation of 0 comes from a coordinator that does not count assignments.
    """

    task_id: str
    generation: int


@dataclass(frozen=True, slots=True)
class Assignment:
    """A task that the coordinator assigned to this worker.

    Payload and checkpoint may hold secrets, so they stay out of `repr`, logs and files.
    """

    ticket: Ticket
    task_type: str
    """Name of the workload type, as in `prove.merkle`."""
    payload: bytes = field(repr=False)
    key_id: str = ""
    key_version: str = ""
    time_limit: float | None = None
    """Seconds of execution; none leaves it to the worker's configuration."""
    traceparent: str = ""
    """W3C trace context of the step that assigned it."""
    customer_id: str = "default"
    checkpoint: bytes | None = field(default=None, repr=False)
    """What an earlier run saved last; none where there is nothing to go on from."""
    attempt: int = 1
    """1, and one more with each try and each worker that was lost."""

    def same_work(self, other: "Assignment") -> bool:
        """Whether a result of the one is a result of the other."""
        return (self.task_type, self.payload, self.key_id, self.key_version) == (
            other.task_type,
            other.payload,
            other.key_id,
            other.key_version,
        )


@dataclass(frozen=True, slots=True)
class Cancel:
    """Nobody wants this task any more: end it, and report nothing."""

    ticket: Ticket


@dataclass(frozen=True, slots=True)
class Pause:
    """End this task, and report what to go on from."""

    ticket: Ticket


@dataclass(frozen=True, slots=True)
class Drain:
    """The coordinator gives this worker nothing more, and wants back what waits here."""


Command = Assignment | Cancel | Pause | Drain


class TaskFailed(Exception):  # noqa: N818 - named after the cause
    """A task failed, and nothing else did; `permanent` means that it fails everywhere."""

    def __init__(self, reason: Reason, message: str, *, permanent: bool = False) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.permanent = permanent
