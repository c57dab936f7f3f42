"""The processes that a process has started, and those that they have."""

import contextlib
import os
import signal
from pathlib import Path

_ROUNDS = 100
"""A program that starts others faster than they are killed is left to the control group."""


def descendants(pid: int) -> set[int]:
    """All of them, zombies too, as far as they are still known to the kernel as such."""
    found: set[int] = set()
    waiting = [pid]
    while waiting:
        for listed in Path(f"/proc/{waiting.pop()}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                children = {int(child) for child in listed.read_text().split()}
                waiting += children - found
                found |= children
    return found


def kill_descendants(pid: int) -> None:
    """Kill all of them, and those that they start meanwhile."""
    killed: set[int] = set()
    for _ in range(_ROUNDS):
        fresh = descendants(pid) - killed
        if not fresh:
            return
        for one in fresh:
            with contextlib.suppress(ProcessLookupError):
                os.kill(one, signal.SIGKILL)
        killed |= fresh
