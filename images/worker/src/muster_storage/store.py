"""The open data folder and the threads that work on it."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar, cast

from muster_kv.wire.messages import GetDigest, ReplyBody
from muster_records import Batch, Recent
from muster_storage.config import StorageConfig
from muster_storage.disk import has_room, usage
from muster_storage.engine import Engine, EngineClosedError, EngineError, Memory
from muster_storage.identity import Identity, claim
from muster_storage.lane import Lane, LaneFullError
from muster_storage.metrics import Metrics
from muster_storage.reads import Reads
from muster_storage.transaction import Transaction
from muster_storage.unsynced import Unsynced
from muster_storage.writer import DiskFullError, Job, OverloadedError, Writer

log = logging.getLogger(__name__)
R = TypeVar("R")

REFUSALS = (LaneFullError, DiskFullError, OverloadedError, EngineError)
"""What writing can raise; work in the background tries again later."""
_BYTES_PER_UNIT = 4096
_TRY_SECONDS = 1.0


def now_us() -> int:
    """Microseconds since 1970."""
    return time.time_ns() // 1000


def database(data_dir: Path) -> Path:
    """Where RocksDB lies in a data folder."""
    return data_dir / "db"


def units(requests: int, size: int) -> int:
    """What requests with `size` bytes of values count for in a batch."""
    return requests + size // _BYTES_PER_UNIT


class Store:
    """One data folder in use: a writing thread, a reading one, and one for the background."""

    def __init__(
        self,
        engine: Engine,
        identity: Identity,
        unsynced: Unsynced,
        config: StorageConfig,
        metrics: Metrics,
    ) -> None:
        storage = config.storage
        self._sync_within = storage.sync_interval.total_seconds()
        self.engine = engine

        def room() -> bool:
            # RocksDB goes on by itself where it has as much.
            found = usage(storage.data_dir)
            return has_room(found, storage.thresholds, storage.write_buffer)

        self.writer = Writer(engine, identity, metrics, now_us, unsynced, self._sync_within, room)
        self.writer.recent = Recent(storage.record_cache)
        self.reads = Reads(engine, metrics)
        most, queued = storage.max_batch, storage.max_queued
        self._writing = Lane[Job[Any], Any]("writer", self.writer, most=most, queued=queued)
        self._reading = Lane[Batch | Sequence[GetDigest], list[ReplyBody]](
            "reader", self.reads.batch, most=most, queued=queued
        )
        self._background = ThreadPoolExecutor(1, "background")
        metrics.watch("records", "Records held.", lambda: self.writer.keys)
        metrics.watch("record_bytes", "Bytes of the records held.", lambda: self.writer.size)
        metrics.watch(
            "hints_waiting", "Hints that wait.", lambda: sum(self.writer.hints.copy().values())
        )
        metrics.watch(
            "forgotten_before_timestamp_seconds",
            "Unix time before which what died is forgotten in the whole ring.",
            lambda: self.writer.horizon.least / 1e6,
        )
        metrics.watch(
            "unsynced_seconds",
            "Age of the oldest write that is acknowledged and not yet on disk.",
            lambda: unsynced.age,
        )
        metrics.watch("waiting_writes", "Writes that wait.", lambda: self._writing.waiting)
        metrics.watch("waiting_reads", "Reads that wait.", lambda: self._reading.waiting)

    @classmethod
    async def open(cls, config: StorageConfig, metrics: Metrics) -> "Store":
        """Open the data folder, reading the log that the last process left.

        Raises:
            FolderRefusedError: it is another node's.
            EngineError: RocksDB can't open it.
        """
        storage = config.storage

        unsynced = Unsynced(storage.data_dir)

        def opened() -> tuple[Engine, Identity]:
            engine = Engine(
                database(storage.data_dir),
                Memory(storage.block_cache, storage.write_buffer),
                gaps=unsynced.left,
            )
            try:
                identity = claim(engine, storage.node_id, storage.cluster)
                if unsynced.left:
                    identity = identity.renewed()
                    engine.write([identity.change])
                    unsynced.forget()
            except BaseException:
                engine.close()
                raise
            return engine, identity

        engine, identity = await asyncio.to_thread(opened)
        if unsynced.left:
            log.warning(
                "not ended in order, and the last moments may be missing",
                extra={"actor": identity.actor},
            )
        return cls(engine, identity, unsynced, config, metrics)

    def write(self, job: Job[R], weight: int = 1) -> "asyncio.Future[R]":
        """Have a job done durably.

        Raises:
            LaneFullError: too many wait. The future raises what `Writer` raises.
        """
        return cast("asyncio.Future[R]", self._writing.submit(job, weight))

    def read(self, bodies: Sequence[GetDigest]) -> "asyncio.Future[list[ReplyBody]]":
        """Look up some keys.

        Raises:
            LaneFullError: too many wait.
        """
        return self._reading.submit(bodies, len(bodies))

    def find(self, batch: Batch) -> "asyncio.Future[list[ReplyBody]]":
        """Have plain reads answered, in their batch.

        Raises:
            LaneFullError: too many wait.
        """
        return self._reading.submit(batch, len(batch))

    async def keep_synced(self) -> None:
        """Have on disk, soon, what was acknowledged before it was there; for ever."""
        while True:
            await asyncio.sleep(self._sync_within)
            if not self.writer.unsynced.some:
                continue
            try:
                await self.write(Job((), lambda _: None, requests=0))
            except REFUSALS as error:
                log.warning("writes are not on disk yet", extra={"error": repr(error)})

    async def try_again(self) -> None:
        """While writes are refused, try one now and then, as there may be none else; for ever.

        Raises:
            EngineClosedError: RocksDB can't be opened again.
        """
        while True:
            await asyncio.sleep(_TRY_SECONDS)
            if not self.writer.refusing.some:
                continue
            try:
                await self.write(Job((), _rewrite, requests=0))
            except EngineClosedError:
                raise
            except REFUSALS as error:
                log.info("writes are refused", extra={"error": str(error)})

    async def background(self, work: Callable[..., R], *arguments: Any) -> R:
        """Do something slow in the thread for that, after what was asked for before."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._background, work, *arguments)

    async def close(self) -> None:
        """Finish what waits, write it to files, and close."""
        await self._writing.close()
        await self._reading.close()
        try:
            await self.background(self.writer.finish)
        except (*REFUSALS, OSError):
            log.exception("not all is known to be on disk")
        await self.background(self.engine.close)
        await asyncio.to_thread(self._background.shutdown)


def _rewrite(transaction: Transaction) -> None:
    """A write that changes nothing."""
    transaction.put_meta(transaction.identity.change)
