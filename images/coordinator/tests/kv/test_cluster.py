"""Two coordinators and three storage nodes, all of them processes, and what befalls them."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from muster_protos import kv_pb2 as pb
from muster_testing.postgres import PostgresServer
from muster_testing.storage import StorageNode, StorageNodes
from muster_testing.waiting import eventually

from .harness import WATCHFUL, Coordinator, process, settings
from .load import Load

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]

# A test under load on a busy machine: what is late is not lost.
TIMES = WATCHFUL | {"write_timeout": "10s", "read_timeout": "10s"}


class Cluster:
    """Two coordinators and three storage nodes."""

    def __init__(self, dsn: str, nodes: list[StorageNode], coordinators: list[Coordinator]) -> None:
        self.dsn = dsn
        self.nodes = nodes
        self.coordinators = coordinators

    @property
    def one(self) -> Coordinator:
        """The first coordinator."""
        return self.coordinators[0]

    @property
    def two(self) -> Coordinator:
        """The second coordinator."""
        return self.coordinators[1]

    async def whole(self) -> None:
        """Start what is not running, and wait until both coordinators see it."""
        for node in self.nodes:
            if node.running:
                node.thaw()
            else:
                await node.start()
        for coordinator in self.coordinators:
            await coordinator.healthy(3)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(
    postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Cluster]:
    """A cluster with the tenant `t`, shared; each test leaves it whole."""
    home: Path = tmp_path_factory.mktemp("cluster")
    dsn = await postgres.create_database()
    with StorageNodes() as make:
        nodes = [make(f"s-{n}", hints={"interval": "1s"}) for n in range(3)]
        await asyncio.gather(*(node.start() for node in nodes))
        with (
            process(_named(dsn, "c-1"), home / "c-1") as first,
            process(_named(dsn, "c-2"), home / "c-2") as second,
        ):
            coordinators = [await first.serving(), await second.serving()]
            await coordinators[0].join(*nodes)
            made = await coordinators[0].grpc.call("CreateTenant", tenant_id="t")
            assert made.success, made.error_message
            found = Cluster(dsn, nodes, coordinators)
            await found.whole()
            yield found
            for coordinator in coordinators:
                await coordinator.close()


def _named(dsn: str, name: str, **server: str) -> dict[str, object]:
    named = {"node_id": name, "host": "127.0.0.1"} | server
    return settings(dsn, server=named, consistency=TIMES)


async def test_writes_one_after_the_other_replace_each_other_everywhere(cluster: Cluster) -> None:
    for n in range(10):
        through, other = cluster.coordinators[n % 2], cluster.coordinators[(n + 1) % 2]
        assert (await through.grpc.write("seq", b"%d" % n)).success
        read = await other.grpc.read("seq")
        assert (read.value, len(read.siblings)) == (b"%d" % n, 0)


async def test_writes_that_knew_of_the_same_both_survive(cluster: Cluster) -> None:
    base = await cluster.one.grpc.write("both", b"0")
    await asyncio.gather(
        cluster.one.grpc.write("both", b"1", context=base.vector_clock),
        cluster.two.grpc.write("both", b"2", context=base.vector_clock),
    )
    for coordinator in cluster.coordinators:
        read = await coordinator.grpc.read("both")
        assert {sibling.value for sibling in read.siblings} == {b"1", b"2"}
    joined = await cluster.two.grpc.write("both", b"3", context=read.vector_clock)
    assert joined.sibling_count == 1
    read = await cluster.one.grpc.read("both", consistency="all")
    assert (read.value, len(read.siblings)) == (b"3", 0)


async def test_a_delete_and_a_write_that_did_not_know_of_it(cluster: Cluster) -> None:
    base = await cluster.one.grpc.write("gone", b"0")
    await cluster.one.grpc.delete("gone", context=base.vector_clock)
    assert (await cluster.two.grpc.read("gone")).error_code == pb.KEY_NOT_FOUND
    await cluster.two.grpc.write("gone", b"1", context=base.vector_clock)
    assert (await cluster.one.grpc.read("gone")).value == b"1"


async def test_retries_are_recognised_by_every_coordinator_and_after_restarts(
    cluster: Cluster,
) -> None:
    first = await cluster.one.grpc.write("idem", b"1", idempotency_key="k")
    assert first.success
    again = await cluster.two.grpc.write("idem", b"1", idempotency_key="k")
    assert again.is_duplicate
    assert again.vector_clock == first.vector_clock
    await cluster.two.grpc.write("idem", b"2")
    for node in cluster.nodes:
        node.kill()
    await cluster.whole()
    later = await cluster.one.grpc.write("idem", b"1", idempotency_key="k")
    assert later.is_duplicate, later.error_message
    other = await cluster.two.grpc.write("idem", b"9", idempotency_key="k")
    assert other.error_code == pb.IDEMPOTENCY_KEY_CONFLICT
    assert (await cluster.one.grpc.read("idem")).value == b"2"


async def test_concurrent_retries_are_one_write(cluster: Cluster) -> None:
    answers = await asyncio.gather(
        *(
            coordinator.grpc.write("race", b"1", idempotency_key="r")
            for coordinator in cluster.coordinators * 5
        )
    )
    assert all(answer.success for answer in answers)
    read = await cluster.one.grpc.read("race", consistency="all")
    assert (read.value, len(read.siblings)) == (b"1", 0)


async def test_a_scan_of_real_nodes(cluster: Cluster) -> None:
    keys = {f"scan/{n}" for n in range(40)}
    await asyncio.gather(*(cluster.one.grpc.write(key, b"1") for key in keys))
    found: list[str] = []
    token = ""
    while True:
        page = await cluster.two.grpc.call(
            "ScanKeyValues", tenant_id="t", prefix="scan/", page_size=15, page_token=token
        )
        assert page.success, page.error_message
        found += [entry.key for entry in page.entries]
        token = page.next_page_token
        if not token:
            break
    assert sorted(found) == sorted(keys)


@asynccontextmanager
async def _under_load(cluster: Cluster) -> AsyncIterator[Load]:
    """A load that is on; afterwards all that it was told is there must be."""
    clients = [coordinator.grpc for coordinator in cluster.coordinators]
    async with Load(clients) as load:
        await load.goes_on(20, deadline=60.0)
        yield load
    assert len(load.written) > 100
    told = sorted(load.written.items())
    reads = await asyncio.gather(
        *(cluster.coordinators[at % 2].grpc.read(key) for at, (key, _) in enumerate(told))
    )
    for (_, value), read in zip(told, reads, strict=True):
        assert read.success, read.error_message
        # The writers were cut off: a last write that nobody was told of may be there.
        assert int(read.value) in {int(value), int(value) + 50}


@pytest.mark.parametrize("end", ["kill", "freeze"])
async def test_a_node_that_ends_under_load_is_not_missed(cluster: Cluster, end: str) -> None:
    node = cluster.nodes[1]
    async with _under_load(cluster) as load:
        getattr(node, end)()
        try:
            await load.goes_on(60, deadline=120.0)
        finally:
            await cluster.whole()
        await load.goes_on(20, deadline=60.0)
    assert not [message for message in load.failed if "may have happened" not in message]


async def test_a_node_that_comes_back_gets_what_it_missed(cluster: Cluster) -> None:
    node = cluster.nodes[2]
    node.kill()
    await cluster.one.healthy(2)
    for n in range(20):
        assert (await cluster.one.grpc.write(f"missed/{n}", b"%d" % n)).success
    stored = 'coordinator_hints_total{outcome="stored"}'

    async def hinted() -> bool:
        return await cluster.one.metric(stored) >= 20

    await eventually(hinted, what="all is hinted")

    async def told() -> bool:
        stands = (await cluster.one.ops.get("/topology")).json()
        return bool(stands["hints_waiting"] >= 20 and stands["under_replicated_ranges"] > 0)

    await eventually(told, what="it is told how the store stands")
    await node.start()
    await cluster.whole()
    others = [other for other in cluster.nodes if other is not node]

    def delivered() -> bool:
        return not any(other.metric("storage_hints_waiting") for other in others)

    await eventually(delivered, what="the hints are delivered")
    # Only the node that was away is left to tell.
    for other in others:
        other.freeze()
    try:
        for n in range(20):

            async def has(n: int = n) -> bool:
                read = await cluster.one.grpc.read(f"missed/{n}", consistency="one")
                return bool(read.value == b"%d" % n)

            await eventually(has, what=f"missed/{n} is there")
    finally:
        await cluster.whole()


async def test_without_a_quorum_it_is_said_in_time(cluster: Cluster) -> None:
    await cluster.one.grpc.write("lost", b"1")
    for node in cluster.nodes[:2]:
        node.freeze()
    try:
        # Long before the calls' own deadlines, or there would be no answers.
        written, read = await asyncio.gather(
            cluster.one.grpc.write("lost", b"2"), cluster.two.grpc.read("lost")
        )
        assert written.error_code == read.error_code == pb.QUORUM_NOT_REACHED
    finally:
        await cluster.whole()
    assert (await cluster.two.grpc.read("lost")).value in {b"1", b"2"}


async def test_a_coordinator_ends_in_order_under_load(cluster: Cluster, tmp_path: Path) -> None:
    document = _named(cluster.dsn, "c-3", shutdown_timeout="60s")
    with process(document, tmp_path / "c-3") as third:
        coordinator = await third.serving()
        async with Load([coordinator.grpc], writers=4) as load:
            await load.goes_on(12, deadline=60.0)
            third.send(signal.SIGTERM)
            assert await third.exit_status() == 0
            assert third.said("stopped")
        await coordinator.close()
    # What was under way was answered; what came after was not taken.
    codes = {"StatusCode.UNAVAILABLE", "StatusCode.CANCELLED"}
    assert set(load.failed) <= codes
    for key, value in load.written.items():
        assert (await cluster.one.grpc.read(key)).value == value
