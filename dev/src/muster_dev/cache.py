"""Folders that are built once and then only read.

An entry lies at ``<cache>/<kind>/<key>``, its key being a hash of all that went into it. It is
built beside its place and renamed into it, so an entry is there whole or not at all: what a
killed run left half-built is swept away by the next one.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Callable

from muster_dev import processes
from muster_dev.mounts import remove_tree

if TYPE_CHECKING:
    from pathlib import Path

# Entries of one kind that are kept: the one in use, and the one of the branch before.
KEPT_ENTRIES = 2
_PARTIAL = ".partial-"


def digest(*parts: str | bytes) -> str:
    """Hash some texts to a key of 16 hexadecimal digits; where one ends matters."""
    state = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        state.update(len(data).to_bytes(8, "big"))
        state.update(data)
    return state.hexdigest()[:16]


def digest_files(root: Path, files: Iterable[Path]) -> str:
    """Hash files by their place below ``root``, their content and whether they can be run."""
    parts: list[str | bytes] = []
    for file in sorted(files):
        executable = "x" if os.access(file, os.X_OK) else "-"
        parts += [f"{file.relative_to(root).as_posix()} {executable}", file.read_bytes()]
    return digest(*parts)


def digest_tree(*roots: Path) -> str:
    """Hash every file below some folders; caches that Python leaves there do not count."""
    return digest(
        *(digest_files(root, (p for p in root.rglob("*") if _counts(p, root))) for root in roots)
    )


def _counts(path: Path, root: Path) -> bool:
    parts = path.relative_to(root).parts
    hidden = any(p == "__pycache__" or p.endswith(".egg-info") for p in parts)
    return path.is_file() and not hidden


class Cache:
    """The cache folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def find(self, kind: str, key: str) -> Path | None:
        """Return an entry that is there."""
        entry = self.root / kind / key
        return entry if entry.is_dir() else None

    def get(self, kind: str, key: str, build: Callable[[Path], None]) -> Path:
        """Return an entry, building it with ``build(folder)`` if it is not there yet.

        Two runs that want the same kind wait for each other; the second finds what the first made.
        """
        home = self.root / kind
        entry = home / key
        if not entry.is_dir():
            home.mkdir(parents=True, exist_ok=True)
            with lock(home / ".lock"):
                _sweep(home)
                if not entry.is_dir():
                    partial = home / f"{_PARTIAL}{key}-{os.getpid()}"
                    partial.mkdir()
                    build(partial)
                    partial.rename(entry)
                _touch(entry)
                _forget_old(home)
        else:
            _touch(entry)
        return entry


@contextmanager
def lock(path: Path, waiting: Callable[[str], None] | None = None) -> Iterator[None]:
    """Hold a lock file; the kernel lets go of it when this process ends, however it ends.

    ``waiting`` is told who holds it when it is not free.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if waiting is not None:
                waiting(os.pread(descriptor, 100, 0).decode(errors="replace").strip())
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _sweep(home: Path) -> None:
    for leftover in home.glob(f"{_PARTIAL}*"):
        # What a killed run had started may still be writing there.
        for process in processes.with_mark(str(leftover)):
            processes.send(process, signal.SIGKILL)
        remove_tree(leftover)


def _touch(entry: Path) -> None:
    os.utime(entry)


def _forget_old(home: Path) -> None:
    entries = [path for path in home.iterdir() if path.is_dir()]
    for old in sorted(entries, key=lambda path: path.stat().st_mtime, reverse=True)[KEPT_ENTRIES:]:
        remove_tree(old)
