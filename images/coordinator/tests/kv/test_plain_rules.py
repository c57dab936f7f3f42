"""Writes with rules of their own, which the front answers by itself too; nodes are in memory."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from muster_kv.errors import FailureCode
from muster_kv.merging import Intent
from muster_kv.ops import op_of
from muster_kv.record import value_digest
from muster_kv.slots import slot
from muster_kv.tenants import Idempotency
from muster_kv.wire.messages import Lookup, Merge, Take
from muster_kv_coordinator.core.model import Tenant
from muster_kv_coordinator.nodes.plain import PlainCalls
from muster_protos import kv_pb2 as pb
from muster_testing.waiting import eventually

from .handed_over import served
from .nodes import MemoryNode

pytestmark = pytest.mark.integration

NOTHING = pb.VectorClock()


def _takes(nodes: Sequence[MemoryNode], key: str) -> list[Intent]:
    where = slot("t", key)
    return [take.intent for node in nodes for take in node.takes if take.slot == where]


def _clock(message: pb.VectorClock) -> dict[str, int]:
    return {entry.coordinator_node_id: entry.logical_timestamp for entry in message.entries}


def _asked(nodes: Sequence[MemoryNode], kind: type) -> int:
    return sum(node.seen.count(kind) for node in nodes)


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


async def test_a_write_with_an_idempotency_key_is_plain(
    dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with served(dsn, tmp_path, monkeypatch) as (kv, nodes, seen):
        first = await kv.grpc.write("a", b"1", idempotency_key="k", consistency="all")
        assert (first.success, first.idempotency_key, first.is_duplicate) == (True, "k", False)
        deleted = await kv.grpc.delete("a", idempotency_key="l", consistency="all")
        assert (deleted.success, deleted.idempotency_key) == (True, "l")
        sibling = await kv.grpc.write("a", b"2", idempotency_key="m", context=NOTHING)
        assert (sibling.success, sibling.sibling_count) == (True, 2)
        assert not seen
        created, gone, beside = _takes(nodes, "a")
        assert created.op == op_of("t", "a", "k")
        assert (created.digest, gone.digest) == (value_digest(b"1"), value_digest(None))
        assert created.remember_until_us == created.timestamp_us + 24 * 3600 * 1_000_000
        # It says what it replaces, as it must not be done after another one.
        told = _clock(first.vector_clock)
        assert (created.context, gone.context, beside.context) == ({}, told, {})
        assert _asked(nodes, Lookup) == 3 * 2


async def test_a_repeat_is_recognised_by_what_the_front_was_told(
    dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with served(dsn, tmp_path, monkeypatch) as (kv, nodes, seen):
        first = await kv.grpc.write("a", b"1", idempotency_key="k", consistency="all")
        again = await kv.grpc.write("a", b"1", idempotency_key="k")
        assert (again.success, again.is_duplicate) == (True, True)
        assert again.vector_clock == first.vector_clock
        other = await kv.grpc.write("a", b"2", idempotency_key="k")
        assert other.error_code == pb.IDEMPOTENCY_KEY_CONFLICT
        assert "may have happened" not in other.error_message
        assert seen == ["write again"] * 2
        # Nobody was asked twice.
        assert _asked(nodes, Lookup) == 3 * 2
        assert len(_takes(nodes, "a")) == 1
        assert await kv.metric("coordinator_duplicate_writes_total") == 1


async def test_of_many_repeats_at_once_one_happens(
    dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with served(dsn, tmp_path, monkeypatch) as (kv, nodes, _):
        answers = await asyncio.gather(
            *(kv.grpc.write("a", b"1", idempotency_key="k") for _ in range(20))
        )
        assert all(answer.success for answer in answers)
        assert [answer.is_duplicate for answer in answers].count(False) == 1
        read = await kv.grpc.read("a", consistency="all")
        assert (read.value, len(read.siblings)) == (b"1", 0)
        records, where = [node.records for node in nodes], slot("t", "a")
        await eventually(lambda: [len(held[where].applied) for held in records] == [1, 1, 1])


async def test_a_write_with_a_key_whose_taker_says_nothing_happens_once(
    dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with served(dsn, tmp_path, monkeypatch) as (kv, nodes, seen):
        for node in nodes:
            node.loses = {Take}
        written = await kv.grpc.write("a", b"1", idempotency_key="k")
        assert (written.success, written.is_duplicate) == (True, False)
        assert seen == ["write again"]
        for node in nodes:
            node.loses = set()
            node.refuses = {Merge: FailureCode.DISK_FULL}
        failed = await kv.grpc.write("a", b"2", idempotency_key="l")
        assert failed.error_code == pb.QUORUM_NOT_REACHED
        assert "may have happened" in failed.error_message
        for node in nodes:
            node.refuses = {}
        again = await kv.grpc.write("a", b"2", idempotency_key="l", consistency="all")
        assert (again.success, again.is_duplicate) == (True, True)
        read = await kv.grpc.read("a", consistency="all")
        assert (read.value, len(read.siblings)) == (b"2", 0)
        assert len(_takes(nodes, "a")) == 2


async def test_where_redis_remembers_too_no_write_with_a_key_is_plain(
    dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = PlainCalls.keep

    def keep(self: PlainCalls, tenant: Tenant, seconds: float) -> None:
        policy = replace(tenant.policy, idempotency=Idempotency.REDIS)
        known(self, replace(tenant, policy=policy), seconds)

    monkeypatch.setattr(PlainCalls, "keep", keep)
    async with served(dsn, tmp_path, monkeypatch) as (kv, _, seen):
        assert (await kv.grpc.write("a", b"1")).success
        assert not seen
        assert (await kv.grpc.write("a", b"1", idempotency_key="k")).success
        assert seen == ["write anew"]
