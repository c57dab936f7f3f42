"""How full the disk is, and what that forbids."""

import os
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path


class Fill(IntEnum):
    """How full the disk is, in steps that each forbid more."""

    NORMAL = 0
    WARN = 1
    """Somebody should look."""
    LARGE = 2
    """Large values are refused."""
    ALL = 3
    """All writes are refused; reads go on."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """From which percentage on each step holds, and from which size on a value is large."""

    warn: float = 80
    large: float = 90
    all: float = 95
    large_value: int = 64 * 2**10


@dataclass(frozen=True, slots=True)
class Usage:
    """Bytes of the file system that holds the data."""

    total: int
    free: int

    @property
    def percent(self) -> float:
        """How much of what this process could ever use is in use."""
        return 100 * (1 - self.free / self.total) if self.total else 100.0


def usage(path: Path) -> Usage:
    """Ask the file system of `path`; what is reserved for root counts as neither used nor free."""
    found = os.statvfs(path)
    used = (found.f_blocks - found.f_bfree) * found.f_frsize
    free = found.f_bavail * found.f_frsize
    return Usage(used + free, free)


def fill(usage: Usage, thresholds: Thresholds) -> Fill:
    """The step that `usage` has reached."""
    percent = usage.percent
    if percent >= thresholds.all:
        return Fill.ALL
    if percent >= thresholds.large:
        return Fill.LARGE
    if percent >= thresholds.warn:
        return Fill.WARN
    return Fill.NORMAL


def has_room(usage: Usage, thresholds: Thresholds, needed: int) -> bool:
    """Whether writes are taken at all, and `needed` bytes are free."""
    return fill(usage, thresholds) < Fill.ALL and usage.free >= needed


def refusal(fill: Fill, percent: float, size: int, thresholds: Thresholds) -> str | None:
    """Why a write of `size` bytes is refused, or None if it isn't."""
    if fill >= Fill.ALL:
        return f"disk {percent:.0f}% full; from {thresholds.all:g}% on no write is taken"
    if fill >= Fill.LARGE and size >= thresholds.large_value:
        return (
            f"disk {percent:.0f}% full; from {thresholds.large:g}% on no value of "
            f"{thresholds.large_value} bytes or more, no hint and no stream is taken"
        )
    return None
