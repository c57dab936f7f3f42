"""What has to be so before something long begins; each lack is one sentence."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from muster_dev import capabilities
from muster_dev.errors import SetupError

if TYPE_CHECKING:
    from pathlib import Path

GIB = 1 << 30


def require_root(reason: str, user: int | None = None) -> None:
    """Raise SetupError when this is not root."""
    if (os.geteuid() if user is None else user) != 0:
        raise SetupError(f"{reason} needs root.", hint="Run it as root, or with sudo.")


def require_capabilities(lacking: Sequence[str]) -> None:
    """Raise SetupError when the machine lacks a capability without which no node starts."""
    needed = [f"CAP_{name}" for name in capabilities.NEEDED if name in lacking]
    if needed:
        raise SetupError(
            f"This machine lacks {', '.join(needed)}, without which no node can start.",
            hint="In a container, run it with --privileged.",
        )


def require_space(needs: Mapping[Path, float]) -> None:
    """Raise SetupError when a file system has less free than the GiB needed below some folders."""
    filesystems: dict[int, tuple[Path, float]] = {}
    for folder, gib in needs.items():
        there = existing(folder)
        device = there.stat().st_dev
        first, sum_so_far = filesystems.get(device, (folder, 0.0))
        filesystems[device] = (first, sum_so_far + gib)
    for folder, gib in filesystems.values():
        free = shutil.disk_usage(existing(folder)).free / GIB
        if free < gib:
            raise SetupError(
                f"{folder} has {free:.1f} GiB free, and {gib:.1f} GiB are needed there.",
                hint="Free some, or set MUSTER_CACHE and MUSTER_STATE to folders on another disk.",
            )


def require_overlay(state: Path, mounts: str) -> None:
    """Raise SetupError when containers' file systems cannot be stacked on that of a folder.

    ``mounts`` is the text of ``/proc/self/mounts``.
    """
    kind = filesystem_type(existing(state), mounts)
    if kind in ("overlay", "nfs", "nfs4", "9p", "fuse"):
        raise SetupError(
            f"{state} is on a file system of type {kind}, on which containers cannot be kept.",
            hint="Set MUSTER_STATE and MUSTER_CACHE to folders on a local disk.",
        )


def filesystem_type(folder: Path, mounts: str) -> str:
    """Return the type of the file system that a folder is on."""
    best, kind = "", ""
    for line in mounts.splitlines():
        _, point, found, *_ = line.split()
        inside = point == "/" or str(folder) == point or str(folder).startswith(f"{point}/")
        if inside and len(point) >= len(best):
            best, kind = point, found
    return kind


def existing(folder: Path) -> Path:
    """Return the nearest folder above that is there already."""
    while not folder.exists():
        folder = folder.parent
    return folder
