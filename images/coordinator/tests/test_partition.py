"""Replicas that see the world otherwise: cut off from it, or with a clock that is wrong."""

import functools
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc
import pytest

from muster_testing.apiserver import ControlPlane
from muster_testing.waiting import eventually

from .blackhole import Network
from .harness import Replica, prepare, process, rows, serving, settings
from .workers import Worker, begin

pytestmark = pytest.mark.integration


def _by_lease(name: str, **times: str) -> dict[str, Any]:
    document = settings(id=name, heartbeat_timeout="3s")
    lease = {"backend": "lease", "lease_name": "cut-coordinator", "namespace": "default"}
    return document | {"leader_election": document["leader_election"] | lease | times}


async def _sees_leader(replica: Replica, leader: str) -> bool:
    return bool((await replica.ops.get("/queue")).json().get("leader") == leader)


async def _ready(replica: Replica, status: int) -> bool:
    return (await replica.ops.get("/ready")).status_code == status


async def test_a_replica_that_is_cut_off_changes_nothing_any_more(
    dsn: str, tmp_path: Path, apiserver: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It leads, and a worker works for it, while neither database nor cluster hear of it."""
    host = urlsplit(dsn)
    async with (
        Network(f"{host.hostname}:{host.port}") as database,
        Network(urlsplit(apiserver.url).netloc) as cluster,
    ):
        far = dsn.replace(f"{host.hostname}:{host.port}", database.target)
        kubeconfig = tmp_path / "kubeconfig"
        known = apiserver.kubeconfig.read_text()
        kubeconfig.write_text(known.replace(apiserver.url, f"https://{cluster.target}"))

        monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
        brief = _by_lease("c-0", lease_duration="3s", renew_deadline="2s")
        async with serving(far, brief, tmp_path) as cut:
            await eventually(functools.partial(_sees_leader, cut, "c-0"))
            monkeypatch.setenv("KUBECONFIG", str(apiserver.kubeconfig))
            async with (
                # It waits as long as the other's Lease lasts, and keeps its own however slow it is.
                serving(dsn, _by_lease("c-1"), tmp_path) as other,
                Worker(cut.target, "w-0", begin, capacity=1) as lonely,
            ):
                task_id = await other.add()
                await other.reaches(task_id, "in_progress")
                held = await lonely.got(task_id)

                database.cut()
                cluster.cut()
                await eventually(functools.partial(_sees_leader, other, "c-1"))
                await eventually(functools.partial(_ready, cut, 503), what="it says so")
                async with Worker(other.target, "w-1"):
                    task = await other.ends(task_id)
                assert (task["status"], task["worker_id"]) == ("completed", "w-1")

                database.mend()
                cluster.mend()

                async def refused() -> bool:
                    with pytest.raises(grpc.aio.AioRpcError) as raised:
                        await lonely.complete(held)
                    if raised.value.code() is grpc.StatusCode.UNAVAILABLE:
                        return False
                    assert raised.value.code() is grpc.StatusCode.FAILED_PRECONDITION
                    return True

                await eventually(refused, what="its worker hears that it is too late")
                await eventually(functools.partial(_sees_leader, cut, "c-1"))
                await eventually(functools.partial(_ready, cut, 200), what="it is back")
                fenced = 'coordinator_fenced_writes_total{kind="generation"}'
                assert await cut.metric(fenced) >= 1
    traces = "SELECT worker_id, generation FROM audit WHERE event = 'report.fenced'"
    assert ("w-0", held.generation) in await rows(dsn, traces)
    done = (
        "SELECT worker_id, generation, epoch IS NULL FROM audit WHERE event = 'workload.completed'"
    )
    [(worker, generation, reported)] = await rows(dsn, done)
    assert (worker, reported) == ("w-1", True)
    assert generation > held.generation
    # On a slow machine a leader may lose its Lease and win it again, and give more than twice.
    given = "SELECT epoch FROM audit WHERE event = 'workload.scheduled' ORDER BY seq"
    epochs = [epoch for (epoch,) in await rows(dsn, given)]
    assert len(epochs) >= 2
    assert epochs == sorted(epochs)


async def test_a_clock_that_is_wrong_changes_nothing(dsn: str, tmp_path: Path) -> None:
    """All times that decide anything are the database's; the leader is two hours ahead of it."""
    await prepare(dsn)
    skewed = process(dsn, settings(id="c-0"), tmp_path / "c-0", skew=2 * 3600)
    right = process(dsn, settings(id="c-1"), tmp_path / "c-1")
    with skewed as wrong:
        leader = await (await wrong.serving()).leads()
        with right as follower:
            other = await follower.serving()
            # In turns, and each waits as long as the one before it.
            ids = [await (leader, other)[number % 2].add(number, 1) for number in range(6)]
            async with Worker(leader.target, "w-0", capacity=1) as worker:
                for task_id in ids:
                    assert (await other.ends(task_id))["status"] == "completed"
            assert [task.task_id for task in worker.tasks] == ids
            await other.close()
        await leader.close()
    lost = "SELECT event, reason FROM audit WHERE after IN ('SUSPECT', 'DEAD', 'PENDING')"
    assert {event for event, _ in await rows(dsn, lost)} == {"workload.submitted"}
    order = "SELECT count(*) FROM workloads WHERE completed_at < created_at"
    assert await rows(dsn, order) == [(0,)]
