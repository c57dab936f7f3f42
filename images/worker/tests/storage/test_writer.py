"""A batch is written whole, or nobody is told that it was."""

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from muster_kv.errors import FailureCode
from muster_kv.merging import Intent, Outcome, knows, lww_record, take
from muster_kv.ops import fresh_op
from muster_kv.record import ABSENT, decode, encode
from muster_kv.slots import slot
from muster_kv.wire.frames import Requests, Unframer, decode_replies
from muster_kv.wire.messages import (
    Failure,
    Merge,
    Merged,
    ReplyBody,
    Request,
    StoreHint,
    Take,
    Took,
)
from muster_records import Batch, Frame, Recent
from muster_storage.engine import (
    Change,
    Engine,
    EngineBusyError,
    EngineClosedError,
    EngineError,
    EngineFullError,
    EngineUnsyncedError,
    Family,
)
from muster_storage.identity import Identity, new_identity, read_identity
from muster_storage.metrics import Metrics
from muster_storage.transaction import Transaction
from muster_storage.unsynced import Unsynced
from muster_storage.writer import DiskFullError, Job, OverloadedError, Writer
from muster_storage.writes import Write, Writes, hints_of, slots_of

pytestmark = pytest.mark.integration

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


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Failing]:
    opened = Failing(tmp_path / "db")
    yield opened
    opened.close()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(["Take"], ["CORRUPT"])


@pytest.fixture
def unsynced(tmp_path: Path) -> Unsynced:
    return Unsynced(tmp_path)


@pytest.fixture(params=[0, 2**20], ids=["reading", "remembering"])
def writer(
    request: pytest.FixtureRequest, engine: Failing, metrics: Metrics, unsynced: Unsynced
) -> Writer:
    writer = Writer(engine, IDENTITY, metrics, lambda: NOW, unsynced)
    writer.recent = Recent(request.param)
    return writer


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


@pytest.fixture
def asked(writer: Writer, metrics: Metrics) -> Asked:
    return Asked(writer, metrics)


def _take(value: bytes, key: str = "k") -> Take:
    return Take(slot("acme", key), Intent(fresh_op(value.ljust(16)), value, NOW))


def _record(value: bytes, stamp: int = NOW) -> bytes:
    return encode(lww_record(Intent(bytes(16), value, stamp)), AT)


def test_all_jobs_of_a_batch_see_what_those_before_did(
    engine: Failing, writer: Writer, asked: Asked, unsynced: Unsynced
) -> None:
    answers = asked(_take(b"1"), _take(b"2"), Merge(AT, _record(b"other")), _take(b"3", "l"))
    assert [type(answer) for answer in answers] == [Took, Took, Merged, Took]
    assert (writer.keys, writer.size) == (2, sum(len(data) for _, data in _held(engine)))
    again = Writer(engine, IDENTITY, Metrics([], []), lambda: NOW, unsynced)
    assert (again.keys, again.size) == (writer.keys, writer.size)


def test_when_the_disk_is_full_nothing_is_answered_as_done(
    engine: Failing, writer: Writer, asked: Asked
) -> None:
    engine.errors.append(EngineFullError("No space left on device"))
    with pytest.raises(DiskFullError):
        asked(_take(b"1"), _take(b"2", "l"))
    assert (_held(engine), writer.keys, writer.marks.now) == ([], 0, 1)
    asked(_take(b"1"))
    assert writer.keys == 1


class Watched:
    """Passes everything on to RocksDB, and notes what changes or syncs."""

    def __init__(self, db: Any) -> None:
        self._db = db
        self.called: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if name in ("write", "flush_wal"):
            self.called.append(name)
        return getattr(self._db, name)


def _watched(engine: Engine) -> Watched:
    watched = Watched(engine._db)
    engine._db = watched  # type: ignore[assignment]
    return watched


def test_a_batch_is_one_write_and_one_fsync(engine: Failing, asked: Asked) -> None:
    watched = _watched(engine)
    asked(*(_take(b"v", f"k{number}") for number in range(50)))
    assert watched.called == ["write", "flush_wal"]


