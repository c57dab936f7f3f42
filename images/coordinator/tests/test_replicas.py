"""Two replicas as processes of their own, and what happens when one goes."""

import asyncio
import contextlib
import functools
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from muster_coordinator import app
from muster_coordinator.store.database import Database, Limits
from muster_coordinator.store.leadership import PostgresLeadership
from muster_protos import coordinator_pb2 as pb
from muster_protos.coordinator_pb2_grpc import CoordinatorServiceStub
from muster_testing.apiserver import ControlPlane
from muster_testing.postgres import PostgresServer
from muster_testing.waiting import eventually

from .harness import Process, Replica, prepare, process, rows, serving, settings
from .workers import Worker, ignore

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def restartable() -> Iterator[PostgresServer]:
    """A server that nobody else uses; one with many databases takes long to recover."""
    with PostgresServer() as server:
        yield server


class Pair:
    """Two replicas on one database."""

    def __init__(self, processes: dict[str, Process], replicas: dict[str, Replica]) -> None:
        self.processes = processes
        self.replicas = replicas

    async def leader(self) -> str:
        """The name of the replica that leads."""

        async def probe() -> str | None:
            for name, replica in self.replicas.items():
                if self.processes[name].process.poll() is not None:
                    continue
                if (await replica.ops.get("/ready")).json()["is_leader"]:
                    return name
            return None

        leader: str = await eventually(probe, what="one of the replicas leads")
        return leader

    async def follower(self) -> str:
        """The name of the other one."""
        leader = await self.leader()
        return next(name for name in self.replicas if name != leader)


@contextlib.asynccontextmanager
async def pair(dsn: str, tmp_path: Path, **coordinator: Any) -> AsyncIterator[Pair]:
    """Two ready replicas while the context is open."""
    await prepare(dsn)
    with contextlib.ExitStack() as stack:
        processes = {
            name: stack.enter_context(
                process(dsn, settings(**{"id": name} | coordinator), tmp_path / name)
            )
            for name in ("c-0", "c-1")
        }
        replicas = {name: await one.serving() for name, one in processes.items()}
        try:
            yield Pair(processes, replicas)
        finally:
            for replica in replicas.values():
                await replica.close()


async def test_a_follower_takes_submissions_reports_and_streams(dsn: str, tmp_path: Path) -> None:
    async with serving(dsn, settings(id="c-0"), tmp_path) as leader:
        await leader.leads()
        async with serving(dsn, settings(id="c-1"), tmp_path) as follower:
            await _a_pair_serves(leader, follower)


async def _a_pair_serves(leader: Replica, follower: Replica) -> None:
    for replica in (leader, follower):
        ready = (await replica.ops.get("/ready")).json()
        assert ready["is_leader"] is (replica is leader)
        await eventually(functools.partial(_sees_leader, replica, "c-0"))
    async with Worker(follower.target, "w-0"):
        task = await follower.ends(await follower.add())
        assert task["status"] == "completed"
        assert await leader.task(task["task_id"]) == task
    assert (await follower.ops.get("/queue")).json()["epoch"] == 1


async def _sees_leader(replica: Replica, leader: str) -> bool:
    return bool((await replica.ops.get("/queue")).json()["leader"] == leader)


async def test_every_task_completes_once_when_the_leader_is_killed(
    dsn: str, tmp_path: Path
) -> None:
    async with pair(dsn, tmp_path) as both:
        leader, follower = await both.leader(), await both.follower()
        survivor = both.replicas[follower]
        async with (
            Worker(survivor.target, "w-0"),
            Worker(both.replicas[leader].target, "w-1") as cut_off,
        ):
            before = [await both.replicas[leader].add(i, 1) for i in range(15)]
            await survivor.ends(before[3])
            both.processes[leader].send(signal.SIGKILL)
            assert await both.processes[leader].exit_status() == -signal.SIGKILL
            after = [await survivor.add(i, 2) for i in range(15)]
            cut_off.connect(survivor.target)
            for task_id in [*before, *after]:
                assert (await survivor.ends(task_id))["status"] == "completed"
        assert await both.leader() == follower
        assert (await survivor.ops.get("/queue")).json()["epoch"] == 2
    assert await rows(dsn, "SELECT count(*), count(DISTINCT workload_id) FROM results") == [
        (30, 30)
    ]
    ended = (
        "SELECT count(*), count(DISTINCT workload_id) FROM audit WHERE event = 'workload.completed'"
    )
    assert await rows(dsn, ended) == [(30, 30)]


