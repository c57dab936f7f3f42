"""Tables of proving keys on disk: built once, mapped by every process that shares the directory.

A file is whole or not there: it is written beside its place, synced, and renamed. Who finds none
takes a lock, so that only one process builds; the lock goes with its holder, whatever ends that. A
directory that can't be written costs time and memory, never a proof: the tables are then this
process's own.
"""

import contextlib
import fcntl
import hashlib
import logging
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import muster_native
from muster_proving.circuits import CircuitSpec

log = logging.getLogger(__name__)

_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class TableCache:
    """The tables in `directory`.

    Attributes:
        patience: seconds to wait for another process that builds.
    """

    directory: Path
    patience: float = 120.0

    def path(self, spec: CircuitSpec, version: str) -> Path:
        """Where the tables of a key are."""
        digest = hashlib.sha256(version.encode()).hexdigest()[:32]
        return self.directory / f"{spec.key_id}-{digest}.tables"

    def obtain(
        self,
        spec: CircuitSpec,
        version: str,
        build: Callable[[], muster_native.ProvingKey],
        threads: int,
    ) -> muster_native.ProvingKey:
        """The key with its tables from the cache, which `build` fills where nobody did.

        Raises what `build` raises.
        """
        path = self.path(spec, version)
        found = _open(spec, version, path, threads)
        if found is not None:
            return found
        built = None
        try:
            with _locked(path.with_suffix(".lock"), self.patience):
                # Whoever held the lock before may have built them.
                found = _open(spec, version, path, threads)
                if found is not None:
                    return found
                built = build()
                _save(built, path)
        except OSError as error:
            log.warning("tables are not shared", extra={"key_id": spec.key_id, "error": str(error)})
            return built or build()
        # The pages of the file are shared, those that were built in are not.
        return _open(spec, version, path, threads) or built


def _open(
    spec: CircuitSpec, version: str, path: Path, threads: int
) -> muster_native.ProvingKey | None:
    """The key over the tables in a file; None where there is no such file, or a wrong one."""
    if not path.exists():
        return None
    try:
        return muster_native.ProvingKey.open(spec.key_id, path, version, threads=threads)
    except (OSError, muster_native.KeyFileError) as error:
        log.warning("tables are built anew", extra={"key_id": spec.key_id, "error": str(error)})
        return None


def _save(key: muster_native.ProvingKey, path: Path) -> None:
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        key.save(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    log.info("tables written", extra={"path": str(path), "bytes": key.table_bytes})


@contextlib.contextmanager
def _locked(path: Path, patience: float) -> Iterator[None]:
    """Hold the lock of a file; OSError where it can't be had in time."""
    with path.open("wb") as file:
        deadline = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{path} was locked for {patience:g} s") from None
                time.sleep(_POLL_SECONDS)
        yield
