"""What the sweeper takes from a record, and when."""

from muster_kv.clock import Dot
from muster_kv.record import Applied, Record, Version
from muster_storage.retention import SKEW_US, sweep

GRACE = 10_000_000
NOW = 100 * SKEW_US
OP = bytes(16)


def _version(counter: int, value: bytes | None, at: int = NOW, ends: int = 0) -> Version:
    return Version(Dot("a#1", counter), value, at, bytes([counter]) * 16, ends)


def _record(*versions: Version, applied: tuple[Applied, ...] = ()) -> Record:
    return Record(versions, {"a#1": 9}, applied)


def test_a_value_stays() -> None:
    record = _record(_version(1, b"v", at=1))
    swept = sweep(record, NOW, NOW - GRACE, None)
    assert (swept.record, swept.changed) == (record, False)


def test_a_tombstone_stays_for_the_grace() -> None:
    young = _record(_version(1, None, at=NOW - GRACE))
    assert sweep(young, NOW, NOW - GRACE, None).record == young


def test_a_record_of_old_tombstones_goes_whole() -> None:
    swept = sweep(_record(_version(1, None, at=NOW - GRACE - 1)), NOW, NOW - GRACE, None)
    assert swept.record is None
    assert (swept.changed, swept.purged) == (True, 1)


def test_an_old_tombstone_beside_a_value_goes_and_the_context_stays() -> None:
    value = _version(2, b"v", at=1)
    swept = sweep(_record(_version(1, None, at=1), value), NOW, NOW - GRACE, None)
    assert swept.record == Record((value,), {"a#1": 9})
    assert swept.purged == 1


def test_a_value_whose_time_is_over_is_emptied_and_kept_for_the_grace() -> None:
    over = _version(1, b"secret", at=1, ends=NOW - SKEW_US)
    swept = sweep(_record(over), NOW, NOW - 2 * SKEW_US, None)
    assert swept.record is not None
    assert swept.record.versions[0].value == b""
    assert (swept.changed, swept.expired) == (True, 1)
    assert not swept.record.versions[0].shown(NOW)
    again = sweep(swept.record, NOW, NOW - 2 * SKEW_US, None)
    assert (again.changed, again.expired) == (False, 0)
    assert sweep(swept.record, NOW + 2 * SKEW_US, NOW, None).record is None


def test_a_value_that_has_just_ended_keeps_its_bytes_as_clocks_differ() -> None:
    over = _record(_version(1, b"v", at=1, ends=NOW - 1))
    assert sweep(over, NOW, NOW - GRACE, None).record == over


def test_operations_are_remembered_past_their_end_for_the_grace() -> None:
    entry = Applied(OP, b"", Dot("a#1", 1), {}, NOW - GRACE)
    record = _record(_version(1, b"v"), applied=(entry,))
    assert sweep(record, NOW, NOW - GRACE, None).record == record
    swept = sweep(record, NOW + 1, NOW + 1 - GRACE, None)
    assert swept.record is not None
    assert swept.record.applied == ()
    assert swept.forgotten == 1


def test_actors_of_nodes_that_left_are_pruned_only_from_long_contexts() -> None:
    gone = {f"gone#{number}": 1 for number in range(40)}
    record = Record((_version(1, b"v"),), {"a#1": 9, **gone})
    swept = sweep(record, NOW, NOW - GRACE, {"a#1"})
    assert swept.record is not None
    assert swept.record.context == {"a#1": 9}
    assert swept.changed
    assert sweep(record, NOW, NOW - GRACE, None).record == record
