"""A record's bytes: whole, or an error that names the key's hash."""

import hashlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import muster_records
from muster_kv.clock import Dot
from muster_kv.record import (
    ABSENT,
    Applied,
    CorruptRecordError,
    Record,
    Version,
    check,
    decode,
    encode,
    fingerprint,
    pack,
    value_digest,
)

SLOT = b"12345678tenant\0key"
dots = st.builds(Dot, st.sampled_from(["a#1", "b#1"]), st.integers(1, 2**53))
versions = st.builds(
    Version,
    dots,
    st.none() | st.binary(max_size=50),
    st.integers(0, 2**53),
    st.binary(min_size=16, max_size=16),
    st.integers(0, 2**53),
)
clocks = st.dictionaries(st.text(max_size=5), st.integers(1, 2**53), max_size=4)
entries = st.builds(
    Applied,
    st.binary(min_size=16, max_size=16),
    st.binary(max_size=16),
    dots,
    clocks,
    st.integers(0, 2**53),
    st.integers(0, 2**53),
)
records = st.builds(
    Record,
    st.lists(versions, max_size=3).map(tuple),
    clocks,
    st.lists(entries, max_size=2).map(tuple),
    st.binary(max_size=48),
)


@given(records)
def test_bytes_bring_the_record_back(record: Record) -> None:
    assert decode(encode(record, SLOT), SLOT) == record


@given(records, st.lists(st.binary(min_size=24, max_size=24), max_size=3))
def test_both_languages_write_the_same_bytes(record: Record, dead: list[bytes]) -> None:
    whole = msgspec.structs.replace(record, dead=b"".join(dead))
    left = muster_records.purge(pack(whole), 0, list(whole.context))
    if whole.versions or whole.applied or whole.dead:
        assert left == pack(whole)
    else:
        assert left is None


@given(records, st.data())
def test_damage_is_an_error_and_never_another_record(record: Record, data: st.DataObject) -> None:
    whole = encode(record, SLOT)
    at = data.draw(st.integers(0, len(whole) - 1))
    bit = 1 << data.draw(st.integers(0, 7))
    damaged = whole[:at] + bytes([whole[at] ^ bit]) + whole[at + 1 :]
    for bad in (damaged, whole[:at] or b"\0", whole + b"\0"):
        with pytest.raises(CorruptRecordError) as caught:
            decode(bad, SLOT)
        assert hashlib.sha256(SLOT).hexdigest()[:16] in str(caught.value)


@given(st.binary(min_size=1, max_size=60))
def test_foreign_bytes_are_an_error(data: bytes) -> None:
    with pytest.raises(CorruptRecordError):
        decode(data, SLOT)


def test_a_record_of_another_key_is_an_error() -> None:
    whole = encode(Record(context={"a": 1}), SLOT)
    check(whole, SLOT)
    with pytest.raises(CorruptRecordError, match="checksum"):
        check(whole, SLOT + b"2")


def test_no_bytes_are_an_absent_key() -> None:
    assert decode(b"", SLOT) == ABSENT
    assert fingerprint(ABSENT) == b""


def test_fingerprints_tell_versions_and_contexts_apart_but_no_memories() -> None:
    version = Version(Dot("a", 1), b"1", 1, bytes(16))
    record = Record((version,), {"a": 1, "b": 2})
    assert fingerprint(record) == fingerprint(Record((version,), {"b": 2, "a": 1}, dead=bytes(24)))
    assert fingerprint(record) != fingerprint(Record((version,), {"a": 1}))
    assert fingerprint(record) != fingerprint(Record((), {"a": 1, "b": 2}))


def test_digests_tell_a_tombstone_from_an_empty_value() -> None:
    assert value_digest(None) != value_digest(b"")
