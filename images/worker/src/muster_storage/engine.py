"""RocksDB, by rocksdict: column families, atomic durable batches, scans, checkpoints.

RocksDB's write-ahead log is the commit log; block checksums, bloom filters and leveled compaction
are RocksDB's too. Keys and values are bytes; what they mean is known to the modules above.
"""

import contextlib
import logging
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple, cast

from rocksdict import (
    BlockBasedOptions,
    Cache,
    Checkpoint,
    DBCompressionType,
    DBRecoveryMode,
    Options,
    Rdict,
    ReadOptions,
    WriteBatch,
    WriteOptions,
)

from muster_storage.gate import Gate, GateBusyError

log = logging.getLogger(__name__)

_FULL = ("No space left", "Disk quota exceeded", "Max allowed space was reached")
_CORRUPT = ("Corruption", "checksum mismatch")
_BUSY = ("Incomplete", "Write stall")
_LOG_FILES_KEPT = 2
_LOG_BYTES = 4 * 2**20
_ALONE_SECONDS = 5.0
_AT_WORK = ("rocksdb.num-running-flushes", "rocksdb.num-running-compactions")


class EngineError(Exception):
    """RocksDB refused; the text is RocksDB's."""


class EngineFullError(EngineError):
    """The disk is full: nothing was written."""


class EngineBusyError(EngineError):
    """RocksDB can't take more before it has flushed or compacted: nothing was written."""


class EngineCorruptError(EngineError):
    """What is on disk is not what was written there."""


class EngineUnsyncedError(EngineError):
    """What was written last may be on disk or not; see `Engine.heal`."""


class EngineClosedError(EngineError):
    """It was closed to be opened anew, and could not be opened; it stays closed."""


class Family(StrEnum):
    """The column families."""

    DATA = "data"
    HINTS = "hints"
    META = "meta"


class Change(NamedTuple):
    """One key's new value in a batch; None deletes it."""

    family: Family
    key: bytes
    value: bytes | None


@dataclass(frozen=True, slots=True)
class Memory:
    """What RocksDB may use, in bytes: cache of blocks read, and one memtable."""

    block_cache: int = 64 * 2**20
    write_buffer: int = 32 * 2**20


def _typed(error: Exception) -> EngineError:
    """Give RocksDB's error the type that tells what to do; rocksdict has one for all."""
    text = str(error)
    if any(word in text for word in _FULL):
        return EngineFullError(text)
    if any(word in text for word in _BUSY):
        return EngineBusyError(text)
    if any(word in text for word in _CORRUPT):
        return EngineCorruptError(text)
    return EngineError(text)


def _options(memory: Memory, cache: Cache, *, gaps: bool) -> Options:
    table = BlockBasedOptions()
    table.set_block_cache(cache)
    table.set_bloom_filter(10, False)
    table.set_cache_index_and_filter_blocks(True)
    table.set_pin_l0_filter_and_index_blocks_in_cache(True)
    table.set_format_version(5)
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.create_missing_column_families(True)
    options.set_block_based_table_factory(table)
    options.set_compression_type(DBCompressionType.lz4())
    options.set_write_buffer_size(memory.write_buffer)
    options.set_max_write_buffer_number(3)
    # A family that is seldom written would keep the log of all others, to be read at each start.
    options.set_max_total_wal_size(4 * memory.write_buffer)
    options.set_level_compaction_dynamic_level_bytes(True)
    options.set_max_background_jobs(2)
    options.set_bytes_per_sync(2**20)
    options.set_keep_log_file_num(_LOG_FILES_KEPT)
    options.set_max_log_file_size(_LOG_BYTES)
    # A log torn at its end is what a loss of power leaves; one damaged before that would lose
    # acknowledged writes if RocksDB went on with what precedes the damage, as it does by default.
    # Of writes that were never synced a loss of power may leave any part, so the log may have a
    # gap; nothing that was synced is behind it.
    options.set_wal_recovery_mode(
        DBRecoveryMode.point_in_time() if gaps else DBRecoveryMode.tolerate_corrupted_tail_records()
    )
    return options


