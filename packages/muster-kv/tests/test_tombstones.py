"""What is forgotten, and what never is."""

from muster_kv.clock import Dot
from muster_kv.merging import LWW, Intent, merge, take
from muster_kv.ops import fresh_op
from muster_kv.record import Applied, Record, Version
from muster_kv.tombstones import CLOCK_LIMIT, is_dead, purge


def version(actor: str, value: bytes | None, at: int, end: int = 0) -> Version:
    return Version(Dot(actor, 1), value, at, fresh_op(bytes(15) + bytes([at])), end)


def test_values_stay_and_tombstones_go_when_they_are_old() -> None:
    value, old, young = version("a", b"1", 1), version("b", None, 5), version("c", None, 20)
    record = Record((value, old, young), {"a": 1, "b": 1, "c": 1})
    kept = purge(record, 10, ())
    assert kept is not None
    assert kept.versions == (value, young)
    assert kept.context == record.context
    assert merge(kept, record).versions == (value, young)


def test_a_record_of_old_tombstones_goes_whole() -> None:
    record = Record((version("a", None, 5),), {"a": 1})
    assert is_dead(record, 10)
    assert purge(record, 10, ()) is None
    assert purge(record, 5, ()) == record


def test_an_expired_value_dies_when_it_expires() -> None:
    value = version("a", b"1", 1, end=50)
    assert value.shown(49)
    assert not value.shown(50)
    record = Record((value,), {"a": 1})
    assert purge(record, 50, ()) == record
    assert purge(record, 51, ()) is None


def test_what_must_be_remembered_keeps_the_record() -> None:
    entry = Applied(bytes([0x80]) + bytes(15), b"", Dot("a", 1), {"a": 1}, 100, superseded_us=6)
    record = Record((version("a", None, 5),), {"a": 1}, (entry,))
    kept = purge(record, 10, ())
    assert kept == Record((), {"a": 1}, (entry,))
    assert purge(record, 101, ()) is None


def test_replaced_operations_are_forgotten_with_age() -> None:
    record = take(Record(), Intent(fresh_op(bytes(15) + b"\1"), b"1", 5), "a").record
    record = take(record, Intent(fresh_op(bytes(15) + b"\2"), b"2", 20), "a").record
    assert len(record.dead) == 24
    kept = purge(record, 21, ())
    assert kept is not None
    assert kept.dead == b""
    assert purge(record, 20, ()) == record


def test_a_long_clock_loses_actors_that_are_gone() -> None:
    clock = {f"gone{number}": 1 for number in range(CLOCK_LIMIT)}
    clock |= {"member": 3, LWW: 9, "author": 1}
    record = Record((version("author", b"1", 1),), clock)
    kept = purge(record, 10, ["member"])
    assert kept is not None
    assert kept.context == {"member": 3, LWW: 9, "author": 1}


def test_a_short_clock_is_left_alone() -> None:
    record = Record((version("a", b"1", 1),), {"a": 1, "gone": 4})
    assert purge(record, 10, ["a"]) == record
