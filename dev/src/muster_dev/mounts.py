"""Mounts that something left below a folder of ours."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from muster_dev import shell

_MOUNTINFO = Path("/proc/self/mountinfo")


def below(folder: Path, mountinfo: str | None = None) -> list[str]:
    """Return the mount points at and below a folder, the deepest and latest first."""
    text = _MOUNTINFO.read_text(encoding="utf-8") if mountinfo is None else mountinfo
    points = [_unescape(line.split()[4]) for line in text.splitlines() if line]
    prefix = str(folder)
    mine = [point for point in points if point == prefix or point.startswith(f"{prefix}/")]
    return sorted(mine, key=lambda point: point.count("/"), reverse=True)


def unmount_below(folder: Path) -> None:
    """Undo every mount at and below a folder."""
    for point in below(folder.resolve()):
        shell.output(["umount", "--lazy", point])


def remove_tree(folder: Path) -> None:
    """Remove a folder of ours with all that is in it, but nothing that is mounted there."""
    if not folder.exists():
        return
    if os.geteuid() == 0:
        unmount_below(folder)
    shutil.rmtree(folder)


def _unescape(point: str) -> str:
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        point = point.replace(code, character)
    return point