class TestUnsynced:
    """Writes that are answered before they are on disk, and get there soon after."""

    @pytest.fixture
    def late(self) -> list[float]:
        """What the clock says, as its last element."""
        return [0.0]

    @pytest.fixture
    def unsynced(self, tmp_path: Path, late: list[float]) -> Unsynced:
        return Unsynced(tmp_path, lambda: late[-1])

    @pytest.fixture
    def writer(self, engine: Failing, metrics: Metrics, unsynced: Unsynced) -> Writer:
        return Writer(engine, IDENTITY, metrics, lambda: NOW, unsynced, 2.0)

    @pytest.fixture
    def hasty(self, writer: Writer, metrics: Metrics) -> Asked:
        return Asked(writer, metrics, sync=False)

    def test_they_cost_no_fsync_for_a_while(
        self, engine: Failing, hasty: Asked, unsynced: Unsynced, late: list[float]
    ) -> None:
        watched = _watched(engine)
        hasty(_take(b"1"))
        late.append(1.9)
        hasty(_take(b"2"))
        assert (watched.called, unsynced.age) == (["write", "write"], 1.9)
        late.append(2.0)
        hasty(_take(b"3"))
        assert (watched.called[2:], unsynced.age) == (["write", "flush_wal"], 0)

    def test_one_that_may_not_be_lost_takes_them_along(
        self, engine: Failing, hasty: Asked, asked: Asked, unsynced: Unsynced
    ) -> None:
        hasty(_take(b"1"))
        assert unsynced.some
        asked(_take(b"2", "l"))
        assert not unsynced.some
        # What is answered without a change may rest on one that is not on disk.
        held = Merge(AT, engine.get(Family.DATA, AT) or b"")
        hasty(_take(b"3", "m"))
        watched = _watched(engine)
        asked(held)
        assert (watched.called, unsynced.some) == (["write", "flush_wal"], False)

    def test_nothing_is_written_before_the_folder_says_so(
        self, engine: Failing, hasty: Asked, unsynced: Unsynced, tmp_path: Path
    ) -> None:
        assert not (tmp_path / "unsynced").exists()
        (tmp_path / "unsynced").symlink_to("/proc/none/there")
        with pytest.raises(DiskFullError, match="takes no file"):
            hasty(_take(b"1"))
        assert _held(engine) == []
        (tmp_path / "unsynced").unlink()
        hasty(_take(b"1"))
        assert Unsynced(tmp_path).left

    def test_an_orderly_end_leaves_none(
        self, engine: Failing, writer: Writer, hasty: Asked, tmp_path: Path
    ) -> None:
        hasty(_take(b"1"))
        watched = _watched(engine)
        writer.finish()
        assert watched.called[-1] == "flush_wal"
        assert not Unsynced(tmp_path).left

    def test_an_end_whose_fsync_fails_leaves_the_folder_marked(
        self, engine: Failing, writer: Writer, hasty: Asked, tmp_path: Path
    ) -> None:
        hasty(_take(b"1"))
        engine.errors.append(EngineUnsyncedError("Input/output error"))
        with pytest.raises(EngineUnsyncedError):
            writer.finish()
        assert Unsynced(tmp_path).left


