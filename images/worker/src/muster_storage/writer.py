"""The writing thread's work: all jobs of a batch become one WriteBatch and at most one fsync."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from muster_records import Batch, Recent, Replica
from muster_storage import horizon, layout
from muster_storage.engine import (
    Change,
    Engine,
    EngineBusyError,
    EngineCorruptError,
    EngineError,
    EngineFullError,
    EngineUnsyncedError,
    Family,
)
from muster_storage.identity import Identity
from muster_storage.marks import Marks
from muster_storage.metrics import Metrics
from muster_storage.refusing import Refusing
from muster_storage.transaction import DAMAGED, Forgotten, Names, Transaction
from muster_storage.unsynced import Unsynced

log = logging.getLogger(__name__)
R = TypeVar("R")

_STALL_SECONDS = 5.0
_STALL_STEP = 0.005


class DiskFullError(Exception):
    """Nothing of the batch was written, as the disk is full."""


class OverloadedError(Exception):
    """Nothing of the batch was written, as RocksDB has to catch up."""


@dataclass(frozen=True, slots=True)
class Job(Generic[R]):
    """Something to do with some records and hints, in one piece.

    `apply` gets a transaction that knows the records of `slots` and of `batch`, and the hints of
    `hints`, and answers what the submitter gets once the changes are durable. It raises nothing.

    Without `sync` they are with the kernel then, and on disk a little later.
    """

    slots: Sequence[bytes]
    apply: Callable[[Transaction], R]
    hints: Sequence[bytes] = ()
    requests: int = 1
    sync: bool = True
    batch: Batch | None = None


def read_many(engine: Engine, family: Family, keys: list[bytes]) -> list[bytes | None]:
    """Values of `keys`; DAMAGED where RocksDB finds that a block is not what was written."""
    if not keys:
        return []
    try:
        return engine.get_many(family, keys)
    except EngineCorruptError:
        return [_read(engine, family, key) for key in keys]


def _read(engine: Engine, family: Family, key: bytes) -> bytes | None:
    try:
        return engine.get(family, key)
    except EngineCorruptError:
        return DAMAGED


class Writer:
    """Writes batches of jobs; called in one thread only.

    What it tells about itself is as of the last durable batch, and may be read from any thread.

    Args:
        now_us: the clock, in microseconds since 1970.
        unsynced: what is acknowledged and may not be on disk.
        sync_within: seconds after which such writes are synced with the next batch.
        has_room: whether RocksDB finds space for what it has to write.
    """

    def __init__(
        self,
        engine: Engine,
        identity: Identity,
        metrics: Metrics,
        now_us: Callable[[], int],
        unsynced: Unsynced,
        sync_within: float = 0.0,
        has_room: Callable[[], bool] = lambda: True,
    ) -> None:
        self._engine = engine
        self._metrics = metrics
        self._now_us = now_us
        self.unsynced = unsynced
        self._sync_within = sync_within
        self._has_room = has_room
        self._failed = False
        self.refusing = Refusing()
        self.identity = identity
        self._spare = identity.renewed()
        self.marks = Marks()
        self.recent = Recent(0)
        """Records that need not be read; whoever has memory for some puts another here."""
        self._load()

    def _load(self) -> None:
        engine = self._engine
        self.recent.clear()
        self.keys, self.size = layout.unpack_totals(engine.get(Family.META, layout.META_TOTALS))
        self.floor = layout.unpack_number(engine.get(Family.META, layout.META_FLOOR))
        self.horizon = horizon.unpack(engine.get(Family.META, layout.META_HORIZON))
        self.hints = _count_hints(engine)

    def __call__(self, jobs: "Sequence[Job[R]]") -> "list[R | Exception]":
        """Do all `jobs`, durably where one of them wants that.

        Raises:
            DiskFullError, OverloadedError: nothing was written.
            EngineClosedError: RocksDB had to be opened anew, and can't be.
            EngineError: it is not known what was written.
        """
        if self.refusing.stuck:
            self._reopen()
        start = time.perf_counter()
        transaction = self._transaction(jobs)
        results: list[R | Exception] = [job.apply(transaction) for job in jobs]
        self._metrics.corrupted(transaction.corrupted)
        changes = transaction.changes()
        unsynced = self.unsynced
        late = unsynced.some and unsynced.age >= self._sync_within
        sync = late or any(job.sync for job in jobs)
        # What is answered without a change may rest on one that is not on disk.
        if changes or (sync and unsynced.some):
            keys, size = transaction.totals()
            if keys or size:
                totals = layout.pack_totals(self.keys + keys, self.size + size)
                changes.append(Change(Family.META, layout.META_TOTALS, totals))
            try:
                self._write(changes, sync=sync)
            except EngineUnsyncedError:
                self._written(transaction, keys, size)
                raise
            except EngineError:
                self.recent.clear()
                # Its dots may be on disk.
                self._spare = self.identity.renewed()
                raise
            self._written(transaction, keys, size)
        requests = sum(job.requests for job in jobs)
        self._metrics.committed(requests, time.perf_counter() - start)
        return results

    def _transaction(self, jobs: "Sequence[Job[R]]") -> Transaction:
        names = Names(self.identity, self._spare)
        replica = Replica(names.identity.actor, names.spare.actor, self.floor, self.horizon.steps)
        slots: list[bytes] = []
        for job in jobs:
            slots += job.slots
            if job.batch is not None:
                slots += replica.recall(job.batch, self.recent)
        missing = replica.missing(list(dict.fromkeys(slots)))
        for slot, data in zip(missing, read_many(self._engine, Family.DATA, missing), strict=True):
            replica.load(slot, data)
        hints = list({key: None for job in jobs for key in job.hints})
        return Transaction(
            replica,
            dict(zip(hints, read_many(self._engine, Family.HINTS, hints), strict=True)),
            self.hints,
            names,
            Forgotten(self.floor, self.horizon),
            self._now_us(),
        )

    def _reopen(self) -> None:
        """Begin anew with what is on disk, as a new process would; nothing is taken before."""
        try:
            self._engine.reopen(gaps=self.unsynced.marked)
        except EngineBusyError as error:
            raise OverloadedError(str(error)) from error
        log.warning("RocksDB refused writes without need, and was opened anew")
        self._metrics.reopened()
        self._load()
        self.marks.all_changed()
        if self._failed or self.unsynced.marked:
            # What is not on disk may have been read, and its dots must not be made again.
            renewed = self.identity.renewed()
            try:
                self._engine.write([renewed.change])
            except EngineFullError as error:
                raise DiskFullError(f"the disk is full: {error}") from error
            self.identity, self._spare = renewed, renewed.renewed()
        # Reading the log has written files of all that it held.
        self._failed = False
        self.refusing.over()

    def finish(self) -> None:
        """Have all on disk at the end.

        Raises:
            DiskFullError, OverloadedError, EngineError, OSError: it is not known to be.
        """
        if self.unsynced.some:
            self._write([], sync=True)
        self.unsynced.forget()

    def _write(self, changes: list[Change], *, sync: bool) -> None:
        patience = time.monotonic() + _STALL_SECONDS
        while True:
            try:
                if self._failed:
                    self._engine.heal()
                    self._failed = False
                if not sync:
                    self._announce()
                self._engine.write(changes, sync=sync)
                if sync:
                    self.unsynced.over()
                self.refusing.over()
                return
            except EngineBusyError as error:
                if time.monotonic() > patience:
                    self.refusing.refused(needless=not self._engine.at_work and self._has_room())
                    raise OverloadedError(f"RocksDB does not catch up: {error}") from error
                time.sleep(_STALL_STEP)
            except EngineFullError as error:
                self.refusing.refused(needless=self._has_room())
                raise DiskFullError(f"the disk is full: {error}") from error
            except EngineUnsyncedError:
                self._failed = True
                log.exception("fsync failed; what was written last is not acknowledged")
                raise
            except EngineError:
                self.refusing.refused(needless=True)
                raise

    def _announce(self) -> None:
        try:
            self.unsynced.begin()
        except OSError as error:
            raise DiskFullError(f"the data folder takes no file: {error}") from error

    def _written(self, transaction: Transaction, keys: int, size: int) -> None:
        self.keys += keys
        self.size += size
        if transaction.identity is self._spare:
            self.identity, self._spare = self._spare, self._spare.renewed()
        self.floor = transaction.floor
        self.horizon = transaction.horizon
        counts = self.hints
        for node, change in transaction.hint_counts.items():
            counts[node] = counts.get(node, 0) + change
        self.marks.committed(transaction.tokens)
        transaction.remember(self.recent)


def _count_hints(engine: Engine) -> dict[str, int]:
    counts: dict[str, int] = {}
    for key, _ in engine.scan(Family.HINTS, b"", None, cached=False):
        node, _ = layout.hint_place(key)
        counts[node] = counts.get(node, 0) + 1
    return counts
