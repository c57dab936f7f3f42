"""Requests about the node as a whole, about ranges, and about backups."""

import asyncio
import logging
import shutil
from itertools import islice
from pathlib import Path

from muster_kv.errors import FailureCode
from muster_kv.wire.messages import (
    Backup,
    Done,
    DropRange,
    Hashes,
    Hints,
    HintsWaiting,
    MerkleNodes,
    Purge,
    ReplyBody,
    Restore,
    ScanRange,
    Stat,
    Status,
)
from muster_storage import __version__, backup
from muster_storage.backup import BackupError, Origin
from muster_storage.config import StorageConfig
from muster_storage.engine import Engine, Family
from muster_storage.metrics import Metrics
from muster_storage.node import Node, NotDoneError
from muster_storage.pace import Pace
from muster_storage.store import Store, now_us
from muster_storage.sweeper import Sweeper
from muster_storage.transaction import Transaction
from muster_storage.trees import MAX_DEPTH, Forest
from muster_storage.writer import Job
from muster_storage.writes import unpack_hint

log = logging.getLogger(__name__)

_SCRATCH = "checkpoint"
_RESTORING = "restoring"
_RESTORE_PAGE = 512
_PAGE_RECORDS = 10_000
_PAGE_BYTES = 16 * 2**20


class Admin:
    """Answers what `Node` does not: see `install`."""

    def __init__(self, node: Node, store: Store, config: StorageConfig, metrics: Metrics) -> None:
        self._node = node
        self._store = store
        self._config = config
        self._metrics = metrics
        self._grace_us = round(config.retention.tombstone_grace.total_seconds() * 1e6)
        pace = Pace(config.retention.records_per_second)
        self._sweeper = Sweeper(store, pace, metrics)
        self._forest = Forest(store, pace)
        self._one_backup = asyncio.Lock()

    def install(self) -> None:
        """Have the node ask here."""
        self._node.admin |= {
            ScanRange: self._scan,
            MerkleNodes: self._merkle,
            HintsWaiting: self._hints_waiting,
            Stat: self._stat,
            Purge: self._purge,
            DropRange: self._drop,
            Backup: self._backup,
            Restore: self._restore,
        }

    async def sweep(self) -> None:
        """Take what may go, again and again."""
        await self._sweeper.run(self._config.retention.interval.total_seconds())

    async def _scan(self, body: ScanRange) -> ReplyBody:
        if not (1 <= body.limit <= _PAGE_RECORDS and 1 <= body.max_bytes <= _PAGE_BYTES):
            raise NotDoneError(
                f"limit {body.limit}, max_bytes {body.max_bytes}; "
                f"allowed: 1 to {_PAGE_RECORDS}, 1 to {_PAGE_BYTES}"
            )
        return await self._store.background(self._store.reads.page, body)

    async def _merkle(self, body: MerkleNodes) -> ReplyBody:
        if not 0 <= body.depth <= MAX_DEPTH:
            raise NotDoneError(f"depth: {body.depth}; allowed: 0 to {MAX_DEPTH}")
        wrong = [each for each in body.positions if not 1 <= each < 2 << body.depth]
        if wrong:
            raise NotDoneError(f"positions: {wrong[0]}; allowed: 1 to {(2 << body.depth) - 1}")
        return Hashes(
            await self._forest.hashes(body.range, body.depth, body.tenants, body.positions)
        )

    async def _hints_waiting(self, _: HintsWaiting) -> ReplyBody:
        waiting = {
            node: count for node, count in self._store.writer.hints.copy().items() if count > 0
        }
        oldest = await self._store.background(self._oldest_hint) if waiting else None
        age = 0.0 if oldest is None else max(0.0, (now_us() - oldest) / 1e6)
        return Hints(waiting, age)

    def _oldest_hint(self) -> int | None:
        found = self._store.engine.scan(Family.HINTS, b"", None, cached=False)
        return min((unpack_hint(value)[0] for _, value in found), default=None)

    async def _stat(self, _: Stat) -> ReplyBody:
        writer, node = self._store.writer, self._node
        return Status(
            node_id=writer.identity.node_id,
            actor=writer.identity.actor,
            state=node.state,
            ring_version=node.ring.version,
            keys=writer.keys,
            data_bytes=writer.size,
            disk_used_percent=node.usage.percent,
            version=__version__,
            counter_floor=writer.floor,
            folder=writer.identity.folder,
            disk_bytes=node.usage.total,
            hints_waiting=sum(writer.hints.copy().values()),
        )

    async def _purge(self, body: Purge) -> ReplyBody:
        before_us = min(body.before_us, now_us() - self._grace_us)

        def work(transaction: Transaction) -> None:
            transaction.forget_before(body.range, before_us)

        # Before anything goes: who has forgotten a deletion must know that it may have.
        await self._store.write(Job((), work))
        return await self._sweeper.purge(body.range, body.actors)

    async def _drop(self, body: DropRange) -> ReplyBody:
        version = self._node.ring.version

        def same() -> bool:
            return self._node.ring.version == version

        dropped = await self._sweeper.drop(body.range, body.tenants, same)
        if not same():
            # What comes under a new ring may be in this very range.
            text = "the ring changed while a range was dropped"
            raise NotDoneError(text, FailureCode.STALE_RING)
        return dropped

    async def _backup(self, body: Backup) -> ReplyBody:
        target = self._named(body.name)
        writer = self._store.writer
        origin = Origin(
            writer.identity.node_id, writer.identity.cluster, writer.identity.actor, writer.keys
        )
        scratch = self._config.storage.data_dir / _SCRATCH
        async with self._one_backup:
            try:
                manifest = await asyncio.to_thread(
                    backup.take, self._checkpoint, scratch, target, origin
                )
            except BackupError as error:
                raise NotDoneError(str(error)) from error
        self._metrics.backed_up()
        log.info("backed up", extra={"backup": str(target), "bytes": manifest.size})
        return Done()

    def _checkpoint(self, scratch: Path) -> None:
        # Flushed before, since rocksdict lets nobody else run while it makes the checkpoint.
        self._store.engine.flush()
        self._store.engine.checkpoint(scratch)

    async def _restore(self, body: Restore) -> ReplyBody:
        """Join all records of a backup into those held: what is newer here stays."""
        source = self._named(body.name)
        place = self._config.storage.data_dir / _RESTORING
        async with self._one_backup:
            try:
                records = await self._join(source, place)
            except BackupError as error:
                raise NotDoneError(str(error)) from error
            finally:
                await asyncio.to_thread(shutil.rmtree, place, ignore_errors=True)
        log.info("restored", extra={"backup": str(source), "records": records})
        return Done()

    async def _join(self, source: Path, place: Path) -> int:
        def opened() -> Engine:
            shutil.rmtree(place, ignore_errors=True)
            backup.fetch(source, place)
            return Engine(place)

        engine = await asyncio.to_thread(opened)
        found = engine.scan(Family.DATA, b"", None, cached=False)
        try:
            records = 0
            while page := await asyncio.to_thread(lambda: tuple(islice(found, _RESTORE_PAGE))):
                whole = tuple(item for item in page if self._store.reads.whole(*item))
                await self._node.join(whole)
                records += len(whole)
            return records
        finally:
            # An iterator keeps RocksDB open.
            found.close()
            await asyncio.to_thread(engine.close)

    def _named(self, name: str) -> Path:
        folder = self._config.storage.backup_dir
        if folder is None:
            raise NotDoneError("this node has no storage.backup_dir")
        try:
            return folder / backup.check_name(name)
        except BackupError as error:
            raise NotDoneError(str(error)) from error
