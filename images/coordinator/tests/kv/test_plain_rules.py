"""Writes with rules of their own, which the front answers by itself too; nodes are in memory."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from muster_kv.errors import FailureCode
from muster_kv.merging import Intent
from muster_kv.slots import slot
from muster_kv.wire.messages import Merge, Take
from muster_protos import kv_pb2 as pb

from .handed_over import served
from .nodes import MemoryNode

pytestmark = pytest.mark.integration

NOTHING = pb.VectorClock()


def _takes(nodes: Sequence[MemoryNode], key: str) -> list[Intent]:
    where = slot("t", key)
    return [take.intent for node in nodes for take in node.takes if take.slot == where]


def _clock(message: pb.VectorClock) -> dict[str, int]:
    return {entry.coordinator_node_id: entry.logical_timestamp for entry in message.entries}


async def test_a_write_that_says_what_it_replaces_is_plain(
    dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with served(dsn, tmp_path, monkeypatch) as (kv, nodes, seen):
        first = await kv.grpc.write("a", b"1", context=NOTHING)
        assert (first.success, first.sibling_count) == (True, 1)
        second = await kv.grpc.write("a", b"2", context=NOTHING, consistency="all")
        assert (second.success, second.replica_count, second.sibling_count) == (True, 3, 2)
        assert not seen
        read = await kv.grpc.read("a")
        assert {sibling.value for sibling in read.siblings} == {b"1", b"2"}
        # Siblings are for the core.
        assert seen == ["read again"]
        joined = await kv.grpc.write("a", b"12", context=read.vector_clock, consistency="all")
        assert (joined.success, joined.sibling_count) == (True, 1)
        deleted = await kv.grpc.delete("a", context=joined.vector_clock)
        assert (deleted.success, deleted.sibling_count) == (True, 1)
        assert seen == ["read again"]
        contexts = [intent.context for intent in _takes(nodes, "a")]
        told = [_clock(answer.vector_clock) for answer in (read, joined)]
        assert contexts == [{}, {}, *told]


async def test_a_context_of_what_never_was_is_told_by_the_core(
    dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with served(dsn, tmp_path, monkeypatch) as (kv, _, seen):
        claimed = (await kv.grpc.write("a", b"1")).vector_clock
        claimed.entries[0].logical_timestamp += 1
        refused = await kv.grpc.write("a", b"2", context=claimed)
        assert refused.error_code == pb.INVALID_REQUEST
        assert "allowed: at most 1, the last one made" in refused.error_message
        assert seen == ["write again"]
        assert (await kv.grpc.read("a")).value == b"1"


async def test_a_value_with_an_end_is_plain(
    dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with served(dsn, tmp_path, monkeypatch) as (kv, nodes, seen):
        assert (await kv.grpc.write("a", b"1", ttl_seconds=100)).success
        read = await kv.grpc.read("a")
        assert not seen
        (intent,) = _takes(nodes, "a")
        assert read.expires_at_us == intent.expires_at_us == intent.timestamp_us + 100_000_000
        assert (await kv.grpc.write("a", b"2", ttl_seconds=0)).success
        assert (await kv.grpc.read("a")).expires_at_us == 0
        assert not seen


async def test_whoever_goes_on_with_a_write_asks_for_the_same(
    dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with served(dsn, tmp_path, monkeypatch) as (kv, nodes, seen):
        base = await kv.grpc.write("a", b"1", consistency="all")
        (taker,) = [node for node in nodes if node.takes]
        # Nobody knows whether it has taken the write; it has not.
        taker.refuses = {Take: FailureCode.INTERNAL}
        fields = {"context": base.vector_clock, "ttl_seconds": 100}
        written = await kv.grpc.write("a", b"2", **fields)
        assert written.success, written.error_message
        assert seen == ["write again"]
        (again,) = [intent for intent in _takes(nodes, "a") if intent.value == b"2"]
        assert again.context == _clock(base.vector_clock)
        # As the front has it; the core would have looked at the clock twice.
        assert again.expires_at_us == again.timestamp_us + 100_000_000
        taker.refuses = {}
        for node in nodes:
            node.loses = {Take}
        written = await kv.grpc.write("a", b"3", context=written.vector_clock)
        assert written.success, written.error_message
        read = await kv.grpc.read("a", consistency="all")
        assert (read.value, len(read.siblings)) == (b"3", 0)


async def test_a_write_with_a_context_that_fails_may_have_happened(
    dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with served(dsn, tmp_path, monkeypatch) as (kv, nodes, seen):
        for node in nodes:
            node.refuses = {Merge: FailureCode.DISK_FULL}
        written = await kv.grpc.write("a", b"1", context=NOTHING)
        assert written.error_code == pb.QUORUM_NOT_REACHED
        assert "may have happened" in written.error_message
        deleted = await kv.grpc.delete("a", context=NOTHING)
        assert "may have happened" in deleted.error_message
        assert seen == ["write again", "delete again"]
