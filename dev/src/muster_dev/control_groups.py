"""Control groups that containers of ours ran in."""

from __future__ import annotations

import signal
from pathlib import Path

from muster_dev.processes import send

_ROOT = Path("/sys/fs/cgroup")


def find(name: str, root: Path = _ROOT) -> list[Path]:
    """Return the groups of a name: one in each hierarchy of version 1, one in version 2."""
    return [path for path in [root / name, *sorted(root.glob(f"*/{name}"))] if path.is_dir()]


def processes(group: Path) -> set[int]:
    """Return the processes in a group and below it."""
    found: set[int] = set()
    for member in group.rglob("cgroup.procs"):
        found |= {int(line) for line in member.read_text(encoding="utf-8").split()}
    return found


def kill(name: str, root: Path = _ROOT) -> int:
    """Kill every process in the groups of a name; return how many there were."""
    doomed = set().union(*(processes(group) for group in find(name, root)), set())
    for process in doomed:
        send(process, signal.SIGKILL)
    return len(doomed)


def empty(name: str, root: Path = _ROOT) -> bool:
    """Tell whether no process is left in the groups of a name."""
    return not any(processes(group) for group in find(name, root))


def remove(name: str, root: Path = _ROOT) -> None:
    """Remove the empty groups of a name, the deepest first."""
    for group in find(name, root):
        below = [path for path in group.rglob("*") if path.is_dir()]
        for path in sorted(below, key=lambda path: len(path.parts), reverse=True):
            path.rmdir()
        group.rmdir()