def test_a_stall_of_rocksdb_is_waited_for_a_while(
    engine: Failing, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.errors += [EngineBusyError("Write stall")] * 3
    asked(_take(b"1"))
    assert len(_held(engine)) == 1
    monkeypatch.setattr("muster_storage.writer._STALL_SECONDS", 0.02)
    engine.errors += [EngineBusyError("Write stall")] * 100
    with pytest.raises(OverloadedError):
        asked(_take(b"2"))


def test_after_a_failed_fsync_nothing_is_acknowledged_before_files_are_whole(
    engine: Failing, writer: Writer, asked: Asked
) -> None:
    engine.errors.append(EngineUnsyncedError("Input/output error"))
    with pytest.raises(EngineUnsyncedError):
        asked(_take(b"1"))
    # It may be there, so it counts and is marked; and it is made durable before the next one.
    assert (writer.keys, engine.healed) == (1, 0)
    assert writer.marks.now == 2
    asked(_take(b"2", "l"))
    asked(_take(b"3", "m"))
    assert (writer.keys, engine.healed) == (3, 1)


class TestRefusing:
    """RocksDB that goes on to refuse writes is opened anew."""

    @pytest.fixture(autouse=True)
    def impatient(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("muster_storage.refusing.PATIENCE", 0)
        monkeypatch.setattr("muster_storage.writer._STALL_SECONDS", 0)

    @pytest.mark.parametrize(
        "error", [EngineFullError("No space left"), EngineBusyError("stall"), EngineError("other")]
    )
    def test_without_need_it_is_opened_anew_before_the_next_batch(
        self, engine: Failing, writer: Writer, asked: Asked, metrics: Metrics, error: EngineError
    ) -> None:
        asked(_take(b"1"))
        seen = writer.marks.now
        engine.errors.append(error)
        with pytest.raises((DiskFullError, OverloadedError, EngineError)):
            asked(_take(b"2", "l"))
        assert (engine.opened, writer.refusing.some) == (1, True)
        asked(_take(b"3", "m"))
        assert (engine.opened, writer.refusing.some, writer.keys) == (2, False, 2)
        assert writer.identity == IDENTITY
        assert writer.marks.changed_since(seen, 0, 2**64 - 1)
        assert metrics.registry.get_sample_value("storage_reopened_total") == 1
        asked(_take(b"4", "n"))
        assert engine.opened == 2

    def test_where_there_is_need_it_is_left_alone(
        self, engine: Failing, metrics: Metrics, unsynced: Unsynced
    ) -> None:
        writer = Writer(engine, IDENTITY, metrics, lambda: NOW, unsynced, has_room=lambda: False)
        asked = Asked(writer, metrics)
        engine.errors += [EngineFullError("No space left")] * 3
        for _ in range(3):
            with pytest.raises(DiskFullError):
                asked(_take(b"1"))
        asked(_take(b"1"))
        assert engine.opened == 1

    def test_while_it_flushes_or_compacts_it_is_left_alone(
        self, engine: Failing, asked: Asked
    ) -> None:
        engine.busy = True
        engine.errors += [EngineBusyError("Write stall")] * 3
        for _ in range(3):
            with pytest.raises(OverloadedError):
                asked(_take(b"1"))
        asked(_take(b"1"))
        assert engine.opened == 1

    def test_what_may_not_be_on_disk_makes_another_actor(
        self, engine: Failing, writer: Writer, metrics: Metrics, unsynced: Unsynced
    ) -> None:
        Asked(writer, metrics, sync=False)(_take(b"1"))
        asked = Asked(writer, metrics)
        # Nothing is taken until that is written down.
        engine.errors += [EngineFullError("No space left")] * 3
        for _ in range(3):
            with pytest.raises(DiskFullError):
                asked(_take(b"2", "l"))
        assert (engine.opened, writer.identity) == (3, IDENTITY)
        asked(_take(b"2", "l"))
        assert (engine.opened, writer.keys) == (4, 2)
        assert writer.identity.actor != IDENTITY.actor
        assert read_identity(engine) == writer.identity

    def test_who_reads_meanwhile_waits_or_is_waited_for(
        self, engine: Failing, writer: Writer, asked: Asked, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("muster_storage.engine._ALONE_SECONDS", 0.01)
        asked(_take(b"1"))
        reading = engine.scan(Family.DATA, b"", None)
        next(reading)
        engine.errors.append(EngineFullError("No space left"))
        with pytest.raises(DiskFullError):
            asked(_take(b"2", "l"))
        with pytest.raises(OverloadedError, match="in use"):
            asked(_take(b"2", "l"))
        reading.close()
        asked(_take(b"2", "l"))
        assert (engine.opened, len(_held(engine))) == (2, 2)

    def test_what_can_not_be_opened_again_stays_closed(
        self, engine: Failing, asked: Asked, tmp_path: Path
    ) -> None:
        asked(_take(b"1"))
        engine.errors.append(EngineFullError("No space left"))
        with pytest.raises(DiskFullError):
            asked(_take(b"2"))
        (tmp_path / "db" / "CURRENT").write_text("nonsense")
        with pytest.raises(EngineClosedError, match="can't be opened again"):
            asked(_take(b"2"))
        assert not engine.is_open
        with pytest.raises(EngineClosedError, match="is closed"):
            engine.get(Family.DATA, AT)


def test_a_damaged_record_gives_way_to_a_peers_and_makes_another_actor(
    engine: Failing, writer: Writer, asked: Asked
) -> None:
    engine.write([Change(Family.DATA, AT, b"damaged")])
    (refused,) = asked(_take(b"1"))
    assert isinstance(refused, Failure)
    assert refused.code is FailureCode.CORRUPT
    assert writer.identity == IDENTITY
    taken, before = asked(Merge(AT, _record(b"v")), _take(b"other", "l"))
    assert taken == Merged(1)
    assert isinstance(before, Took)
    assert writer.identity.actor != IDENTITY.actor
    assert engine.get(Family.DATA, AT) == _record(b"v")


def test_a_damaged_hint_gives_way_to_the_next(
    engine: Failing, writer: Writer, asked: Asked
) -> None:
    hint = StoreHint("s2", ((AT, _record(b"v")),))
    asked(hint)
    ((key, _),) = list(engine.scan(Family.HINTS, b"", None))
    engine.write([Change(Family.HINTS, key, bytes(8) + b"damaged")])
    asked(hint)
    ((_, value),) = list(engine.scan(Family.HINTS, b"", None))
    assert value[8:] == _record(b"v")
    assert writer.hints == {"s2": 1}


def test_the_base_of_a_write_is_joined_first(asked: Asked) -> None:
    at_peer = _record(b"seen elsewhere")
    (took,) = asked(Take(AT, Intent(fresh_op(b"w" * 16), b"w", NOW), at_peer))
    assert isinstance(took, Took)
    assert took.clock.keys() == {"lww", "s1#00000000"}


def test_a_duplicate_that_only_its_base_knows_is_kept(engine: Failing, asked: Asked) -> None:
    intent = Intent(fresh_op(b"w" * 16), b"w", NOW)
    at_peer = take(ABSENT, intent, "s2#00000000").record
    asked(Merge(AT, _record(b"here")))
    (took,) = asked(Take(AT, intent, encode(at_peer, AT)))
    assert isinstance(took, Took)
    assert took.outcome is Outcome.DUPLICATE
    assert knows(decode(took.record, AT), intent) is Outcome.DUPLICATE
    assert {version.value for version in decode(took.record, AT).versions} == {b"here", b"w"}
    assert engine.get(Family.DATA, AT) == took.record


def test_a_new_folder_is_a_new_actor() -> None:
    actors = {new_identity("s1", "muster").actor for _ in range(20)}
    assert len(actors) == 20
    assert all(actor.startswith("s1#") for actor in actors)


def _held(engine: Engine) -> list[tuple[bytes, bytes]]:
    return list(engine.scan(Family.DATA, b"", None))
