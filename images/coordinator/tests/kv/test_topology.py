"""Nodes that come, go and lose their disks, factors that change, repair: with real processes."""

import asyncio
import json
import shutil
import signal
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from muster_protos import kv_pb2 as pb
from muster_testing.postgres import PostgresServer
from muster_testing.storage import StorageNode, StorageNodes
from muster_testing.waiting import eventually

from .changes import ZONES, add, all_there, ended, fill, held, remove
from .harness import WATCHFUL, Coordinator, process, serving, settings
from .load import Load

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]

# Failed writes must not be mended by hints: topology and repair are to do it.
SETTINGS: dict[str, dict[str, Any]] = {
    # The lock goes with its connection, so that who is slow may keep it.
    "leader_election": {
        "lease_duration": "60s",
        "renew_deadline": "30s",
        "retry_period": "200ms",
    },
    "consistency": WATCHFUL | {"hint_queue": 0, "write_timeout": "10s", "read_timeout": "10s"},
    "topology": {"disk_limit": 100},
}


class Cluster:
    """Coordinators in this process, four storage nodes, three or four of them members."""

    def __init__(
        self, dsn: str, coordinators: Sequence[Coordinator], nodes: Sequence[StorageNode]
    ) -> None:
        self.dsn = dsn
        self.one, self.two = coordinators
        self.nodes = {node.node_id: node for node in nodes}

    async def listed(self) -> dict[str, Any]:
        """All storage nodes that are wanted, by name."""
        answer = await self.one.grpc.call("ListStorageNodes")
        return {node.node_id: node for node in answer.nodes if node.status != "inactive"}

    async def members(self) -> list[StorageNode]:
        """The members."""
        return [self.nodes[name] for name in await self.listed()]

    async def spare(self) -> StorageNode:
        """A node with an empty disk that is no member."""
        (name, *_) = set(self.nodes) - set(await self.listed())
        node = emptied(self.nodes[name])
        await node.until_ready()
        return node

    async def keys(self) -> dict[str, int]:
        """How many keys each member says that it has."""
        return {name: node.keys_count for name, node in (await self.listed()).items()}

    async def repair(self, tenant: str = "") -> str:
        """Ask for anti-entropy; the repair's id."""
        asked = await self.one.grpc.call("StartRepair", tenant_id=tenant)
        assert asked.success, asked.error_message
        return str(asked.repair_id)

    async def known(self) -> bool:
        """Whether it is written down which data folder each member has."""
        members = json.loads(await self._asked("SELECT members::text FROM ring"))
        return all(member["folder"] for member in members)

    async def ended(self, kind: str) -> int:
        """How many migrations of a type are completed."""
        query = "SELECT count(*) FROM migrations WHERE type = $1 AND status = 'completed'"
        return int(await self._asked(query, kind))

    async def _asked(self, query: str, *arguments: str) -> Any:
        connection = await asyncpg.connect(self.dsn)
        try:
            return await connection.fetchval(query, *arguments)
        finally:
            await connection.close()

    async def tenant(self, name: str, factor: int = 3) -> str:
        """A tenant of the test's own."""
        made = await self.one.grpc.call("CreateTenant", tenant_id=name, replication_factor=factor)
        assert made.success, made.error_message
        return name


def emptied(node: StorageNode) -> StorageNode:
    """A node that has lost its disk, and comes with another."""
    if node.running:
        node.kill()
    shutil.rmtree(node.data_dir, ignore_errors=True)
    node.spawn()
    return node


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(
    postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Cluster]:
    """A cluster with three members and the tenant `t`; each test leaves three that are whole."""
    home = tmp_path_factory.mktemp("topology")
    (home / "two").mkdir()
    dsn = await postgres.create_database()
    named = {"server": {"host": "127.0.0.1", "node_id": "c-1"}}
    with StorageNodes() as make:
        nodes = [make(name, sync=False, zone=zone) for name, zone in ZONES.items()]
        await asyncio.gather(*(node.start() for node in nodes))
        async with (
            serving(settings(dsn, **SETTINGS), home) as one,
            serving(settings(dsn, **SETTINGS, **named), home / "two") as two,
        ):
            for node in nodes[:3]:
                await add(one, node)
            await asyncio.gather(one.healthy(3), two.healthy(3))
            found = Cluster(dsn, (one, two), nodes)
            await found.tenant("t")
            await eventually(found.known, what="the leader knows the data folders")
            yield found


async def _repaired(kv: Coordinator, repair_id: str) -> Any:
    async def probe() -> Any:
        found = await kv.grpc.call("GetRepairStatus", repair_id=repair_id)
        assert found.status == "completed", found
        return found

    return await eventually(probe, deadline=120.0, what="the repair is completed")


