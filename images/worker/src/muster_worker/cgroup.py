"""What the control group of this process allows and has counted, for cgroup v1 and v2."""

import math
import os
from collections.abc import Iterator
from pathlib import Path

_ROOT = Path("/")


def available_cpus(root: Path = _ROOT) -> int:
    """CPUs that this process may keep busy: its affinity, cut to the CPU quota, rounded up.

    Args:
        root: where `proc` and `sys` are mounted.
    """
    quotas = [*_quotas_v2(root), *_quotas_v1(root)]
    return max(1, min([len(os.sched_getaffinity(0)), *map(math.ceil, quotas)]))


def oom_kills(root: Path = _ROOT) -> int:
    """Processes of this control group that the kernel has killed for want of memory so far.

    0 where the kernel does not tell.
    """
    for directory in _directories(root, ""):
        count = _field(directory / "memory.events", "oom_kill")
        if count is not None:
            return count
    for directory in _directories(root, "memory"):
        count = _field(directory / "memory.oom_control", "oom_kill")
        if count is not None:
            return count
    return 0


def _quotas_v2(root: Path) -> Iterator[float]:
    for directory in _directories(root, ""):
        quota, _, period = _text(directory / "cpu.max").partition(" ")
        if quota.isdigit() and period.isdigit():
            yield int(quota) / int(period)


def _quotas_v1(root: Path) -> Iterator[float]:
    for directory in _directories(root, "cpu"):
        quota = _text(directory / "cpu.cfs_quota_us")
        period = _text(directory / "cpu.cfs_period_us")
        if quota.isdigit() and period.isdigit():
            yield int(quota) / int(period)


def _directories(root: Path, controller: str) -> Iterator[Path]:
    """The group of this process and its ancestors, the nearest first.

    Args:
        root: where `proc` and `sys` are mounted.
        controller: name of a v1 controller; empty for the v2 hierarchy.
    """
    mount = root / "sys/fs/cgroup" / controller
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controller not in controllers.split(","):
            continue
        group = mount / path.lstrip("/")
        while group != mount:
            yield group
            group = group.parent
        yield mount


def _field(path: Path, name: str) -> int | None:
    for line in _text(path).splitlines():
        key, _, value = line.partition(" ")
        if key == name and value.isdigit():
            return int(value)
    return None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return ""
