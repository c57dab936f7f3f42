"""Which calls the front answers by itself, and that nobody can tell; nodes are in memory."""

from pathlib import Path
from typing import Any

import pytest

from muster_kv.errors import FailureCode
from muster_kv.merging import Intent, Outcome
from muster_kv.slots import slot
from muster_kv.wire.messages import Get, Merge, Take
from muster_kv_coordinator.api.caller import Caller
from muster_kv_coordinator.api.keyvalues import _begun
from muster_kv_coordinator.core.errors import ErrorCode, KvError
from muster_kv_coordinator.core.spread import BegunWrite, Ending, Verdict
from muster_protos import kv_pb2 as pb
from muster_testing.waiting import eventually

from .handed_over import served
from .harness import serving, settings


def _clock(entries: dict[str, int]) -> pb.VectorClock:
    clock = pb.VectorClock()
    for actor, counter in entries.items():
        clock.entries.add(coordinator_node_id=actor, logical_timestamp=counter)
    return clock


@pytest.mark.integration
async def test_plain_calls_are_answered_by_the_front(
    dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with served(dsn, tmp_path, monkeypatch) as (kv, nodes, seen):
        for value in (b"1", b""):
            written = await kv.grpc.write("a", value, consistency="all")
            assert (written.success, written.key, written.replica_count) == (True, "a", 3)
            assert (written.consistency, written.sibling_count) == ("all", 1)
            read = await kv.grpc.read("a")
            assert (read.success, read.key, read.value) == (True, "a", value)
            assert read.vector_clock == written.vector_clock
        assert (await kv.grpc.write("a", b"2")).consistency == "quorum"
        deleted = await kv.grpc.delete("a", consistency="one")
        assert (deleted.success, deleted.consistency) == (True, "one")
        assert not seen
        records, where = [node.records for node in nodes], slot("t", "a")
        await eventually(lambda: all(held[where].versions[0].value is None for held in records))
        # What is not there is told by who has a sentence for it.
        assert (await kv.grpc.read("a")).error_code == pb.KEY_NOT_FOUND
        assert seen == ["read again"]
        writes = 'coordinator_requests_total{code="OK",method="WriteKeyValue"}'
        assert await kv.metric(writes) == 3
        count = 'coordinator_request_duration_seconds_count{method="WriteKeyValue"}'
        assert await kv.metric(count) == 3


@pytest.mark.integration
async def test_what_takes_a_rule_is_not_plain(
    dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with served(dsn, tmp_path, monkeypatch) as (kv, _, seen):
        for fields in (
            {"idempotency_key": "k" * 257},
            {"context": _clock({"": 1})},
            {"context": _clock({"n": 0})},
            {"context": _clock({"n": 2**53})},
            {"context": _clock({"n" * 301: 1})},
            {"context": _clock({f"n{n}": 1 for n in range(257)})},
            {"ttl_seconds": -1},
            {"ttl_seconds": 10 * 365 * 86400 + 1},
            {"consistency": "QUORUM"},
            {"consistency": "most"},
            {"key": ""},
            {"tenant": "nobody"},
        ):
            asked: dict[str, Any] = {"key": "b", "value": b"1"} | fields
            await kv.grpc.write(**asked)
            assert seen == ["write anew"], fields
            seen.clear()
        policy = pb.TenantPolicy(conflict_resolution="LastWriteWins")
        changed = await kv.grpc.call("UpdateTenantPolicy", tenant_id="t", policy=policy)
        assert changed.success, changed.error_message
        for _ in range(2):
            assert (await kv.grpc.write("b", b"2")).success
        assert seen == ["write anew"] * 2


@pytest.mark.integration
async def test_a_plain_call_that_goes_wrong_is_seen_to_its_end(
    dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with served(dsn, tmp_path, monkeypatch) as (kv, nodes, seen):
        for node in nodes:
            node.loses = {Take}
        written = await kv.grpc.write("a", b"1")
        assert written.success, written.error_message
        assert seen == ["write again"]
        # It was done once, though nobody told.
        assert sum(node.seen.count(Take) for node in nodes) == 1
        for node in nodes:
            node.loses = set()
            node.refuses = {Merge: FailureCode.DISK_FULL, Get: FailureCode.NOT_READY}
        written = await kv.grpc.write("a", b"2")
        assert written.error_code == pb.QUORUM_NOT_REACHED
        assert "may have happened" in written.error_message
        read = await kv.grpc.read("a")
        assert read.error_code == pb.QUORUM_NOT_REACHED
        assert seen[1:] == ["write again", "read again"]


@pytest.mark.integration
async def test_large_values_are_read_in_another_way(
    dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with served(dsn, tmp_path, monkeypatch) as (kv, _, seen):
        large = bytes(100_000)
        assert (await kv.grpc.write("a", large, consistency="all")).success
        for _ in range(2):
            assert (await kv.grpc.read("a")).value == large
        assert seen == ["write anew", "read again", "read anew"]


@pytest.mark.integration
async def test_where_tokens_are_asked_for_no_call_is_plain(
    dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s" * 32)
    auth = {"mode": "jwt", "secret_file": str(secret)}
    async with serving(settings(dsn, auth=auth), tmp_path) as kv:
        assert (await kv.grpc.read("a")).error_code == pb.UNAUTHORIZED


@pytest.mark.parametrize("unsure", [True, False])
def test_whatever_stops_a_write_that_was_begun_it_may_have_happened(unsure: bool) -> None:
    ending = Ending(Verdict.UNSURE, "n", Outcome.NEW, {}, 0, 1, b"", (), (), unsure)
    caller = Caller(begun=BegunWrite(Intent(bytes(16), b"", 1), ending))
    with pytest.raises(KvError) as stopped, _begun(caller):
        raise KvError(ErrorCode.RATE_LIMIT_EXCEEDED, "too often")
    assert ("may have happened" in stopped.value.message) is unsure