async def test_each_zone_has_a_replica_before_any_has_two(cluster: Cluster) -> None:
    kv, spare = cluster.one, await cluster.spare()
    tenant = await cluster.tenant("zones")
    before = await fill(kv, tenant)
    await ended(kv, await add(kv, spare))
    await _repaired(kv, await cluster.repair())

    async def spread() -> bool:
        keys = await cluster.keys()
        whole = max(keys.values())
        # Zones with one node have all keys there; the zone with two shares them.
        assert {keys["s-0"], keys["s-3"], keys["s-1"] + keys["s-2"]} == {whole}, keys
        return True

    await eventually(spread, what="three zones have all keys once each")
    refused = await kv.grpc.call("RemoveStorageNode", node_id="s-9")
    assert refused.error_code == pb.INVALID_REQUEST
    await ended(kv, await remove(kv, spare.node_id))
    await all_there(kv, tenant, before)
    refused = await kv.grpc.call("RemoveStorageNode", node_id=(await cluster.members())[0].node_id)
    assert refused.error_code == pb.NODE_IN_USE
    assert "2 would remain, and tenants want 3" in refused.error_message


async def test_a_node_comes_and_another_goes_under_load(cluster: Cluster) -> None:
    kv, spare = cluster.one, await cluster.spare()
    before = await fill(kv, "t")
    (leaving, *_) = [node for node in await cluster.members() if ZONES[node.node_id] != "b"]
    async with Load([kv.grpc, cluster.two.grpc], writers=4) as load:
        added = await ended(kv, await add(kv, spare))
        assert added.progress.percentage == 100
        assert added.progress.keys_migrated > 0
        assert {node.status for node in (await cluster.listed()).values()} == {"active"}
        await ended(kv, await remove(kv, leaving.node_id))
        written = dict(load.written)
    assert written
    assert leaving.node_id not in await cluster.listed()
    assert leaving.ask("/ready")[1]["state"] == "decommissioned"
    await leaving.stop()
    assert before.keys() <= await held(spare, "t")
    await all_there(kv, "t", before | written)


async def test_a_replication_factor_is_lowered_and_raised_under_load(cluster: Cluster) -> None:
    kv, other = cluster.one, cluster.two
    tenant = await cluster.tenant("factors", 3)
    before = await fill(kv, tenant)
    async with Load([kv.grpc, other.grpc], writers=4, tenant=tenant) as load:
        for factor in (1, 3):
            asked = await other.grpc.call(
                "UpdateReplicationFactor", tenant_id=tenant, new_replication_factor=factor
            )
            await ended(other, asked.migration_id)
            found = await kv.grpc.call("GetTenant", tenant_id=tenant)
            assert found.replication_factor == factor
            replicas = [await held(node, tenant) for node in await cluster.members()]
            assert {sum(key in keys for keys in replicas) for key in before} == {factor}
        written = dict(load.written)
    assert written
    await all_there(kv, tenant, before | written)


async def test_a_node_that_lost_its_disk_is_filled_before_it_is_read(cluster: Cluster) -> None:
    kv = cluster.one
    tenant = await cluster.tenant("disks")
    (first, lost, third) = await cluster.members()
    # Acknowledged by the first and the one whose disk is to be lost; the third knows nothing.
    third.kill()
    await kv.healthy(2)
    written = await fill(kv, tenant)
    lost.kill()
    # Before the others are back: it would fill them.
    first.freeze()
    try:
        # It is not ready before it is filled, once it has been brought the ring.
        emptied(lost)
        await third.start()
        await kv.answered_by(lost.node_id, third.node_id)
        # An empty replica and a late one would say that there is no such key.
        read = await kv.grpc.read("k1", tenant=tenant)
        assert read.error_code == pb.QUORUM_NOT_REACHED, read
    finally:
        first.thaw()

    async def filled() -> bool:
        assert await cluster.ended("node_replacement") == 1
        listed = (await cluster.listed())[lost.node_id]
        topology = (await kv.ops.get("/topology")).json()
        assert {node["whole"] for node in topology["nodes"]} == {True}
        assert topology["migrations"] == []
        assert (listed.status, listed.reachable) == ("active", True)
        return True

    await eventually(filled, deadline=120.0, what="it has its data again")
    assert written.keys() == await held(lost, tenant)
    await kv.healthy(3)


async def test_a_round_repairs_what_reads_have_not_seen(cluster: Cluster) -> None:
    kv = cluster.one
    tenant = await cluster.tenant("rounds")
    (late, *_) = await cluster.members()
    late.kill()
    await kv.healthy(2)
    await fill(kv, tenant)
    waiting = await cluster.repair()
    assert await cluster.repair() == waiting

    async def waits() -> bool:
        found = await kv.grpc.call("GetRepairStatus", repair_id=waiting)
        assert (found.status, found.waiting_for) == ("pending", f"away: {late.node_id}")
        return True

    await eventually(waits, what="it says for whom it waits")
    await late.start()
    await kv.healthy(3)

    async def equal() -> bool:
        assert len(set((await cluster.keys()).values())) == 1
        topology = (await kv.ops.get("/topology")).json()
        assert topology["anti_entropy"]["last_round_ended"] is not None
        assert not topology["anti_entropy"]["wanted"]
        return True

    await eventually(equal, deadline=120.0, what="all nodes have all keys")
    repaired = [await each.metric("coordinator_repair_records_total") for each in (kv, cluster.two)]
    assert sum(repaired) > 0
    found = await _repaired(kv, waiting)
    assert min(found.ranges_differing, found.records_repaired) > 0
    assert 0 < found.started_at <= found.finished_at


