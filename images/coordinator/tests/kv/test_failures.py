"""What becomes of requests while replicas fail; storage nodes are on the real wire, in memory."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from muster_kv.errors import FailureCode
from muster_kv.record import decode
from muster_kv.slots import slot
from muster_kv.wire.messages import Get, Lookup, Merge, Stat, Take
from muster_protos import kv_pb2 as pb
from muster_testing.waiting import eventually

from .harness import Coordinator, serving, settings
from .nodes import MemoryNode, memory_nodes

pytestmark = pytest.mark.integration

HEDGED: dict[str, Any] = {"hedge_after": "50ms"}
SOON: dict[str, Any] = {"write_timeout": "1s", "read_timeout": "1s"}


@asynccontextmanager
async def cluster(
    dsn: str, home: Path, names: tuple[str, ...] = ("n-1", "n-2", "n-3"), **consistency: Any
) -> AsyncIterator[tuple[Coordinator, list[MemoryNode]]]:
    """A coordinator over nodes in memory, with the tenant `t`."""
    async with memory_nodes(*names) as nodes:
        document = settings(dsn, consistency=consistency)
        async with serving(document, home) as kv:
            await kv.join(*(node.member for node in nodes))
            made = await kv.grpc.call("CreateTenant", tenant_id="t")
            assert made.success, made.error_message
            yield kv, nodes


def _holders(nodes: list[MemoryNode], key: str) -> list[MemoryNode]:
    return [node for node in nodes if slot("t", key) in node.records]


async def _dies(kv: Coordinator, node: MemoryNode, left: int) -> None:
    await node.server.close(grace=0.1)
    await kv.healthy(left)


async def test_a_dead_replica_is_not_missed_and_gets_a_hint(dsn: str, tmp_path: Path) -> None:
    async with cluster(dsn, tmp_path) as (kv, nodes):
        await _dies(kv, nodes[0], 2)
        for n in range(10):
            written = await kv.grpc.write(f"k{n}", b"1")
            assert written.success, written.error_message
            assert written.replica_count == 2
            assert (await kv.grpc.read(f"k{n}")).value == b"1"

        def hinted() -> bool:
            hints = {hint for node in nodes[1:] for hint in node.hints}
            return hints == {("n-1", slot("t", f"k{n}")) for n in range(10)}

        await eventually(hinted, what="every write is hinted")

        async def counted() -> bool:
            stored = await kv.metric('coordinator_hints_total{outcome="stored"}')
            assert stored <= 10
            return stored == 10

        await eventually(counted, what="every hint is counted once, when it is answered")


async def test_without_a_quorum_the_answer_comes_in_time(dsn: str, tmp_path: Path) -> None:
    async with cluster(dsn, tmp_path) as (kv, nodes):
        await _dies(kv, nodes[0], 2)
        await _dies(kv, nodes[1], 1)
        # Before the calls' own deadlines, or there would be no answers.
        written = await kv.grpc.write("a", b"1")
        read = await kv.grpc.read("a")
        assert written.error_code == read.error_code == pb.QUORUM_NOT_REACHED
        assert "1 of 2 needed replicas answered" in written.error_message
        assert "may have happened" in written.error_message
        assert "may have happened" not in read.error_message
        assert (await kv.grpc.read("a", consistency="one")).value == b"1"
        assert await kv.metric('coordinator_quorum_failures_total{operation="write"}') == 1
        assert await kv.metric('coordinator_quorum_failures_total{operation="read"}') == 1
        # It is alive, and of no use to clients.
        for face in (kv.ops, kv.http):
            assert (await face.get("/health/ready")).status_code == 503
            assert (await face.get("/health/live")).status_code == 200


async def test_silent_replicas_end_in_a_failed_quorum_at_the_deadline(
    dsn: str, tmp_path: Path
) -> None:
    async with cluster(dsn, tmp_path, **SOON) as (kv, nodes):
        for node in nodes:
            node.silent |= {Take, Merge, Get}
        written = await kv.grpc.write("a", b"1")
        assert written.error_code == pb.QUORUM_NOT_REACHED
        assert "TIMEOUT" in written.error_message
        assert "may have happened" in written.error_message


async def test_a_slow_taker_is_not_waited_for(dsn: str, tmp_path: Path) -> None:
    async with cluster(dsn, tmp_path, **HEDGED) as (kv, nodes):
        assert (await kv.grpc.write("warm", b"1")).success
        nodes[1].silent |= {Take, Merge}
        for n in range(12):
            # With it, the time of a write would be over.
            written = await kv.grpc.write(f"k{n}", b"1")
            assert written.success, written.error_message
            assert not (await kv.grpc.read(f"k{n}")).siblings
        assert await kv.metric("coordinator_hedged_requests_total") > 0


async def test_a_take_that_comes_late_replaces_nothing_unseen(dsn: str, tmp_path: Path) -> None:
    """The answer of the first taker is lost; the second knows what it replaces."""
    async with cluster(dsn, tmp_path, **HEDGED) as (kv, nodes):
        await kv.grpc.write("a", b"1", consistency="all")
        for node in nodes:
            node.loses = {Take}
        written = await kv.grpc.write("a", b"2")
        assert written.success, written.error_message
        for node in nodes:
            node.loses = set()
        read = await kv.grpc.read("a", consistency="all")
        assert (read.value, len(read.siblings)) == (b"2", 0)


async def test_a_blind_take_is_not_followed_by_another_before_its_time_is_over(
    dsn: str, tmp_path: Path
) -> None:
    # A replica that has never answered gets a quarter of a second, or a third of what is left.
    async with cluster(dsn, tmp_path, **HEDGED) as (kv, nodes):
        for node in nodes:
            node.loses = {Take}
        begun = time.monotonic()
        written = await kv.grpc.write("a", b"1")
        assert written.success, written.error_message
        assert time.monotonic() - begun >= 0.25
        # Another that may be asked then is told what was there before.
        blind = [take for node in nodes for take in node.takes if take.intent.context is None]
        assert len(blind) == 1


async def test_a_slow_reader_is_not_waited_for(dsn: str, tmp_path: Path) -> None:
    async with cluster(dsn, tmp_path, **HEDGED) as (kv, nodes):
        for n in range(12):
            await kv.grpc.write(f"k{n}", b"1", consistency="all")
        nodes[2].silent.add(Get)
        for n in range(12):
            # With it, the time of a read would be over.
            assert (await kv.grpc.read(f"k{n}")).value == b"1"


async def test_a_replica_that_stops_answering_is_asked_for_nothing_more(
    dsn: str, tmp_path: Path
) -> None:
    async with cluster(dsn, tmp_path, suspect_after="300ms") as (kv, nodes):
        silent, *others = nodes
        # It would do what it is asked for, so that it is seen.
        silent.silent |= {Stat}
        answers: list[Any] = []

        async def spared() -> bool:
            # On a busy machine the others may seem to be silent too, and then all are asked.
            await kv.answered_by(*(node.node_id for node in others))
            before = silent.writes
            answers.extend([await kv.grpc.write(f"k{n}", b"1") for n in range(10)])
            return silent.writes == before

        await eventually(spared, what="it is asked for nothing")
        assert all(answer.success for answer in answers), answers


async def test_a_full_disk_is_said_as_the_reason(dsn: str, tmp_path: Path) -> None:
    async with cluster(dsn, tmp_path) as (kv, nodes):
        for node in nodes:
            node.refuses = {Take: FailureCode.DISK_FULL, Merge: FailureCode.DISK_FULL}
        written = await kv.grpc.write("a", b"1")
        assert written.error_code == pb.QUORUM_NOT_REACHED
        assert "DISK_FULL" in written.error_message
        assert "may have happened" not in written.error_message


async def test_what_every_replica_refuses_is_an_invalid_request(dsn: str, tmp_path: Path) -> None:
    async with cluster(dsn, tmp_path) as (kv, nodes):
        for node in nodes:
            node.refuses = {Take: FailureCode.INVALID}
        assert (await kv.grpc.write("a", b"1")).error_code == pb.INVALID_REQUEST


async def test_a_newer_ring_is_fetched_and_the_request_tried_again(
    dsn: str, tmp_path: Path
) -> None:
    async with cluster(dsn, tmp_path) as (kv, nodes):
        connection = await asyncpg.connect(dsn)
        try:
            # Nobody is told.
            await connection.execute("ALTER TABLE ring DISABLE TRIGGER ring_notify")

            async def met() -> bool:
                query = "UPDATE ring SET version = version + 1 RETURNING version"
                version = await connection.fetchval(query)
                for node in nodes:
                    node.ring_version = version
                keyed = await kv.grpc.write("a", b"1", idempotency_key=f"in {version}")
                assert keyed.success, keyed.error_message
                assert (await kv.grpc.write("a", b"1")).success
                assert (await kv.grpc.read("a")).value == b"1"
                return await kv.metric("coordinator_stale_ring_total") >= 1

            # The coordinator also looks by itself now and then, and may be first.
            await eventually(met, what="a request meets the newer ring")
            version = await connection.fetchval("SELECT version FROM ring")
        finally:
            await connection.close()
        assert await kv.metric("coordinator_ring_version") == version


async def test_a_newer_ring_is_found_by_who_is_told_nothing(dsn: str, tmp_path: Path) -> None:
    document = settings(dsn, hash_ring={"update_interval": "100ms"}, topology={"enabled": False})
    async with serving(document, tmp_path) as kv:
        connection = await asyncpg.connect(dsn)
        try:
            await connection.execute("ALTER TABLE ring DISABLE TRIGGER ring_notify")
            query = "UPDATE ring SET version = version + 1 RETURNING version"
            version = await connection.fetchval(query)
        finally:
            await connection.close()

        async def found() -> bool:
            return bool(await kv.metric("coordinator_ring_version") == version)

        await eventually(found, what="it has looked")


async def test_requests_that_name_no_level_have_the_one_that_is_configured(
    dsn: str, tmp_path: Path
) -> None:
    async with cluster(dsn, tmp_path, default_level="all") as (kv, nodes):
        assert (await kv.grpc.write("a", b"1")).consistency == "all"
        nodes[0].refuses = {Merge: FailureCode.DISK_FULL, Get: FailureCode.NOT_READY}
        nodes[0].refuses |= {Take: FailureCode.DISK_FULL}
        for answer in (
            await kv.grpc.write("a", b"2"),
            await kv.grpc.write("a", b"2", ttl_seconds=60),
            await kv.grpc.read("a"),
        ):
            assert answer.error_code == pb.QUORUM_NOT_REACHED, answer
        assert (await kv.grpc.write("a", b"2", consistency="quorum")).success


@pytest.mark.parametrize("section", ["server", "consistency"])
async def test_no_request_takes_longer_than_either_section_says(
    dsn: str, tmp_path: Path, section: str
) -> None:
    late, soon = ({"read_timeout": time, "write_timeout": time} for time in ("10m", "1s"))
    document = settings(dsn, **{"server": late, "consistency": late, section: soon})
    async with memory_nodes("n-1") as (node,), serving(document, tmp_path) as kv:
        await kv.join(node.member)
        await kv.grpc.call("CreateTenant", tenant_id="t", replication_factor=1)
        node.silent |= {Take, Merge, Get}
        # Their own deadlines are a minute: where those pass first there are no answers.
        for answer in await asyncio.gather(kv.grpc.write("a", b"1"), kv.grpc.read("a")):
            assert answer.error_code == pb.QUORUM_NOT_REACHED, answer


async def _differing(kv: Coordinator, nodes: list[MemoryNode]) -> MemoryNode:
    """Write twice, the second time past one replica; that one."""
    await kv.grpc.write("a", b"1", consistency="all")
    behind = nodes[0]
    old = behind.records[slot("t", "a")]
    await kv.grpc.write("a", b"2", consistency="all")
    behind.records[slot("t", "a")] = old
    return behind


async def test_a_replica_that_is_behind_is_repaired_by_a_read(dsn: str, tmp_path: Path) -> None:
    async with cluster(dsn, tmp_path) as (kv, nodes):
        behind = await _differing(kv, nodes)
        assert (await kv.grpc.read("a", consistency="all")).value == b"2"
        whole = nodes[1].records[slot("t", "a")]
        await eventually(lambda: behind.records[slot("t", "a")].versions == whole.versions)
        assert await kv.metric("coordinator_repairs_triggered_total") == 1
        await kv.grpc.read("a", consistency="all")
        assert await kv.metric("coordinator_repairs_triggered_total") == 1


async def test_a_read_does_not_wait_for_one_that_is_not_repaired(dsn: str, tmp_path: Path) -> None:
    async with cluster(dsn, tmp_path, **HEDGED) as (kv, nodes):
        behind = await _differing(kv, nodes)
        behind.silent |= {Merge}
        reads = []

        async def met() -> bool:
            reads.append(await kv.grpc.read("a"))
            return await kv.metric("coordinator_repairs_triggered_total") > 0

        await eventually(met, what="a read meets the one that is behind")
        # What no quorum is known to have comes without a context.
        assert all(read.vector_clock.entries for read in reads), reads


async def test_repair_before_the_answer_where_it_is_asked_for(dsn: str, tmp_path: Path) -> None:
    async with cluster(dsn, tmp_path, repair_async=False) as (kv, nodes):
        behind = await _differing(kv, nodes)
        assert (await kv.grpc.read("a", consistency="all")).value == b"2"
        assert behind.records[slot("t", "a")] == nodes[1].records[slot("t", "a")]
        behind = await _differing(kv, nodes)
        behind.refuses = {Merge: FailureCode.DISK_FULL}
        read = await kv.grpc.read("a", consistency="all")
        assert read.error_code == pb.QUORUM_NOT_REACHED


async def test_a_retry_of_a_write_that_was_cut_off_makes_it_durable(
    dsn: str, tmp_path: Path
) -> None:
    async with cluster(dsn, tmp_path) as (kv, nodes):
        for node in nodes:
            node.refuses = {Merge: FailureCode.DISK_FULL}
        first = await kv.grpc.write("a", b"1", idempotency_key="k")
        assert first.error_code == pb.QUORUM_NOT_REACHED
        (taker,) = _holders(nodes, "a")
        for node in nodes:
            node.refuses = {}
        # Another would take it now, and not know it.
        taker.refuses = {Take: FailureCode.NOT_READY}
        again = await kv.grpc.write("a", b"1", idempotency_key="k")
        assert again.success, again.error_message
        assert again.is_duplicate
        assert again.replica_count >= 2
        await eventually(lambda: len(_holders(nodes, "a")) == 3)
        read = await kv.grpc.read("a")
        assert (read.value, len(read.siblings)) == (b"1", 0)
        assert taker in _holders(nodes, "a")


async def test_a_retry_is_not_taken_while_it_can_not_be_recognised(
    dsn: str, tmp_path: Path
) -> None:
    async with cluster(dsn, tmp_path) as (kv, nodes):
        for node in nodes[:2]:
            node.refuses = {Lookup: FailureCode.NOT_READY}
        written = await kv.grpc.write("a", b"1", idempotency_key="k")
        assert written.error_code == pb.QUORUM_NOT_REACHED
        assert "may have happened" not in written.error_message
        assert not any(node.writes for node in nodes)


async def test_a_write_with_a_key_says_what_it_replaces(dsn: str, tmp_path: Path) -> None:
    async with cluster(dsn, tmp_path) as (kv, nodes):
        at = slot("t", "a")
        await kv.grpc.write("a", b"0", consistency="all")
        assert (await kv.grpc.write("a", b"1", consistency="all", idempotency_key="k")).success
        (plain, told) = [take for node in nodes for take in node.takes]
        assert plain.intent.context is None
        assert told.intent.context is not None
        assert told.intent.remember_until_us == told.intent.timestamp_us + 24 * 3600 * 10**6
        assert told.base == b""
        # Replicas differ, and those that are asked have to join what they know.
        behind = await _differing(kv, nodes)
        nodes[1].refuses = {Lookup: FailureCode.NOT_READY}
        whole = nodes[2].records[at]
        for node in nodes:
            node.takes.clear()
        assert (await kv.grpc.write("a", b"3", idempotency_key="l")).success
        (told,) = [take for node in nodes for take in node.takes]
        assert told.intent.context == whole.context
        assert decode(told.base, at).dead == whole.dead
        await eventually(lambda: behind.records[at].versions[0].value == b"3")
        read = await kv.grpc.read("a", consistency="all")
        assert (read.value, len(read.siblings)) == (b"3", 0)


async def test_a_retry_is_recognised_at_another_level(dsn: str, tmp_path: Path) -> None:
    async with cluster(dsn, tmp_path) as (kv, nodes):
        for behind in nodes:
            key = f"missed-by-{behind.node_id}"
            first = await kv.grpc.write(key, b"1", idempotency_key="k", consistency="all")
            assert first.success, first.error_message
            del behind.records[slot("t", key)]
            again = await kv.grpc.write(key, b"1", idempotency_key="k", consistency="all")
            assert again.is_duplicate, again.error_message


async def test_many_writers_of_one_key_lose_nothing(dsn: str, tmp_path: Path) -> None:
    async with cluster(dsn, tmp_path) as (kv, _):
        empty = pb.VectorClock()
        await asyncio.gather(*(kv.grpc.write("a", b"%d" % n, context=empty) for n in range(20)))
        read = await kv.grpc.read("a", consistency="all")
        assert {sibling.value for sibling in read.siblings} == {b"%d" % n for n in range(20)}
        assert await kv.metric("coordinator_conflicts_detected_total") == 1


async def test_a_cluster_without_nodes_says_so(dsn: str, tmp_path: Path) -> None:
    async with serving(settings(dsn), tmp_path) as kv:
        made = await kv.grpc.call("CreateTenant", tenant_id="t", replication_factor=1)
        assert made.error_code == pb.INVALID_REPLICATION_FACTOR
        assert "at most the number of nodes, 0" in made.error_message