async def test_what_runs_outlives_the_graceful_stop_of_its_replica(
    dsn: str, tmp_path: Path
) -> None:
    async def begin_one(worker: Worker, task: pb.TaskAssignment) -> None:
        if task is worker.tasks[0]:
            await worker.start(task)

    # All that is left to note is noted, however slow that is.
    async with pair(dsn, tmp_path, drain_timeout="60s") as both:
        leader, follower = await both.leader(), await both.follower()
        survivor = both.replicas[follower]
        async with Worker(both.replicas[leader].target, "w-0", begin_one, capacity=1) as worker:
            running = await survivor.add(1, 1)
            await survivor.reaches(running, "in_progress")
            ahead = await survivor.add(2, 2)
            await survivor.reaches(ahead, "assigned")
            asked = asyncio.Event()
            polling = asyncio.create_task(_poll(both.replicas[leader], running, asked))
            await asked.wait()
            held = await worker.got(running)
            both.processes[leader].send(signal.SIGTERM)
            worker.connect(survivor.target)
            # Its heartbeats keep what it runs, however long the other takes to stop.
            async with worker.beating():
                # A long poll is answered with what is known, not cut off.
                assert (await polling).json()["status"] == "in_progress"
                assert await both.processes[leader].exit_status() == 0
                async with Worker(survivor.target, "w-0", capacity=1) as again:
                    assert (await worker.complete(held)).success
                    task = await survivor.ends(ahead)
                    assert (await again.got(ahead)).generation == 2
        assert (task["status"], task["retry_count"]) == ("completed", 0)
        found = await survivor.task(running)
        assert (found["status"], found["retry_count"]) == ("completed", 0)
        assert await both.leader() == follower
        assert both.processes[leader].said("stopped")
    assert await rows(dsn, "SELECT id FROM replicas") == [(follower,)]
    generation = "SELECT generation FROM results WHERE workload_id = $1"
    assert await rows(dsn, generation, running) == [(1,)]


async def _poll(replica: Replica, task_id: str, asked: asyncio.Event) -> httpx.Response:
    """A long poll; `asked` is set as soon as all of its request is on its way."""

    async def trace(event: str, _about: object) -> None:
        if event == "http11.send_request_body.complete":
            asked.set()

    return await replica.http.get(
        f"/api/v1/tasks/{task_id}", params={"wait": "20s"}, extensions={"trace": trace}
    )


async def test_a_new_pool_comes_with_new_replicas_though_an_older_one_leads(
    dsn: str, tmp_path: Path
) -> None:
    """The old leader knows no key of it, and leaves only once its successor is ready."""
    await prepare(dsn)
    new = settings(id="c-new")
    circuit = {"name": "merkle", "curve": "bn254", "size": 4}
    new["proving"]["pools"].append({"name": "later", "insecure_setup": True, "circuits": [circuit]})
    with process(dsn, settings(id="c-old"), tmp_path / "old") as old:
        await (await (await old.serving()).leads()).close()
        with process(dsn, new, tmp_path / "new") as successor:
            replica = await successor.serving()
            ready = (await replica.ops.get("/ready")).json()
            assert ready["dependencies"]["keys"] == "missing: later/merkle-4-poseidon@bn254"
            old.send(signal.SIGTERM)
            assert await old.exit_status() == 0

            async def loaded() -> bool:
                found = (await replica.ops.get("/ready")).json()
                return bool(found["is_leader"] and found["dependencies"]["keys"] == "loaded")

            await eventually(loaded, deadline=60, what="the new leader has made the key")
            await replica.close()


