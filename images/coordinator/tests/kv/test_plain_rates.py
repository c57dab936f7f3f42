"""Calls of tenants with rates are counted once, whoever answers them; nodes are in memory."""

from pathlib import Path
from typing import Any

import pytest

from muster_kv.wire.messages import Take
from muster_protos import kv_pb2 as pb

from .handed_over import served
from .harness import Coordinator

pytestmark = pytest.mark.integration

# A second one comes a minute later at the earliest.
ONE = pb.TenantPolicy(writes_per_minute=1, reads_per_minute=1)


async def _batched(kv: Coordinator, **operation: Any) -> Any:
    """The answer to an operation that comes in a batch, which is the core's from the beginning."""
    batch = await kv.grpc.call("Batch", operations=[pb.Operation(**operation)])
    if batch.error_code:
        return batch
    (outcome,) = batch.outcomes
    return getattr(outcome, outcome.WhichOneof("outcome"))


async def test_what_the_front_answers_is_counted(
    dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with served(dsn, tmp_path, monkeypatch, ONE) as (kv, nodes, seen):
        assert (await kv.grpc.write("a", b"1", consistency="all")).success
        assert (await kv.grpc.read("a")).value == b"1"
        assert not seen
        # One too many is told by who has a sentence for it.
        for refused in (await kv.grpc.write("a", b"2"), await kv.grpc.delete("a")):
            assert refused.error_code == pb.RATE_LIMIT_EXCEEDED
            assert "more than 1 writes a minute" in refused.error_message
            assert "may have happened" not in refused.error_message
        assert (await kv.grpc.read("a")).error_code == pb.RATE_LIMIT_EXCEEDED
        assert seen == ["write anew", "delete anew", "read anew"]
        write = pb.WriteKeyValueRequest(tenant_id="t", key="a", value=b"3")
        assert (await _batched(kv, write=write)).error_code == pb.RATE_LIMIT_EXCEEDED
        assert sum(len(node.takes) for node in nodes) == 1


async def test_what_the_core_answers_is_counted(
    dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with served(dsn, tmp_path, monkeypatch, ONE) as (kv, _, seen):
        write = pb.WriteKeyValueRequest(tenant_id="t", key="a", value=b"1", consistency="all")
        assert (await _batched(kv, write=write)).success
        read = pb.ReadKeyValueRequest(tenant_id="t", key="a")
        assert (await _batched(kv, read=read)).value == b"1"
        assert not seen
        assert (await kv.grpc.write("a", b"2")).error_code == pb.RATE_LIMIT_EXCEEDED
        assert (await kv.grpc.read("a")).error_code == pb.RATE_LIMIT_EXCEEDED
        assert seen == ["write anew", "read anew"]


async def test_what_is_handed_over_is_counted_once(
    dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with served(dsn, tmp_path, monkeypatch, ONE) as (kv, nodes, seen):
        for node in nodes:
            node.loses = {Take}
        written = await kv.grpc.write("a", b"1")
        assert written.success, written.error_message
        assert (await kv.grpc.read("none")).error_code == pb.KEY_NOT_FOUND
        assert seen == ["write again", "read again"]
        assert (await kv.grpc.write("a", b"2")).error_code == pb.RATE_LIMIT_EXCEEDED
        assert (await kv.grpc.read("a")).error_code == pb.RATE_LIMIT_EXCEEDED
        assert seen[2:] == ["write anew", "read anew"]
