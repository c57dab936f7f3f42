"""Keys that come from files: the `.zkey` of a ceremony, or a proving key file of Muster."""

import asyncio
import hashlib
from dataclasses import dataclass
from pathlib import Path

from muster_proving import CircuitSpec, KeyMaterial, KeyMismatch, import_key

MAX_BYTES = 512 << 20
"""Far more than any key of the catalogue has, and less than PostgreSQL takes as one value."""


@dataclass(frozen=True, slots=True)
class KeyFile:
    """A file with a key; `sha256` is lower-case hex of the bytes that it must have."""

    path: Path
    sha256: str


class KeyFileRefused(Exception):  # noqa: N818 - named after the cause
    """A file is not there, or not the key that is configured; the text is one sentence."""


class Imports:
    """Reads key files, each good or hopeless one only once."""

    def __init__(self) -> None:
        self._read: dict[tuple[CircuitSpec, str], KeyMaterial | KeyFileRefused] = {}
        self._one_at_a_time = asyncio.Lock()

    async def key(self, spec: CircuitSpec, file: KeyFile) -> KeyMaterial:
        """The key pair in a file.

        Raises:
            KeyFileRefused: the reason names the file.
        """
        async with self._one_at_a_time:
            found = self._read.get((spec, file.sha256))
            if found is None:
                # A missing or damaged file may be replaced: only what was read is kept.
                data = await asyncio.to_thread(_read_file, file)
                found = await asyncio.to_thread(_parse, spec, file, data)
                self._read[spec, file.sha256] = found
        if isinstance(found, KeyFileRefused):
            raise found
        return found

    def forget(self, spec: CircuitSpec, file: KeyFile) -> None:
        """Let go of a key's bytes: they are stored elsewhere by now."""
        self._read.pop((spec, file.sha256), None)


def _read_file(file: KeyFile) -> bytes:
    try:
        size = file.path.stat().st_size
        if size > MAX_BYTES:
            raise KeyFileRefused(f"{file.path} has {size} bytes; allowed: at most {MAX_BYTES}")
        data = file.path.read_bytes()
    except OSError as error:
        raise KeyFileRefused(f"{file.path} can't be read: {error.strerror}") from error
    digest = hashlib.sha256(data).hexdigest()
    if digest != file.sha256:
        raise KeyFileRefused(f"{file.path} has SHA-256 {digest}; configured is {file.sha256}")
    return data


def _parse(spec: CircuitSpec, file: KeyFile, data: bytes) -> KeyMaterial | KeyFileRefused:
    try:
        return import_key(spec, data)
    except KeyMismatch as error:
        return KeyFileRefused(f"{file.path}: {error}")