class Engine:
    """One open RocksDB; safe to use from several threads.

    Args:
        path: its folder; made where it is missing.
        gaps: whether writes that were not synced may be missing in the midst of the log, which then
            counts up to there.

    Raises:
        EngineCorruptError: the data is damaged.
        EngineError: it can't be opened, for instance because another process has it open.
    """

    def __init__(self, path: Path, memory: Memory | None = None, *, gaps: bool = False) -> None:
        self._path = path
        self._memory = memory or Memory()
        self._gate = Gate()
        # rocksdict holds the interpreter's lock while it writes, so nothing may make it wait there:
        # not an fsync (flush_wal does that, without the lock), and not a stall of RocksDB.
        self._options = WriteOptions()
        self._options.no_slowdown = True
        self._open(gaps=gaps)

    def _open(self, *, gaps: bool) -> None:
        options = _options(self._memory, Cache(self._memory.block_cache), gaps=gaps)
        columns = {family.value: options for family in Family}
        try:
            self._db = Rdict(str(self._path), options, column_families=columns)
            self._families = {f: self._db.get_column_family(f.value) for f in Family}
            self._handles = {f: self._db.get_column_family_handle(f.value) for f in Family}
        except Exception as error:
            raise _typed(error) from error

    @contextlib.contextmanager
    def _used(self) -> Iterator[None]:
        with self._gate:
            if not self.is_open:
                raise EngineClosedError("RocksDB is closed")
            try:
                yield
            except Exception as error:
                raise _typed(error) from error

    @property
    def is_open(self) -> bool:
        """Whether it can be used; otherwise who uses it waits, or it is closed for good."""
        return bool(self._handles)

    @property
    def at_work(self) -> bool:
        """Whether RocksDB flushes or compacts at this moment."""
        with self._used():
            return any(self._db.property_int_value(name) for name in _AT_WORK)

    def get(self, family: Family, key: bytes) -> bytes | None:
        """The value of one key."""
        with self._used():
            value: bytes | None = self._families[family].get(key)
            return value

    def get_many(self, family: Family, keys: list[bytes]) -> list[bytes | None]:
        """The values of `keys`, in their order."""
        with self._used():
            asked: list[Any] = list(keys)
            values: Any = self._families[family].get(asked)
            return cast("list[bytes | None]", values)

    def write(self, changes: Iterable[Change], *, sync: bool = True) -> None:
        """Write all `changes` or none; with `sync` they survive a loss of power from here on.

        Raises:
            EngineFullError: the disk is full; writes go on to fail until there is space again.
            EngineBusyError: RocksDB has to catch up first; try again.
            EngineUnsyncedError: written, but not known to be on disk.
        """
        with self._used():
            batch = WriteBatch(raw_mode=True)
            handles = self._handles
            for family, key, value in changes:
                if value is None:
                    batch.delete(key, handles[family])
                else:
                    batch.put(key, value, handles[family])
            self._db.write(batch, self._options)
        if sync:
            try:
                self._db.flush_wal(True)
            except Exception as error:
                raise EngineUnsyncedError(str(error)) from error

    def heal(self) -> None:
        """Make everything written so far durable by files of its own, after a failed fsync.

        A second fsync could succeed without what the first one lost. Flushed memtables don't need
        the log that may have a hole.
        """
        self.flush()

    def scan(
        self, family: Family, start: bytes, stop: bytes | None, *, cached: bool = True
    ) -> Generator[tuple[bytes, bytes], None, None]:
        """Keys from `start` to before `stop` (None: to the end) as they are at this moment.

        Args:
            cached: whether what is read may push other blocks out of the cache.
        """
        options = ReadOptions()
        if stop is not None:
            options.set_iterate_upper_bound(stop)
        if not cached:
            options.fill_cache(False)  # type: ignore[call-arg] # its stub is wrong
        with self._used():
            found = self._families[family].iter(options)
            try:
                found.seek(start)
                while found.valid():
                    yield found.key(), found.value()
                    found.next()
                found.status()
            finally:
                # It keeps RocksDB open, and who waits for that may go on from here.
                del found

    def flush(self) -> None:
        """Write every family's memtable to a file, so that the next start has no log to read."""
        with self._used():
            for family in self._families.values():
                family.flush(True)

    def checkpoint(self, path: Path) -> None:
        """Make a consistent copy in the folder `path`, which must not exist.

        Table files are hard links where `path` is on the same file system.
        """
        with self._used():
            Checkpoint(self._db).create_checkpoint(str(path))

    def reopen(self, *, gaps: bool = False) -> None:
        """Close it and open it anew, as a new process would; whoever uses it waits meanwhile.

        RocksDB forgets by that what it has in memory only, such as that a write failed. What it has
        taken is in its log, whence it is read again.

        Raises:
            EngineBusyError: somebody used it for so long that nothing was done.
            EngineClosedError: it can't be opened, and stays closed.
        """
        try:
            with self._gate.alone(_ALONE_SECONDS):
                for error in self._release():
                    log.info("closed without a flush", extra={"error": str(error)})
                try:
                    self._open(gaps=gaps)
                except EngineError as error:
                    raise EngineClosedError(f"RocksDB can't be opened again: {error}") from error
        except GateBusyError as error:
            raise EngineBusyError("it is in use, and was not opened anew") from error

    def close(self) -> None:
        """Flush and close, if that was not done; the engine can't be used any more."""
        for error in self._release():
            raise _typed(error) from error

    def _release(self) -> list[Exception]:
        """Close all that holds RocksDB open; returns why it could not be flushed before."""
        if not self.is_open:
            return []
        open_ones = [*self._families.values(), self._db]
        self._handles.clear()
        self._families.clear()
        errors = []
        for each in open_ones:
            try:
                each.close()
            except Exception as error:  # noqa: BLE001 - rocksdict has no other; it is closed
                errors.append(error)
        return errors