async def test_one_tenant_s_replicas_are_repaired_when_that_is_asked_for(cluster: Cluster) -> None:
    kv = cluster.one
    asked, other = await cluster.tenant("asked"), await cluster.tenant("other")
    (late, *_) = await cluster.members()
    late.kill()
    await kv.healthy(2)
    written = await fill(kv, asked, 20)
    await fill(kv, other, 20)
    await late.start()
    await kv.healthy(3)
    found = await _repaired(kv, await cluster.repair(asked))
    assert found.tenant_id == asked
    assert found.records_repaired == 20
    assert await held(late, asked) == written.keys()
    assert await held(late, other) == set()
    # Nothing differs any more.
    answer = await kv.http.post("/v1/admin/repairs", json={"tenant_id": asked})
    assert answer.status_code == 202
    again = await _repaired(kv, answer.json()["repair_id"])
    assert (again.ranges_differing, again.records_repaired) == (0, 0)
    shown = (await kv.http.get(f"/v1/admin/repairs/{again.repair_id}")).json()
    assert (shown["status"], shown["repair_status"]) == ("success", "completed")
    assert (await _repaired(kv, await cluster.repair())).records_repaired >= 20


async def test_what_cannot_be_repaired_is_refused(cluster: Cluster) -> None:
    kv = cluster.one
    missing = await kv.grpc.call("StartRepair", tenant_id="nobody")
    assert missing.error_code == pb.TENANT_NOT_FOUND
    for repair_id in ("nonsense", "00000000-0000-0000-0000-000000000000"):
        unknown = await kv.grpc.call("GetRepairStatus", repair_id=repair_id)
        assert unknown.error_code == pb.MIGRATION_NOT_FOUND
        answer = await kv.http.get(f"/v1/admin/repairs/{repair_id}")
        assert (answer.status_code, answer.json()["error_code"]) == (404, "MIGRATION_NOT_FOUND")


async def test_a_dead_node_is_replaced_by_another(cluster: Cluster) -> None:
    kv, spare = cluster.one, await cluster.spare()
    tenant = await cluster.tenant("dead")
    before = await fill(kv, tenant)
    (dead, *_) = [node for node in await cluster.members() if node.running]
    dead.kill()
    await kv.healthy(2)
    async with Load([kv.grpc], writers=2, tenant=tenant) as load:
        await ended(kv, await add(kv, spare))
        leaving = await remove(kv, dead.node_id)

        async def waits() -> bool:
            found = await kv.grpc.call("GetMigrationStatus", migration_id=leaving)
            assert found.error_message == f"waiting for {dead.node_id} to answer"
            return True

        await eventually(waits, what="the removal waits for the node")
        assert await remove(kv, dead.node_id, force=True) == leaving
        await ended(kv, leaving)
        written = dict(load.written)
    assert written
    await kv.healthy(3)
    assert before.keys() <= await held(spare, tenant)
    await all_there(kv, tenant, before | written)


async def test_a_migration_outlives_its_leader(
    dsn: str, tmp_path: Path, storage_node: StorageNodes
) -> None:
    nodes = [storage_node(name, sync=False) for name in ZONES]
    await asyncio.gather(*(node.start() for node in nodes))
    # So that there is time to end its leader while it copies.
    slow = SETTINGS | {"topology": {"disk_limit": 100, "keys_per_second": 15}}
    other = {"host": "127.0.0.1", "node_id": "c-1"}
    with (
        process(settings(dsn, **slow), tmp_path / "c-0") as first,
        process(settings(dsn, **slow, server=other), tmp_path / "c-1") as second,
    ):
        processes, served = (first, second), [await first.serving(), await second.serving()]
        for node in nodes[:3]:
            await add(served[0], node)
        await asyncio.gather(*(one.healthy(3) for one in served))
        made = await served[0].grpc.call("CreateTenant", tenant_id="t", replication_factor=3)
        assert made.success, made.error_message
        before = await fill(served[0], "t", 200)
        migration = await add(served[1], nodes[3])

        async def copying() -> int:
            found = await served[0].grpc.call("GetMigrationStatus", migration_id=migration)
            return int(found.progress.keys_migrated)

        copied = await eventually(copying, what="keys are copied")
        leading = [await one.metric("coordinator_maintenance_leader") for one in served]
        assert sorted(leading) == [0, 1]
        killed = leading.index(1)
        left = served[1 - killed]
        processes[killed].send(signal.SIGKILL)
        done = await ended(left, migration)
        assert done.progress.percentage == 100
        assert done.progress.keys_migrated > copied
        # Nothing of what was copied whole is copied again: at most the pages that were under way.
        assert done.progress.keys_migrated < 2 * len(before)
        await all_there(left, "t", before)
        for one in served:
            await one.close()