async def test_streams_of_a_killed_replica_end(dsn: str, tmp_path: Path) -> None:
    """Nobody is there to note it, and the worker lives: the leader notices the silence."""
    async with pair(dsn, tmp_path) as both:
        leader, follower = await both.leader(), await both.follower()
        survivor = both.replicas[leader]
        async with Worker(both.replicas[follower].target, "w-0", ignore) as worker:
            task_id = await survivor.add()
            await survivor.reaches(task_id, "assigned")
            both.processes[follower].send(signal.SIGKILL)
            worker.connect(survivor.target)
            await survivor.reaches(task_id, "pending")
            async with Worker(survivor.target, "w-1"):
                task = await survivor.ends(task_id)
                assert (task["status"], task["worker_id"]) == ("completed", "w-1")


async def test_replicas_of_a_cluster_elect_by_lease(
    dsn: str, tmp_path: Path, apiserver: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(apiserver.kubeconfig))

    def by_lease(name: str) -> dict[str, Any]:
        document = settings(id=name)
        lease = {"backend": "lease", "lease_name": "demo-coordinator", "namespace": "default"}
        # On a slow machine it may not be given back in time, and ends by itself.
        times = {"lease_duration": "10s", "renew_deadline": "7s"}
        return document | {"leader_election": document["leader_election"] | lease | times}

    async with serving(dsn, by_lease("c-1"), tmp_path) as second:
        await eventually(functools.partial(_sees_leader, second, "c-1"))
        async with serving(dsn, by_lease("c-0"), tmp_path) as first:
            await eventually(functools.partial(_sees_leader, first, "c-1"))
            before = (await first.ops.get("/queue")).json()["epoch"]
    async with serving(dsn, by_lease("c-0"), tmp_path) as first:
        await eventually(functools.partial(_sees_leader, first, "c-0"))
        # On a slow machine a leader may lose its Lease and win it again.
        assert (await first.ops.get("/queue")).json()["epoch"] > before
        async with Worker(first.target, "w-0"):
            assert (await first.ends(await first.add()))["status"] == "completed"


async def test_a_leader_that_was_followed_without_knowing_leaves_a_trace(
    dsn: str, tmp_path: Path
) -> None:
    async with serving(dsn, settings(), tmp_path) as replica:
        await replica.leads()
        async with Database(dsn) as database:
            epoch, _ = await PostgresLeadership(database).take_epoch("intruder")
        assert epoch == 2

        async def leads_again() -> bool:
            return bool((await replica.ops.get("/queue")).json()["epoch"] == 3)

        await eventually(leads_again, what="it was elected again")
        assert await replica.metric('coordinator_fenced_writes_total{kind="epoch"}') == 1
        async with Worker(replica.target, "w-0"):
            assert (await replica.ends(await replica.add()))["status"] == "completed"
    traces = "SELECT actor, epoch, reason FROM audit WHERE event = 'leader.fenced'"
    assert await rows(dsn, traces) == [("leader:c-0", 1, "epoch 2 of intruder is newer")]


