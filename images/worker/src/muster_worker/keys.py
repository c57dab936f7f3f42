"""Proving keys: from a file or fetched once from the coordinator, checked, and kept on disk.

Several workers may share the directory: whole files appear in it, named by what they hold.
"""

import asyncio
import hashlib
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

from muster_proving import CircuitSpec, KeyMismatch, import_key
from muster_worker import files
from muster_worker.config import KeySection
from muster_worker.coordinator import Coordinator, KeyInfo
from muster_worker.workloads import Key

log = logging.getLogger(__name__)


class KeyRefused(Exception):  # noqa: N818 - named after the cause
    """A proving key is not what the coordinator announced."""


class KeyStore:
    """The proving keys in `directory`, named by digest; `local` are files to look in first."""

    def __init__(
        self, directory: Path, coordinator: Coordinator, local: Sequence[KeySection] = ()
    ) -> None:
        self._directory = directory
        self._coordinator = coordinator
        self._local = local
        self._imported: dict[KeySection, str] = {}

    async def obtain(self, announced: Iterable[KeyInfo]) -> Sequence[Key]:
        """All announced keys as checked files, sorted by key id.

        Raises:
            KeyRefused: bytes do not have the announced digest, or a local file not its own.
            CoordinatorError: a key could not be fetched.
            OSError: the cache can't be written.
        """
        ordered = sorted(announced, key=lambda info: info.key_id)
        return [Key(info.key_id, info.version, await self._file(info)) for info in ordered]

    async def _file(self, info: KeyInfo) -> Path:
        path = self._path(info)
        if await asyncio.to_thread(_digest_of, path) == info.sha256:
            return path
        data = await self._from_file(info) or await self._fetch(info)
        found = hashlib.sha256(data).hexdigest()
        if found != info.sha256:
            raise KeyRefused(
                f"proving key {info.key_id}: its SHA-256 is {found}, announced was {info.sha256}"
            )
        await asyncio.to_thread(files.write_whole, path, data)
        log.info("proving key stored", extra={"key_id": info.key_id, "size_bytes": len(data)})
        return path

    async def _from_file(self, info: KeyInfo) -> bytes | None:
        """The announced key from a local file; None where no file has this version."""
        for file in self._local:
            # A file that turned out to have another version is not read again.
            if file.key_id != info.key_id or self._imported.get(file, info.version) != info.version:
                continue
            version, data = await asyncio.to_thread(_import, file)
            self._imported[file] = version
            if (version, hashlib.sha256(data).hexdigest()) == (info.version, info.sha256):
                return data
            about = {"key_id": info.key_id, "path": str(file.path), "version": version}
            log.warning("the key in the file is not the pool's", extra=about)
        return None

    async def _fetch(self, info: KeyInfo) -> bytes:
        data = bytearray()
        async for chunk in self._coordinator.proving_key(info):
            data += chunk
            if len(data) > info.size_bytes:
                raise KeyRefused(
                    f"proving key {info.key_id}: more than the announced {info.size_bytes} bytes"
                )
        return bytes(data)

    def _path(self, info: KeyInfo) -> Path:
        # The digest comes from outside; hashing it with the rest makes it a safe file name.
        name = hashlib.sha256(f"{info.key_id}/{info.version}/{info.sha256}".encode()).hexdigest()
        return self._directory / f"{name}.key"


def _import(file: KeySection) -> tuple[str, bytes]:
    """Version and proving key file of a key in a local file."""
    try:
        data = file.path.read_bytes()
    except OSError as error:
        raise KeyRefused(f"key file {file.path} can't be read: {error.strerror}") from error
    found = hashlib.sha256(data).hexdigest()
    if found != file.sha256:
        raise KeyRefused(
            f"key file {file.path}: its SHA-256 is {found}, configured was {file.sha256}"
        )
    try:
        key = import_key(CircuitSpec.from_key_id(file.key_id), data)
    except KeyMismatch as error:
        raise KeyRefused(f"key file {file.path}: {error}") from error
    return key.version, key.proving_key


def _digest_of(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None
