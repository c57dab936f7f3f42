"""What was written last need not be read, and is what RocksDB holds."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from muster_kv.merging import take
from muster_kv.record import decode, encode
from muster_kv.slots import slot
from muster_kv.wire.messages import Merge, Took
from muster_records import Recent
from muster_storage.engine import EngineError, EngineFullError
from muster_storage.metrics import Metrics
from muster_storage.unsynced import Unsynced
from muster_storage.writer import DiskFullError, Job, Writer

from .writing import AT, IDENTITY, NOW, Asked, Failing, held, taking

pytestmark = pytest.mark.integration


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Failing]:
    opened = Failing(tmp_path / "db")
    yield opened
    opened.close()


@pytest.fixture
def writer(engine: Failing, tmp_path: Path) -> Writer:
    writer = Writer(engine, IDENTITY, Metrics([], []), lambda: NOW, Unsynced(tmp_path))
    writer.recent = Recent(4000)
    return writer


@pytest.fixture
def asked(writer: Writer) -> Asked:
    return Asked(writer, Metrics([], []))


def test_what_was_written_is_not_read_again(engine: Failing, asked: Asked) -> None:
    [first] = asked(taking(b"1"))
    assert isinstance(first, Took)
    later = take(decode(first.record, AT), taking(b"2").intent, "s2#1").record
    asked(Merge(AT, encode(later, AT)))
    [last] = asked(taking(b"3"))
    assert engine.read == [AT]
    assert isinstance(last, Took)
    assert held(engine) == [(AT, last.record)]
    record = decode(last.record, AT)
    assert [version.value for version in record.versions] == [b"3"]
    assert dict(record.context) == {"s1#00000000": 2, "s2#1": 1}


def test_a_record_that_came_is_kept_as_it_came(engine: Failing, asked: Asked) -> None:
    [first] = asked(taking(b"1"))
    assert isinstance(first, Took)
    later = encode(take(decode(first.record, AT), taking(b"2").intent, "s2#1").record, AT)
    asked(Merge(AT, later))
    assert held(engine) == [(AT, later)]


def test_what_is_removed_is_not_remembered(writer: Writer, asked: Asked) -> None:
    asked(taking(b"1"))
    [failed] = writer([Job([AT], lambda transaction: transaction.forget(AT))])
    assert failed is None
    [answer] = asked(taking(b"2"))
    assert isinstance(answer, Took)
    assert list(decode(answer.record, AT).context.values()) == [2]


def test_of_more_than_there_is_room_for_the_oldest_go(engine: Failing, asked: Asked) -> None:
    keys = [f"k{number}" for number in range(20)]
    for key in keys:
        asked(taking(b"1", key))
    engine.read.clear()
    for key in reversed(keys):
        asked(taking(b"2", key))
    again = [slot("acme", key) for key in reversed(keys)]
    assert engine.read == [at for at in again if at in engine.read]
    assert again[0] not in engine.read
    assert again[-1] in engine.read


def test_nothing_is_remembered_where_nobody_knows_what_was_written(
    engine: Failing, asked: Asked
) -> None:
    asked(taking(b"1"))
    engine.errors.append(EngineError("lost"))
    with pytest.raises(EngineError):
        asked(taking(b"2"))
    engine.read.clear()
    [answer] = asked(taking(b"3"))
    assert engine.read == [AT]
    assert isinstance(answer, Took)
    assert held(engine) == [(AT, answer.record)]


def test_nothing_is_remembered_of_what_was_before_it_was_opened_anew(
    engine: Failing, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("muster_storage.refusing.PATIENCE", 0)
    asked(taking(b"1"))
    engine.errors.append(EngineFullError("No space left"))
    with pytest.raises(DiskFullError):
        asked(taking(b"2", "l"))
    engine.read.clear()
    asked(taking(b"3"))
    assert (engine.opened, engine.read) == (2, [AT])