async def test_nothing_acknowledged_is_lost_when_postgresql_restarts(
    restartable: PostgresServer, tmp_path: Path
) -> None:
    dsn = await restartable.create_database()
    acknowledged: list[str] = []
    refused: list[int] = []

    async def submit(replica: Replica, client: int, until: asyncio.Event) -> None:
        while not until.is_set():
            answer = await replica.http.post(
                "/api/v1/tasks/addition", json={"a": client, "b": len(acknowledged)}
            )
            if answer.status_code == 202:
                acknowledged.append(answer.json()["task_id"])
            else:
                assert answer.status_code == 503, answer.text
                assert int(answer.headers["Retry-After"]) > 0
                refused.append(answer.status_code)
            await asyncio.sleep(0.02)

    async with (
        serving(dsn, settings(), tmp_path) as replica,
        Worker(replica.target, "w-0", tries=100),
        Worker(replica.target, "w-1", tries=100),
    ):
        until = asyncio.Event()
        clients = [asyncio.create_task(submit(replica, i, until)) for i in range(3)]
        await eventually(lambda: len(acknowledged) > 20)
        await asyncio.to_thread(restartable.restart, "immediate")
        seen = len(acknowledged)
        await eventually(lambda: len(acknowledged) > seen + 20)
        until.set()
        await asyncio.gather(*clients)
        for task_id in acknowledged:
            task = await replica.ends(task_id)
            assert task["status"] == "completed", task
        await replica.ready()
    completed = "SELECT count(DISTINCT workload_id), count(*) FROM results"
    [(tasks, results)] = await rows(dsn, completed)
    assert tasks == results >= len(acknowledged)


async def _heartbeat_code(replica: Replica) -> grpc.StatusCode:
    async with grpc.aio.insecure_channel(replica.target) as channel:
        stub: Any = CoordinatorServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.SendHeartbeat(pb.HeartbeatRequest(worker_id="w-0"))
        return refused.value.code()


async def test_a_replica_says_so_while_its_database_is_away(
    restartable: PostgresServer, tmp_path: Path
) -> None:
    dsn = await restartable.create_database()
    async with serving(dsn, settings(), tmp_path) as replica:
        task_id = await replica.add()
        await asyncio.to_thread(restartable.stop)
        try:
            answer, code = await asyncio.gather(
                replica.http.get(f"/api/v1/tasks/{task_id}"), _heartbeat_code(replica)
            )
            assert code is grpc.StatusCode.UNAVAILABLE
            assert answer.status_code == 503
            assert answer.json()["error"]["code"] == "SERVICE_UNAVAILABLE"
            assert int(answer.headers["Retry-After"]) > 0

            async def not_ready() -> bool:
                return (await replica.ops.get("/ready")).status_code == 503

            await eventually(not_ready)
            health = await replica.ops.get("/health")
            assert (health.status_code, health.json()["status"]) == (200, "degraded")
            assert (await replica.ops.get("/queue")).status_code == 503
        finally:
            await asyncio.to_thread(restartable.start)
        await replica.ready()
        async with Worker(replica.target, "w-0"):
            assert (await replica.ends(task_id))["status"] == "completed"


async def test_a_replica_stops_at_once_where_its_database_has_gone(
    restartable: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it could still note is for others to find out, so nothing is worth waiting for."""
    # For so long each of two things to note would be tried.
    monkeypatch.setattr(app, "Limits", functools.partial(Limits, attempt=600.0))
    dsn = await restartable.create_database()
    async with contextlib.AsyncExitStack() as running:
        last = serving(dsn, settings(drain_timeout="60s"), tmp_path)
        replica = await running.enter_async_context(last)
        async with Worker(replica.target, "w-0", ignore):
            await replica.reaches(await replica.add(), "assigned")
            await asyncio.to_thread(restartable.stop)
            try:
                async with asyncio.timeout(60):
                    await running.aclose()
            finally:
                await asyncio.to_thread(restartable.start)


async def test_a_replica_that_starts_before_its_database_waits_for_it(
    restartable: PostgresServer, tmp_path: Path
) -> None:
    dsn = await restartable.create_database()
    await asyncio.to_thread(restartable.stop)
    with process(dsn, settings(), tmp_path / "c-0") as early:
        try:
            await eventually(lambda: early.said("waiting for the database"))
        finally:
            await asyncio.to_thread(restartable.start)
        replica = await early.serving()
        assert (await replica.ops.get("/ready")).json()["dependencies"] == {
            "database": "connected",
            "keys": "loaded",
        }
        await replica.close()
