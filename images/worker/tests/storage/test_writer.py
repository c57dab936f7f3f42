"""A batch is written whole, or nobody is told that it was."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from muster_kv.errors import FailureCode
from muster_kv.merging import Intent, Outcome, knows, take
from muster_kv.ops import fresh_op
from muster_kv.record import ABSENT, decode, encode
from muster_kv.wire.messages import Failure, Merge, Merged, StoreHint, Take, Took
from muster_records import Recent
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
from muster_storage.identity import new_identity, read_identity
from muster_storage.metrics import Metrics
from muster_storage.unsynced import Unsynced
from muster_storage.writer import DiskFullError, OverloadedError, Writer

from .writing import AT, IDENTITY, NOW, Asked, Failing, held, lww, taking

pytestmark = pytest.mark.integration


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


@pytest.fixture
def asked(writer: Writer, metrics: Metrics) -> Asked:
    return Asked(writer, metrics)


def test_all_jobs_of_a_batch_see_what_those_before_did(
    engine: Failing, writer: Writer, asked: Asked, unsynced: Unsynced
) -> None:
    answers = asked(taking(b"1"), taking(b"2"), Merge(AT, lww(b"other")), taking(b"3", "l"))
    assert [type(answer) for answer in answers] == [Took, Took, Merged, Took]
    assert (writer.keys, writer.size) == (2, sum(len(data) for _, data in held(engine)))
    again = Writer(engine, IDENTITY, Metrics([], []), lambda: NOW, unsynced)
    assert (again.keys, again.size) == (writer.keys, writer.size)


def test_when_the_disk_is_full_nothing_is_answered_as_done(
    engine: Failing, writer: Writer, asked: Asked
) -> None:
    engine.errors.append(EngineFullError("No space left on device"))
    with pytest.raises(DiskFullError):
        asked(taking(b"1"), taking(b"2", "l"))
    assert (held(engine), writer.keys, writer.marks.now) == ([], 0, 1)
    asked(taking(b"1"))
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
    asked(*(taking(b"v", f"k{number}") for number in range(50)))
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
        hasty(taking(b"1"))
        late.append(1.9)
        hasty(taking(b"2"))
        assert (watched.called, unsynced.age) == (["write", "write"], 1.9)
        late.append(2.0)
        hasty(taking(b"3"))
        assert (watched.called[2:], unsynced.age) == (["write", "flush_wal"], 0)

    def test_one_that_may_not_be_lost_takes_them_along(
        self, engine: Failing, hasty: Asked, asked: Asked, unsynced: Unsynced
    ) -> None:
        hasty(taking(b"1"))
        assert unsynced.some
        asked(taking(b"2", "l"))
        assert not unsynced.some
        # What is answered without a change may rest on one that is not on disk.
        same = Merge(AT, engine.get(Family.DATA, AT) or b"")
        hasty(taking(b"3", "m"))
        watched = _watched(engine)
        asked(same)
        assert (watched.called, unsynced.some) == (["write", "flush_wal"], False)

    def test_nothing_is_written_before_the_folder_says_so(
        self, engine: Failing, hasty: Asked, unsynced: Unsynced, tmp_path: Path
    ) -> None:
        assert not (tmp_path / "unsynced").exists()
        (tmp_path / "unsynced").symlink_to("/proc/none/there")
        with pytest.raises(DiskFullError, match="takes no file"):
            hasty(taking(b"1"))
        assert held(engine) == []
        (tmp_path / "unsynced").unlink()
        hasty(taking(b"1"))
        assert Unsynced(tmp_path).left

    def test_an_orderly_end_leaves_none(
        self, engine: Failing, writer: Writer, hasty: Asked, tmp_path: Path
    ) -> None:
        hasty(taking(b"1"))
        watched = _watched(engine)
        writer.finish()
        assert watched.called[-1] == "flush_wal"
        assert not Unsynced(tmp_path).left

    def test_an_end_whose_fsync_fails_leaves_the_folder_marked(
        self, engine: Failing, writer: Writer, hasty: Asked, tmp_path: Path
    ) -> None:
        hasty(taking(b"1"))
        engine.errors.append(EngineUnsyncedError("Input/output error"))
        with pytest.raises(EngineUnsyncedError):
            writer.finish()
        assert Unsynced(tmp_path).left


def test_a_stall_of_rocksdb_is_waited_for_a_while(
    engine: Failing, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.errors += [EngineBusyError("Write stall")] * 3
    asked(taking(b"1"))
    assert len(held(engine)) == 1
    monkeypatch.setattr("muster_storage.writer._STALL_SECONDS", 0.02)
    engine.errors += [EngineBusyError("Write stall")] * 100
    with pytest.raises(OverloadedError):
        asked(taking(b"2"))


def test_after_a_failed_fsync_nothing_is_acknowledged_before_files_are_whole(
    engine: Failing, writer: Writer, asked: Asked
) -> None:
    engine.errors.append(EngineUnsyncedError("Input/output error"))
    with pytest.raises(EngineUnsyncedError):
        asked(taking(b"1"))
    # It may be there, so it counts and is marked; and it is made durable before the next one.
    assert (writer.keys, engine.healed) == (1, 0)
    assert writer.marks.now == 2
    asked(taking(b"2", "l"))
    asked(taking(b"3", "m"))
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
        asked(taking(b"1"))
        seen = writer.marks.now
        engine.errors.append(error)
        with pytest.raises((DiskFullError, OverloadedError, EngineError)):
            asked(taking(b"2", "l"))
        assert (engine.opened, writer.refusing.some) == (1, True)
        asked(taking(b"3", "m"))
        assert (engine.opened, writer.refusing.some, writer.keys) == (2, False, 2)
        assert writer.identity == IDENTITY
        assert writer.marks.changed_since(seen, 0, 2**64 - 1)
        assert metrics.registry.get_sample_value("storage_reopened_total") == 1
        asked(taking(b"4", "n"))
        assert engine.opened == 2

    def test_where_there_is_need_it_is_left_alone(
        self, engine: Failing, metrics: Metrics, unsynced: Unsynced
    ) -> None:
        writer = Writer(engine, IDENTITY, metrics, lambda: NOW, unsynced, has_room=lambda: False)
        asked = Asked(writer, metrics)
        engine.errors += [EngineFullError("No space left")] * 3
        for _ in range(3):
            with pytest.raises(DiskFullError):
                asked(taking(b"1"))
        asked(taking(b"1"))
        assert engine.opened == 1

    def test_while_it_flushes_or_compacts_it_is_left_alone(
        self, engine: Failing, asked: Asked
    ) -> None:
        engine.busy = True
        engine.errors += [EngineBusyError("Write stall")] * 3
        for _ in range(3):
            with pytest.raises(OverloadedError):
                asked(taking(b"1"))
        asked(taking(b"1"))
        assert engine.opened == 1

    def test_what_may_not_be_on_disk_makes_another_actor(
        self, engine: Failing, writer: Writer, metrics: Metrics, unsynced: Unsynced
    ) -> None:
        Asked(writer, metrics, sync=False)(taking(b"1"))
        asked = Asked(writer, metrics)
        # Nothing is taken until that is written down.
        engine.errors += [EngineFullError("No space left")] * 3
        for _ in range(3):
            with pytest.raises(DiskFullError):
                asked(taking(b"2", "l"))
        assert (engine.opened, writer.identity) == (3, IDENTITY)
        asked(taking(b"2", "l"))
        assert (engine.opened, writer.keys) == (4, 2)
        assert writer.identity.actor != IDENTITY.actor
        assert read_identity(engine) == writer.identity

    def test_who_reads_meanwhile_waits_or_is_waited_for(
        self, engine: Failing, writer: Writer, asked: Asked, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("muster_storage.engine._ALONE_SECONDS", 0.01)
        asked(taking(b"1"))
        reading = engine.scan(Family.DATA, b"", None)
        next(reading)
        engine.errors.append(EngineFullError("No space left"))
        with pytest.raises(DiskFullError):
            asked(taking(b"2", "l"))
        with pytest.raises(OverloadedError, match="in use"):
            asked(taking(b"2", "l"))
        reading.close()
        asked(taking(b"2", "l"))
        assert (engine.opened, len(held(engine))) == (2, 2)

    def test_what_can_not_be_opened_again_stays_closed(
        self, engine: Failing, asked: Asked, tmp_path: Path
    ) -> None:
        asked(taking(b"1"))
        engine.errors.append(EngineFullError("No space left"))
        with pytest.raises(DiskFullError):
            asked(taking(b"2"))
        (tmp_path / "db" / "CURRENT").write_text("nonsense")
        with pytest.raises(EngineClosedError, match="can't be opened again"):
            asked(taking(b"2"))
        assert not engine.is_open
        with pytest.raises(EngineClosedError, match="is closed"):
            engine.get(Family.DATA, AT)


def test_a_damaged_record_gives_way_to_a_peers_and_makes_another_actor(
    engine: Failing, writer: Writer, asked: Asked
) -> None:
    engine.write([Change(Family.DATA, AT, b"damaged")])
    (refused,) = asked(taking(b"1"))
    assert isinstance(refused, Failure)
    assert refused.code is FailureCode.CORRUPT
    assert writer.identity == IDENTITY
    taken, before = asked(Merge(AT, lww(b"v")), taking(b"other", "l"))
    assert taken == Merged(1)
    assert isinstance(before, Took)
    assert writer.identity.actor != IDENTITY.actor
    assert engine.get(Family.DATA, AT) == lww(b"v")


def test_a_damaged_hint_gives_way_to_the_next(
    engine: Failing, writer: Writer, asked: Asked
) -> None:
    hint = StoreHint("s2", ((AT, lww(b"v")),))
    asked(hint)
    ((key, _),) = list(engine.scan(Family.HINTS, b"", None))
    engine.write([Change(Family.HINTS, key, bytes(8) + b"damaged")])
    asked(hint)
    ((_, value),) = list(engine.scan(Family.HINTS, b"", None))
    assert value[8:] == lww(b"v")
    assert writer.hints == {"s2": 1}


def test_the_base_of_a_write_is_joined_first(asked: Asked) -> None:
    at_peer = lww(b"seen elsewhere")
    (took,) = asked(Take(AT, Intent(fresh_op(b"w" * 16), b"w", NOW), at_peer))
    assert isinstance(took, Took)
    assert took.clock.keys() == {"lww", "s1#00000000"}


def test_a_duplicate_that_only_its_base_knows_is_kept(engine: Failing, asked: Asked) -> None:
    intent = Intent(fresh_op(b"w" * 16), b"w", NOW)
    at_peer = take(ABSENT, intent, "s2#00000000").record
    asked(Merge(AT, lww(b"here")))
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
