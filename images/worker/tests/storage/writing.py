"""The writing thread's work without its thread, on a RocksDB that fails when it is told to."""

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from muster_kv.merging import Intent, lww_record
from muster_kv.ops import fresh_op
from muster_kv.record import encode
from muster_kv.slots import slot
from muster_kv.wire.frames import Requests, Unframer, decode_replies
from muster_kv.wire.messages import Merge, ReplyBody, Request, Take
from muster_records import Batch, Frame
from muster_storage.engine import Change, Engine, EngineUnsyncedError, Family
from muster_storage.identity import Identity
from muster_storage.metrics import Metrics
from muster_storage.transaction import Transaction
from muster_storage.writer import Job, Writer
from muster_storage.writes import Write, Writes, hints_of, slots_of

NOW = 1_000_000_000_000
AT = slot("acme", "k")
IDENTITY = Identity("s1", "muster", "s1#00000000")


class Failing(Engine):
    """RocksDB that fails as it is told to, once for each error."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.errors: list[Exception] = []
        self.healed = 0
        self.opened = 1
        self.busy = False
        self.read: list[bytes] = []

    def get_many(self, family: Family, keys: list[bytes]) -> list[bytes | None]:
        self.read += keys
        return super().get_many(family, keys)

    def write(self, changes: Iterable[Change], *, sync: bool = True) -> None:
        error = self.errors.pop(0) if self.errors else None
        if error is not None and not isinstance(error, EngineUnsyncedError):
            raise error
        super().write(changes, sync=sync)
        if error is not None:
            raise error

    def heal(self) -> None:
        super().heal()
        self.healed += 1

    def reopen(self, *, gaps: bool = False) -> None:
        super().reopen(gaps=gaps)
        self.opened += 1

    @property
    def at_work(self) -> bool:
        return self.busy


def plain(body: Take | Merge) -> Batch:
    """A request as it comes in a frame."""
    batch = Batch()
    frame = Frame(msgspec.msgpack.encode(Requests(0, [Request(1, 1, 0, body)])))
    frame.put_writes(1, 0, batch)
    return batch


def answer_of(batch: Batch) -> ReplyBody:
    [(_, data)] = batch.frames()
    [(_, body)] = Unframer().feed(data)
    [reply] = decode_replies(body)
    return reply.body


class Asked:
    """Has requests applied, each as a job of one batch."""

    def __init__(self, writer: Writer, metrics: Metrics, *, sync: bool = True) -> None:
        self._writer = writer
        self._writes = Writes(2, metrics)
        self._sync = sync

    def __call__(self, *bodies: Write | Take | Merge) -> list[ReplyBody]:
        jobs = [self._job(body) for body in bodies]
        found = self._writer(jobs)
        assert not any(isinstance(answer, Exception) for answer in found)
        answers: list[Any] = [
            answer if job.batch is None else answer_of(job.batch)
            for answer, job in zip(found, jobs, strict=True)
        ]
        return answers

    def _job(self, body: Write | Take | Merge) -> Job[Any]:
        if isinstance(body, Take | Merge):
            batch = plain(body)
            done = partial(Transaction.apply, batch=batch, now_us=0)
            return Job((), done, sync=self._sync, batch=batch)

        def work(transaction: Transaction) -> ReplyBody:
            return self._writes.apply(transaction, body)

        return Job(slots_of(body), work, hints_of(body), sync=self._sync)


def taking(value: bytes, key: str = "k") -> Take:
    return Take(slot("acme", key), Intent(fresh_op(value.ljust(16)), value, NOW))


def lww(value: bytes, stamp: int = NOW) -> bytes:
    return encode(lww_record(Intent(bytes(16), value, stamp)), AT)


def held(engine: Engine) -> list[tuple[bytes, bytes]]:
    """All records in RocksDB."""
    return list(engine.scan(Family.DATA, b"", None))
