"""Two operators, of which one leads."""

import asyncio
import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest

from muster_operator.cluster import Cluster
from muster_operator.resources import CONFIG_MAPS, DEPLOYMENTS, LEASES
from muster_runtime.election import Timings
from muster_testing.ports import free_port
from muster_testing.waiting import eventually

from .conftest import Operators, Space
from .plane import SECRET, SERVICE, SYSTEM, Plane, grant, revoke

pytestmark = pytest.mark.integration


async def holder(admin: Cluster) -> str:
    lease = await admin.get(LEASES, SYSTEM, "muster-operator") or {}
    return str(lease.get("spec", {}).get("holderIdentity") or "")


async def test_the_other_replica_takes_over_when_the_leader_stops(
    operators: Operators, space: Space
) -> None:
    first = await operators.start("first")
    await eventually(lambda: first.leads, what="the first leads")
    second = await operators.start("second")
    await space.pool(name="one")
    await space.the(DEPLOYMENTS, "one-worker")
    assert not second.leads
    await first.close()
    await eventually(lambda: second.leads, what="the second leads")
    await space.pool(name="two")
    await space.the(DEPLOYMENTS, "two-worker")


async def test_what_happened_while_nobody_led_is_made_up_for(
    operators: Operators, space: Space
) -> None:
    first = await operators.start("first")
    await eventually(lambda: first.leads, what="the first leads")
    await space.pool()
    deployment = await space.the(DEPLOYMENTS, "demo-worker")
    await first.close()
    await space.cluster.delete(DEPLOYMENTS, deployment)
    await space.pool("concurrency: 2")
    await operators.start("second")

    async def made_up() -> bool:
        config = await space.the(CONFIG_MAPS, "demo-worker")
        assert "concurrency: 2" in config["data"]["worker.yaml"]
        assert await space.get(DEPLOYMENTS, "demo-worker")
        return True

    await eventually(made_up, what="both changes are made up for")


@pytest.mark.parametrize("revoked", [False, True], ids=["", "without its rights"])
async def test_an_operator_outlives_the_absence_of_the_api_server(
    plane: Plane,
    operators: Operators,
    admin: Cluster,
    space: Space,
    caplog: pytest.LogCaptureFixture,
    revoked: bool,
) -> None:
    # It notices soon, and keeps the lease where it gets no turn for some seconds.
    hasty = Timings(lease_duration=8.0, renew_deadline=6.0, retry_period=0.5)
    replica = await operators.start(timings=hasty, resync_interval=timedelta(hours=1))
    await eventually(lambda: replica.leads, what="it leads")
    await space.pool()
    deployment = await space.the(DEPLOYMENTS, "demo-worker")
    if revoked:
        await revoke(admin)
    plane.stop_apiserver()
    try:
        await eventually(lambda: not replica.leads, what="it leads no more")
    finally:
        await asyncio.to_thread(plane.start_apiserver)
    await space.cluster.delete(DEPLOYMENTS, deployment)
    if revoked:
        # Not only are they closed: it is refused whenever it wants them back.
        await eventually(lambda: "the watches broke down" in caplog.text, what="kopf gives up")
        assert not replica.leads
        await grant(admin)
    await eventually(lambda: replica.leads, deadline=240, what="it leads again")

    async def back() -> bool:
        there = await space.get(DEPLOYMENTS, "demo-worker")
        return bool(there and there["metadata"]["uid"] != deployment["metadata"]["uid"])

    await eventually(back, deadline=240, what="it reconciles again")
    # Watches, too: a resync would not see this one for minutes.
    await space.pool(name="another")
    await space.the(DEPLOYMENTS, "another-worker")
    assert not replica.task.done()


class Process:
    """`muster-operator` as a process of its own."""

    def __init__(self, name: str, plane: Plane, folder: Path) -> None:
        self.name = name
        self.ops_port = free_port()
        environment = {
            "PATH": os.environ["PATH"],
            "KUBECONFIG": str(plane.operator_kubeconfig),
            "POD_NAME": name,
            "POD_NAMESPACE": SYSTEM,
            "MUSTER_COORDINATOR_IMAGE": "c:1",
            "MUSTER_WORKER_IMAGE": "w:1",
            "MUSTER_POSTGRES_IMAGE": "p:1",
            "MUSTER_NATS_IMAGE": "nats:2",
            "MUSTER_OPS_PORT": str(self.ops_port),
            "MUSTER_METRICS_API_PORT": str(free_port()),
            "MUSTER_METRICS_API_SERVICE": SERVICE,
            "MUSTER_METRICS_API_SECRET": SECRET,
        }
        self.log = folder / f"{name}.log"
        with self.log.open("wb") as journal:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "muster_operator"], env=environment, stderr=journal
            )

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    async def end(self) -> int:
        return await asyncio.to_thread(self._process.wait, 120)

    async def ready(self, session: aiohttp.ClientSession) -> bool:
        assert self._process.poll() is None, self.log.read_text()
        try:
            async with session.get(f"http://127.0.0.1:{self.ops_port}/ready") as answer:
                assert answer.status == 200, await answer.text()
        except aiohttp.ClientError as error:
            raise AssertionError(repr(error)) from error
        return True


async def test_a_killed_leader_is_replaced_and_a_stopped_one_leaves_in_order(
    plane: Plane, admin: Cluster, space: Space, tmp_path: Path
) -> None:
    async def led_by(process: Process) -> bool:
        assert await holder(admin) == process.name
        return True

    first = Process("process-1", plane, tmp_path)
    second = None
    try:
        async with aiohttp.ClientSession() as session:
            await eventually(lambda: first.ready(session), what="the first is ready")
            await eventually(lambda: led_by(first), what="the first leads")
            second = Process("process-2", plane, tmp_path)
            await eventually(lambda: second.ready(session), what="the second is ready")
            first.signal(signal.SIGKILL)
            await first.end()
            # Nobody released the lease: it must run out first, 15 seconds.
            await eventually(lambda: led_by(second), deadline=120, what="the second leads")
            await space.pool()
            await space.the(DEPLOYMENTS, "demo-worker")
            second.signal(signal.SIGTERM)
            assert await second.end() == 0
            assert await holder(admin) == "", second.log.read_text()
    finally:
        for process in filter(None, (first, second)):
            process.signal(signal.SIGKILL)
            await process.end()
