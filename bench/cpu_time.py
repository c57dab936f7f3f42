"""CPU time of processes and of what they started, user and system, as /proc tells it."""

import contextlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Used:
    """What one process has used so far.

    Attributes:
        command: its arguments, each with a zero byte behind it.
        seconds: its own, and those of its children that have ended.
    """

    pid: int
    command: bytes
    seconds: float


def tree(pids: Iterable[int]) -> Iterator[Used]:
    """These processes, and all that they have started; those that have ended are left out."""
    waiting = list(pids)
    while waiting:
        pid = waiting.pop()
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
            for listed in Path(f"/proc/{pid}/task").glob("*/children"):
                waiting += map(int, listed.read_text().split())
        except OSError:
            continue
        yield Used(pid, command, sum(int(field) for field in fields[11:15]) / _TICKS)


def seconds(pids: Iterable[int]) -> float:
    """CPU seconds so far of these processes and of all that they have started."""
    return sum(used.seconds for used in tree(pids))


def postmaster(port: int) -> int:
    """The first process of the PostgreSQL on a port, which is nobody's child.

    Raises:
        RuntimeError: there is none.
    """
    for listed in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = listed.read_bytes().split(b"\0")
            if words[0].endswith(b"/postgres") and str(port).encode() in words:
                return int(listed.parent.name)
    raise RuntimeError(f"no PostgreSQL on port {port}")
