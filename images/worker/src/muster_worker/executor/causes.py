"""Why an executing process ended: pure."""

import signal
from dataclasses import dataclass

from muster_worker.tasks import Reason

OUT_OF_MEMORY_STATUS = 99
"""Exit status of a process that ran out of memory and could still say so."""

ALLOCATION_FAILED = b"memory allocation of "
"""What a Rust program writes to standard error before it aborts for want of memory."""


@dataclass(frozen=True, slots=True)
class Remains:
    """What is known of a process that ended.

    Attributes:
        returncode: exit status, or the negative number of the signal that killed it.
        allocation_failed: it wrote that an allocation failed.
        oom_killed: meanwhile the kernel killed processes of this control group for their memory.
        memory_limit: bytes of memory that it was allowed, if limited.
    """

    returncode: int
    allocation_failed: bool
    oom_killed: bool
    memory_limit: int | None


def cause_of_death(remains: Remains) -> tuple[Reason, str]:
    """The reason and one clear sentence."""
    aborted = remains.returncode == -signal.SIGABRT
    if remains.returncode == OUT_OF_MEMORY_STATUS or (aborted and remains.allocation_failed):
        if remains.memory_limit is None:
            return Reason.OUT_OF_MEMORY, "out of memory: the machine has no more to give"
        limit = remains.memory_limit // 2**20
        return Reason.OUT_OF_MEMORY, f"out of memory: needs more than task_memory_limit, {limit}Mi"
    if remains.returncode == -signal.SIGKILL and remains.oom_killed:
        return Reason.OUT_OF_MEMORY, "out of memory: the kernel killed the executing process"
    if remains.returncode < 0:
        name = signal.Signals(-remains.returncode).name
        return Reason.CRASHED, f"the executing process was killed by {name}"
    return Reason.CRASHED, f"the executing process ended with status {remains.returncode}"
