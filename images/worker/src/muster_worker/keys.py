"""Proving keys: fetched once from the coordinator, checked, and kept on disk."""

import asyncio
import hashlib
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

from muster_worker import files
from muster_worker.coordinator import Coordinator, KeyInfo
from muster_worker.workloads import Key

log = logging.getLogger(__name__)


class KeyRefused(Exception):  # noqa: N818 - named after the cause
    """A proving key is not what the coordinator announced."""


class KeyStore:
    """The proving keys in `directory`, named by their digest."""

    def __init__(self, directory: Path, coordinator: Coordinator) -> None:
        self._directory = directory
        self._coordinator = coordinator

    async def obtain(self, announced: Iterable[KeyInfo]) -> Sequence[Key]:
        """All announced keys as checked files, sorted by key id.

        Raises:
            KeyRefused: bytes do not have the announced digest.
            CoordinatorError: a key could not be fetched.
            OSError: the cache can't be written.
        """
        ordered = sorted(announced, key=lambda info: info.key_id)
        return [Key(info.key_id, info.version, await self._file(info)) for info in ordered]

    async def _file(self, info: KeyInfo) -> Path:
        path = self._path(info)
        if await asyncio.to_thread(_digest_of, path) == info.sha256:
            return path
        data = await self._fetch(info)
        found = hashlib.sha256(data).hexdigest()
        if found != info.sha256:
            raise KeyRefused(
                f"proving key {info.key_id}: its SHA-256 is {found}, announced was {info.sha256}"
            )
        await asyncio.to_thread(files.write_whole, path, data)
        log.info("proving key fetched", extra={"key_id": info.key_id, "size_bytes": len(data)})
        return path

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


def _digest_of(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None
