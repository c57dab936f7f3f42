"""Reading and writing through a coordinator; storage nodes are on the real wire, in memory."""

import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from muster_kv.wire.messages import Get, GetDigest, ScanRange
from muster_kv_coordinator.api import service
from muster_kv_coordinator.core import scans
from muster_kv_coordinator.core.reads import Reads
from muster_kv_coordinator.core.writes import Writes
from muster_protos import kv_pb2 as pb
from muster_testing.postgres import PostgresServer
from muster_testing.waiting import eventually

from .harness import Coordinator, serving, settings
from .nodes import MemoryNode, memory_nodes

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]

MIB = 1024 * 1024


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def nodes() -> AsyncIterator[list[MemoryNode]]:
    """Three storage nodes."""
    async with memory_nodes("n-1", "n-2", "n-3") as started:
        yield started


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def kv(
    postgres: PostgresServer, nodes: list[MemoryNode], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Coordinator]:
    """A coordinator with tenants `t` and `lww`."""
    home: Path = tmp_path_factory.mktemp("kv")
    async with serving(settings(await postgres.create_database()), home) as coordinator:
        await coordinator.join(*(node.member for node in nodes))
        for tenant, policy in (
            ("t", pb.TenantPolicy()),
            ("lww", pb.TenantPolicy(conflict_resolution="LastWriteWins")),
        ):
            made = await coordinator.grpc.call("CreateTenant", tenant_id=tenant, policy=policy)
            assert made.success, made.error_message
            assert made.replication_factor == 3
        yield coordinator


async def test_what_was_written_is_read(kv: Coordinator) -> None:
    written = await kv.grpc.write("a", b"1")
    assert written.success, written.error_message
    assert written.replica_count >= 2
    assert written.consistency == "quorum"
    read = await kv.grpc.read("a")
    assert (read.success, read.value, read.key) == (True, b"1", "a")
    assert read.vector_clock == written.vector_clock


async def test_an_empty_value_is_a_value(kv: Coordinator) -> None:
    assert (await kv.grpc.write("empty", b"")).success
    read = await kv.grpc.read("empty")
    assert (read.success, read.value) == (True, b"")


async def test_a_missing_key_is_not_a_failed_quorum(kv: Coordinator) -> None:
    for level in ("one", "quorum", "all"):
        read = await kv.grpc.read("missing", consistency=level)
        assert not read.success
        assert read.error_code == pb.KEY_NOT_FOUND
        assert read.error_message.startswith("KEY_NOT_FOUND: ")


async def test_a_write_without_context_replaces_what_is_there(kv: Coordinator) -> None:
    for value in (b"1", b"2", b"3"):
        assert (await kv.grpc.write("seq", value)).sibling_count == 1
    read = await kv.grpc.read("seq", consistency="all")
    assert read.value == b"3"
    assert not read.siblings


async def test_an_empty_context_makes_a_sibling_and_a_joined_one_ends_it(kv: Coordinator) -> None:
    await kv.grpc.write("sib", b"1")
    second = await kv.grpc.write("sib", b"2", context=pb.VectorClock())
    assert second.sibling_count == 2
    read = await kv.grpc.read("sib")
    assert {sibling.value for sibling in read.siblings} == {b"1", b"2"}
    assert read.siblings[0].value == read.value == b"2"
    joined = await kv.grpc.write("sib", b"12", context=read.vector_clock)
    assert joined.sibling_count == 1
    assert not (await kv.grpc.read("sib")).siblings


async def test_the_clock_of_a_write_covers_no_sibling_unseen(kv: Coordinator) -> None:
    await kv.grpc.write("unseen", b"1")
    own = await kv.grpc.write("unseen", b"2", context=pb.VectorClock())
    await kv.grpc.write("unseen", b"3", context=own.vector_clock)
    read = await kv.grpc.read("unseen")
    assert b"1" in {sibling.value for sibling in read.siblings}


async def test_what_is_deleted_is_gone_and_can_be_written_again(kv: Coordinator) -> None:
    await kv.grpc.write("del", b"1")
    deleted = await kv.grpc.delete("del")
    assert deleted.success, deleted.error_message
    gone = await kv.grpc.read("del")
    assert gone.error_code == pb.KEY_NOT_FOUND
    assert gone.vector_clock.entries
    await kv.grpc.write("del", b"2", context=gone.vector_clock)
    assert (await kv.grpc.read("del")).value == b"2"


