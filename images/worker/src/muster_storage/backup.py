"""Backups: a checkpoint of the store, copied to a volume with the digest of each file.

A backup is a folder with the files of RocksDB and `manifest.json`. It gets its name only when it
is whole and on disk, so a folder without the suffix `.partial` is a backup that was finished.
"""

import hashlib
import json
import math
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

FORMAT = 1
MANIFEST = "manifest.json"
_PARTIAL = ".partial"
_CHUNK = 2**20
_GIVEN_UP_SECONDS = 24 * 3600
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,126}[A-Za-z0-9])?")


class BackupError(Exception):
    """A backup that can't be made or can't be used; the text says why."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file of a backup: bytes, and SHA-256 in hex."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Origin:
    """Whose backup it is, and how many records the store held."""

    node_id: str
    cluster: str
    actor: str
    keys: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup holds; `size` is that of all files, in bytes."""

    origin: Origin
    created_at: str
    size: int
    files: dict[str, StoredFile]
    format: int = FORMAT


def check_name(name: str) -> str:
    """Return `name` if it can name a backup.

    Raises:
        BackupError: it has other characters, is too long, or ends as unfinished ones do.
    """
    if _NAME.fullmatch(name) is None or name.endswith(_PARTIAL):
        raise BackupError(
            f"name: got {name!r}; allowed: 1 to 128 letters, digits, '.', '_' and '-', "
            f"a letter or digit at each end, not ending in {_PARTIAL!r}"
        )
    return name


def take(
    checkpoint: Callable[[Path], None], scratch: Path, target: Path, origin: Origin
) -> Manifest:
    """Checkpoint the store into `scratch` and copy that to `target`, fsynced.

    Args:
        checkpoint: makes a copy of the store in a folder that does not exist yet.
        scratch: a folder on the store's file system, which is removed again.
        target: the backup's folder, which must not exist.

    Raises:
        BackupError: `target` exists, or its volume can't be written.
    """
    if target.exists():
        raise BackupError(f"{target}: exists; give the backup another name")
    partial = target.with_name(target.name + _PARTIAL)
    try:
        shutil.rmtree(scratch, ignore_errors=True)
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        checkpoint(scratch)
        files = {
            path.name: _copy(path, partial / path.name)
            for path in sorted(scratch.iterdir())
            if path.is_file()
        }
        manifest = Manifest(
            origin,
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
            size=sum(file.size for file in files.values()),
            files=files,
        )
        _write(partial / MANIFEST, json.dumps(asdict(manifest), indent=1).encode())
        _sync_folder(partial)
        partial.rename(target)
        _sync_folder(target.parent)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise BackupError(f"{error.filename or target}: {error.strerror}") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return manifest


def read_manifest(backup: Path) -> Manifest:
    """Read what a backup says of itself.

    Raises:
        BackupError: it is no backup, or of a format that is not known here.
    """
    path = backup / MANIFEST
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if document["format"] != FORMAT:
            raise BackupError(f"{path}: format {document['format']}; known here: {FORMAT}")
        files = {
            check_name(name): StoredFile(**file) for name, file in document.pop("files").items()
        }
        origin = Origin(**document.pop("origin"))
        return Manifest(origin, files=files, **document)
    except OSError as error:
        raise BackupError(f"{path}: {error.strerror}; is {backup} a backup?") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BackupError(f"{path}: no manifest of a backup: {error}") from error


def verify(backup: Path) -> Manifest:
    """Read every file of a backup and compare its digest.

    Raises:
        BackupError: a file is missing or is not what was backed up; all such files are named.
    """
    manifest = read_manifest(backup)
    wrong = [
        f"{backup / name}: {problem}"
        for name, file in manifest.files.items()
        if (problem := _problem(backup / name, file))
    ]
    if wrong:
        raise BackupError("\n".join(wrong))
    return manifest


def fetch(backup: Path, target: Path) -> Manifest:
    """Copy a backup's files to the new folder `target`, comparing each digest on the way.

    Raises:
        BackupError: a file is damaged, or `target` can't be written; then `target` is gone.
    """
    manifest = read_manifest(backup)
    try:
        target.mkdir(parents=True)
        damaged = [
            name
            for name, file in manifest.files.items()
            if _copy(backup / name, target / name) != file
        ]
        _sync_folder(target)
    except OSError as error:
        shutil.rmtree(target, ignore_errors=True)
        raise BackupError(f"{error.filename or target}: {error.strerror}") from error
    if damaged:
        shutil.rmtree(target, ignore_errors=True)
        raise BackupError("\n".join(f"{backup / name}: not what was backed up" for name in damaged))
    return manifest


def finished(folder: Path) -> list[tuple[Path, Manifest]]:
    """The backups in a folder that came to their end, and what they say of themselves.

    Raises:
        BackupError: one of them can't be read.
    """
    return [
        (path, read_manifest(path))
        for path in sorted(folder.iterdir())
        if not path.name.endswith(_PARTIAL) and (path / MANIFEST).is_file()
    ]


def given_up(folder: Path, made: Path) -> list[Path]:
    """The unfinished backups in a folder that nobody writes any more.

    Nothing in such a one was written for a day before `made` was finished, by the clock of the
    volume that both are on. That is much longer than a backup may take, and one that is being
    made is written to all the time.

    Raises:
        BackupError: the folder can't be read.
    """
    try:
        end = (made / MANIFEST).stat().st_mtime - _GIVEN_UP_SECONDS
        unfinished = (path for path in sorted(folder.iterdir()) if path.name.endswith(_PARTIAL))
        return [path for path in unfinished if path.is_dir() and _written(path) < end]
    except OSError as error:
        raise BackupError(f"{error.filename or folder}: {error.strerror}") from error


def _written(partial: Path) -> float:
    """When something was written there last; one that has become a backup or is gone is new."""
    try:
        return max(path.stat().st_mtime for path in (partial, *partial.iterdir()))
    except FileNotFoundError:
        return math.inf


def clear(partial: Path) -> None:
    """Remove an unfinished backup.

    Raises:
        BackupError: that failed; the next one to look tries again.
    """
    try:
        shutil.rmtree(partial)
    except OSError as error:
        raise BackupError(f"{error.filename or partial}: {error.strerror}") from error


def remove(backup: Path) -> None:
    """Remove a backup.

    Raises:
        BackupError: that failed; what is left of it is no backup any more.
    """
    try:
        shutil.rmtree(backup.rename(backup.with_name(backup.name + _PARTIAL)))
    except OSError as error:
        raise BackupError(f"{error.filename or backup}: {error.strerror}") from error


def _problem(path: Path, expected: StoredFile) -> str | None:
    digest = hashlib.sha256()
    size = 0
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
                size += len(chunk)
    except OSError as error:
        return str(error.strerror)
    if size != expected.size:
        return f"{size} bytes; {expected.size} were backed up"
    return None if digest.hexdigest() == expected.sha256 else "not what was backed up"


def _copy(source: Path, target: Path) -> StoredFile:
    digest = hashlib.sha256()
    size = 0
    with source.open("rb") as read, target.open("xb") as write:
        while chunk := read.read(_CHUNK):
            digest.update(chunk)
            write.write(chunk)
            size += len(chunk)
        write.flush()
        os.fsync(write.fileno())
    return StoredFile(size, digest.hexdigest())


def _write(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    opened = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
