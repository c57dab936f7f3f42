"""CPU time of processes and of what they started, user and system, as /proc tells it."""

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
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


def seconds_by(part: Callable[[int, bytes], str], *pids: int) -> dict[str, float]:
    """CPU seconds so far of these processes and of all that they have started, by part.

    Args:
        part: what to call a process, of its id and its command.
    """
    found: dict[str, float] = {}
    for used in tree(pids):
        name = part(used.pid, used.command)
        found[name] = found.get(name, 0.0) + used.seconds
    return found


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