async def test_a_retry_with_the_same_key_happens_once(kv: Coordinator) -> None:
    first = await kv.grpc.write("idem", b"1", idempotency_key="k")
    await kv.grpc.write("idem", b"2")
    again = await kv.grpc.write("idem", b"1", idempotency_key="k")
    assert again.success
    assert again.is_duplicate
    assert again.vector_clock == first.vector_clock
    assert (await kv.grpc.read("idem")).value == b"2"
    other = await kv.grpc.write("idem", b"3", idempotency_key="k")
    assert other.error_code == pb.IDEMPOTENCY_KEY_CONFLICT


async def test_the_last_write_wins_where_the_tenant_wants_it(kv: Coordinator) -> None:
    await kv.grpc.write("a", b"1", tenant="lww")
    await kv.grpc.write("a", b"2", tenant="lww", context=pb.VectorClock())
    read = await kv.grpc.read("a", tenant="lww")
    assert read.value == b"2"
    assert not read.siblings
    again = await kv.grpc.write("a", b"3", tenant="lww", idempotency_key="k")
    assert not again.is_duplicate
    assert (await kv.grpc.write("a", b"3", tenant="lww", idempotency_key="k")).is_duplicate
    await kv.grpc.delete("a", tenant="lww")
    assert (await kv.grpc.read("a", tenant="lww")).error_code == pb.KEY_NOT_FOUND


async def test_who_looks_for_something_finds_a_line_for_each_request(
    kv: Coordinator, caplog: pytest.LogCaptureFixture
) -> None:
    await kv.grpc.write("quiet", b"1")
    with caplog.at_level(logging.DEBUG, service.log.name):
        await kv.grpc.write("said", b"secret", tenant="lww")
        await kv.grpc.read("said", tenant="nobody")
    lines = [one.__dict__ for one in caplog.records if one.message == "request processed"]
    told = [(one["operation"], one["tenant_id"], one["key"], one["success"]) for one in lines]
    assert told == [
        ("WriteKeyValue", "lww", "said", True),
        ("ReadKeyValue", "nobody", "said", False),
    ]
    assert lines[1]["code"] == "TENANT_NOT_FOUND"
    assert all(one["duration_ms"] > 0 for one in lines)
    assert "secret" not in caplog.text


async def test_a_value_with_an_end_is_gone_after_it(kv: Coordinator) -> None:
    assert (await kv.grpc.write("ttl", b"1", ttl_seconds=3600)).success
    lasting = await kv.grpc.read("ttl")
    assert (lasting.value, lasting.expires_at_us > 0) == (b"1", True)
    assert (await kv.grpc.write("ttl", b"2", ttl_seconds=1)).success

    async def gone() -> bool:
        return bool((await kv.grpc.read("ttl")).error_code == pb.KEY_NOT_FOUND)

    await eventually(gone, what="its time is over")
    assert (await kv.grpc.write("ttl", b"3")).success
    forever = await kv.grpc.read("ttl")
    assert (forever.value, forever.expires_at_us) == (b"3", 0)


async def test_tenants_have_keys_of_their_own(kv: Coordinator) -> None:
    await kv.grpc.write("own", b"t")
    assert (await kv.grpc.read("own", tenant="lww")).error_code == pb.KEY_NOT_FOUND


async def test_a_batch_answers_each_operation(kv: Coordinator) -> None:
    batch = await kv.grpc.call(
        "Batch",
        operations=[
            pb.Operation(id=7, write=pb.WriteKeyValueRequest(tenant_id="t", key="b1", value=b"1")),
            pb.Operation(id=8, read=pb.ReadKeyValueRequest(tenant_id="t", key="nothing")),
            pb.Operation(id=9, delete=pb.DeleteKeyValueRequest(tenant_id="t", key="b2")),
        ],
    )
    assert [outcome.id for outcome in batch.outcomes] == [7, 8, 9]
    assert batch.outcomes[0].write.success
    assert batch.outcomes[1].read.error_code == pb.KEY_NOT_FOUND
    assert batch.outcomes[2].delete.success


async def test_a_fault_in_an_operation_is_its_own(
    kv: Coordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And no write is said not to have happened that one has stopped."""
    # Writes of this tenant are never answered by the front alone.
    tenant = "lww"

    async def broken(*_: object) -> None:
        raise RuntimeError("a fault of ours")

    write = pb.WriteKeyValueRequest(tenant_id=tenant, key="beside", value=b"1", ttl_seconds=60)
    operations = [
        pb.Operation(id=1, write=write),
        pb.Operation(id=2, read=pb.ReadKeyValueRequest(tenant_id=tenant, key="beside")),
    ]
    with monkeypatch.context() as patched:
        patched.setattr(Reads, "read", broken)
        written, read = (await kv.grpc.call("Batch", operations=operations)).outcomes
    assert written.write.success
    assert read.read.error_code == pb.INTERNAL_ERROR
    assert "may have happened" not in read.read.error_message
    with monkeypatch.context() as patched:
        patched.setattr(Writes, "write", broken)
        for answer in (
            await kv.grpc.write("beside", b"2", tenant=tenant),
            await kv.grpc.delete("beside", tenant=tenant),
            (await kv.grpc.call("Batch", operations=operations[:1])).outcomes[0].write,
        ):
            assert answer.error_code == pb.INTERNAL_ERROR
            assert "may have happened" in answer.error_message
            assert "a fault of ours" not in answer.error_message


async def test_a_stream_answers_operations_by_their_ids(kv: Coordinator) -> None:
    async def batches() -> AsyncIterator[pb.BatchRequest]:
        for at in range(0, 300, 100):
            yield pb.BatchRequest(
                operations=[
                    pb.Operation(
                        id=n,
                        write=pb.WriteKeyValueRequest(tenant_id="t", key=f"s{n}", value=b"%d" % n),
                    )
                    for n in range(at, at + 100)
                ]
            )

    seen = [outcome async for answer in kv.grpc.stream(batches()) for outcome in answer.outcomes]
    assert sorted(outcome.id for outcome in seen) == list(range(300))
    assert all(outcome.write.success for outcome in seen)
    assert (await kv.grpc.read("s299")).value == b"299"


async def _scanned(kv: Coordinator, prefix: str, size: int = 0) -> dict[str, bytes]:
    """All that a scan finds, page by page; nothing is found twice."""
    found: dict[str, bytes] = {}
    token = ""
    while True:
        page = await kv.grpc.call(
            "ScanKeyValues", tenant_id="t", prefix=prefix, page_size=size, page_token=token
        )
        assert page.success, page.error_message
        assert len(page.entries) <= (size or 100)
        # By default clients refuse messages of 4 MiB.
        assert page.ByteSize() < 4 * MIB
        assert not found.keys() & {entry.key for entry in page.entries}
        found |= {entry.key: entry.value for entry in page.entries}
        token = page.next_page_token
        if not token:
            return found


async def test_a_scan_finds_all_keys_with_the_prefix_once(kv: Coordinator) -> None:
    for n in range(25):
        await kv.grpc.write(f"scan/{n}", b"%d" % n)
    await kv.grpc.delete("scan/3")
    found = await _scanned(kv, "scan/", 10)
    assert found == {f"scan/{n}": b"%d" % n for n in range(25) if n != 3}


async def test_a_scan_reads_little_at_a_time_of_what_lies_between(
    kv: Coordinator, nodes: list[MemoryNode], monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(60):
        await kv.grpc.write(f"between/{n}", b"", tenant="lww", consistency="all")
    for n in range(3):
        await kv.grpc.write(f"few/{n}", b"%d" % n, consistency="all")
    monkeypatch.setattr(scans, "_READ_AT_ONCE", 4)
    nodes[0].seen.clear()
    assert await _scanned(kv, "few/") == {f"few/{n}": b"%d" % n for n in range(3)}
    assert nodes[0].seen.count(ScanRange) > 60 // 4


async def test_a_page_of_large_values_is_one_that_a_client_takes(kv: Coordinator) -> None:
    keys = {f"heavy/{n}" for n in range(12)}
    for key in keys:
        assert (await kv.grpc.write(key, bytes(MIB))).success
    assert (await _scanned(kv, "heavy/")).keys() == keys


async def test_large_values_are_read_by_digest(kv: Coordinator, nodes: list[MemoryNode]) -> None:
    value = b"x" * 100_000
    await kv.grpc.write("large", value, consistency="all")
    assert (await kv.grpc.read("large")).value == value

    def asked() -> list[type]:
        return [kind for node in nodes for kind in node.seen if kind in {Get, GetDigest}]

    for node in nodes:
        node.seen.clear()
    assert (await kv.grpc.read("large")).value == value
    assert sorted(kind.__name__ for kind in asked()) == ["Get", "GetDigest"]
    await kv.grpc.write("large", b"small")
    assert (await kv.grpc.read("large")).value == b"small"
