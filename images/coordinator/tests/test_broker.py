"""Workers over NATS end in the same calls of the engine as workers over gRPC."""

import asyncio
import base64
import contextlib
import hashlib
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import nats
import pytest
import pytest_asyncio
from nats.aio.client import Client

from muster_broker.messages import Ask
from muster_coordinator.engine.model import Requirement
from muster_coordinator.engine.states import State
from muster_coordinator.store.database import Database
from muster_testing.nats import NatsServer
from muster_testing.postgres import PostgresServer
from muster_testing.waiting import eventually

from .broker_parts import Owner, brokered
from .broker_worker import BrokerWorker, Document, envelope, ignore
from .harness import Replica, made_key, rows, serving

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]


class Stage:
    """A coordinator, its broker and database, shared by the tests of this module."""

    def __init__(self, replica: Replica, server: NatsServer, owner: Owner, dsn: str) -> None:
        self.replica = replica
        self.server = server
        self.owner = owner
        self.dsn = dsn

    async def all_taken(self) -> None:
        """Wait until JetStream keeps no event: each is acknowledged after its answer."""

        async def probe() -> bool:
            return await kept(self.server, "MUSTER_EVENTS") == 0

        await eventually(probe, what="no event waits")


async def kept(server: NatsServer, stream: str) -> int:
    async with stranger(server) as client:
        return int((await client.jetstream().stream_info(stream)).state.messages)


@contextlib.asynccontextmanager
async def stranger(server: NatsServer) -> AsyncIterator[Client]:
    client = await nats.connect(server.url)
    try:
        yield client
    finally:
        await client.close()


@pytest.fixture(scope="module")
def server() -> Iterator[NatsServer]:
    with NatsServer() as started:
        yield started


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(
    postgres: PostgresServer, server: NatsServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Stage]:
    dsn = await postgres.create_database()
    home: Path = tmp_path_factory.mktemp("broker")
    # Its worker is never silent, however slow all of this is.
    document = brokered(server, heartbeat_timeout="10m")
    circuits = [{"name": "addition"}]
    document["proving"] = {
        "pools": [{"name": "proofs", "insecure_setup": True, "circuits": circuits}]
    }
    async with serving(dsn, document, home) as replica, Database(dsn) as database:

        async def connected() -> bool:
            ready = (await replica.ops.get("/ready")).json()
            return bool(ready["dependencies"]["broker"] == "connected")

        await eventually(connected, what="the broker is connected")
        yield Stage(replica, server, Owner(dsn, database), dsn)


@pytest_asyncio.fixture(loop_scope="module")
async def idle(stage: Stage) -> AsyncIterator[BrokerWorker]:
    """A worker that does nothing by itself."""
    async with BrokerWorker(stage.server, "w-idle", ignore) as worker:
        yield worker
        await worker.leave()


def claim(work: Document) -> Document:
    return {key: work[key] for key in ("workload_id", "generation")}


async def test_work_goes_out_and_its_result_comes_back(stage: Stage) -> None:
    async with BrokerWorker(stage.server, "pod-7.ns") as worker:
        [one] = await stage.owner.submit(input=b'{"a": 1}')
        done = await stage.owner.reaches(one, State.COMPLETED)
        work = await worker.told("workload.assign")
        await worker.leave()
    assert done.result is not None
    assert done.result.output == b'{"by": "pod-7.ns"}'
    assert done.worker_id == "pod-7.ns"
    assert work["type"] == "echo"
    assert json.loads(work["input"]) == {"a": 1}
    assert work["attempt"] == 1
    query = "SELECT event FROM audit WHERE workload_id = $1 ORDER BY seq"
    assert [event for (event,) in await rows(stage.dsn, query, one)] == [
        "workload.submitted",
        "workload.scheduled",
        "workload.started",
        "workload.completed",
    ]
    await stage.all_taken()


async def test_a_worker_that_nobody_knows_is_told_so(idle: BrokerWorker) -> None:
    assert (await idle.ask("worker.heartbeat", {"active_tasks": 0}))["outcome"] == "accepted"
    beat = envelope("w-ghost", "worker.heartbeat", {})
    answer = (await idle.request(beat, "worker.w-ghost.status"))["payload"]
    assert answer["outcome"] == "not_found"
    assert "register first" in answer["message"]


async def test_a_worker_that_left_is_not_asked_back(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    async with BrokerWorker(stage.server, "w-leaves", ignore) as worker:
        await worker.leave()

        def ended() -> bool:
            return ("session ended", worker.name) in {
                (record.getMessage(), vars(record).get("worker_id")) for record in caplog.records
            }

        await eventually(ended, what="its session ended")
        # Comes after all that was said to it before.
        assert (await worker.ask("worker.heartbeat"))["outcome"] == "not_found"
        assert worker.commands == []


async def test_a_transient_failure_goes_elsewhere_and_a_permanent_one_ends_it(
    stage: Stage, idle: BrokerWorker
) -> None:
    [one] = await stage.owner.submit()
    work = await idle.told("workload.assign")
    await idle.report("workload.failed", claim(work) | {"error_message": "no luck"})
    assert (await stage.owner.events([one], "workload.retried"))[one] == 1
    again = await idle.told("workload.assign", 2)
    assert again["generation"] == work["generation"] + 1
    assert again["attempt"] == 2
    broken = {"error_message": "it is broken", "error_type": "permanent"}
    assert (await idle.report("workload.failed", claim(again) | broken))["outcome"] == "accepted"
    failed = await stage.owner.reaches(one, State.FAILED)
    assert failed.error is not None
    assert "it is broken" in failed.error


async def test_what_is_said_on_the_way_is_kept(stage: Stage, idle: BrokerWorker) -> None:
    [one] = await stage.owner.submit()
    work = claim(await idle.told("workload.assign"))
    await idle.report("workload.ack", work)
    await idle.report("workload.progress", work | {"percent": 40, "message": "half"})
    line = {"at_ms": 1_700_000_000_000, "level": "warning", "message": "odd"}
    await idle.report("workload.log", work | {"lines": [line]})
    running = await stage.owner.reaches(one, State.RUNNING)
    assert (running.progress_percent, running.progress_message) == (40, "half")
    logged = await rows(stage.dsn, "SELECT level, message FROM logs WHERE workload_id = $1", one)
    assert logged == [("warning", "odd")]
    await idle.report("workload.released", work | {"reason": "enough"})
    await stage.owner.store.cancel(one, "default")


async def test_a_pause_keeps_what_to_go_on_from(stage: Stage, idle: BrokerWorker) -> None:
    [one] = await stage.owner.submit()
    work = claim(await idle.told("workload.assign"))
    await idle.report("workload.ack", work)
    await stage.owner.store.pause(one, "default")
    assert claim(await idle.told("workload.pause")) == work
    state = base64.b64encode(b"\x00half").decode()
    await idle.report("workload.paused", work | {"data": state})
    await stage.owner.reaches(one, State.PAUSED)
    await stage.owner.store.resume(one, "default")
    again = await idle.told("workload.assign", 2)
    assert again["checkpoint"] == state
    await idle.report("workload.completed", claim(again) | {"output": "{}"})
    await stage.owner.reaches(one, State.COMPLETED)


async def test_a_cancelled_worker_is_told_and_its_report_refused(
    stage: Stage, idle: BrokerWorker
) -> None:
    [one] = await stage.owner.submit()
    work = claim(await idle.told("workload.assign"))
    await idle.report("workload.ack", work)
    await stage.owner.store.cancel(one, "default")
    assert claim(await idle.told("workload.cancel")) == work
    answer = await idle.report("workload.completed", work | {"output": "{}"})
    assert answer["outcome"] == "fenced"
    await stage.owner.reaches(one, State.CANCELLED)


async def test_a_draining_worker_gets_nothing_more(stage: Stage, idle: BrokerWorker) -> None:
    assert (await idle.ask("worker.drain"))["outcome"] == "accepted"
    await idle.told("worker.drain")
    status = "SELECT status FROM workers WHERE id = $1"
    assert await rows(stage.dsn, status, idle.name) == [("DRAINING",)]


async def test_copies_of_a_message_change_nothing(stage: Stage, idle: BrokerWorker) -> None:
    [one] = await stage.owner.submit()
    work = claim(await idle.told("workload.assign"))
    line = {"at_ms": 1, "level": "info", "message": "once"}
    said = envelope(idle.name, "workload.log", work | {"lines": [line]})
    for copy in range(4):
        await idle.send(said, copy)
        await idle.answered(said)
        del idle.answers[said["message_id"]]
    counted = "SELECT count(*) FROM logs WHERE workload_id = $1"
    assert await rows(stage.dsn, counted, one) == [(1,)]
    done = envelope(idle.name, "workload.completed", work | {"output": "{}"})
    for copy in range(4):
        await idle.send(done, copy)
    assert (await idle.answered(done))["outcome"] == "accepted"
    await stage.owner.all_completed([one])


async def test_a_copy_with_another_id_changes_nothing_either(
    stage: Stage, idle: BrokerWorker
) -> None:
    [one] = await stage.owner.submit()
    work = claim(await idle.told("workload.assign"))
    for _ in range(3):
        answer = await idle.report("workload.completed", work | {"output": "{}"})
        assert answer["outcome"] == "accepted"
    await stage.owner.all_completed([one])


async def test_the_order_of_reports_does_not_matter(stage: Stage, idle: BrokerWorker) -> None:
    [one] = await stage.owner.submit()
    work = claim(await idle.told("workload.assign"))
    answer = await idle.report("workload.completed", work | {"output": "{}"})
    assert answer["outcome"] == "accepted"
    late = [
        await idle.report("workload.ack", work),
        await idle.report("workload.progress", work | {"percent": 50}),
        await idle.report("workload.failed", work | {"error_message": "too late"}),
    ]
    assert {answer["outcome"] for answer in late} == {"fenced"}
    await stage.owner.all_completed([one])


BAD: dict[str, Any] = {
    "no JSON": b"\xff\x00{",
    "no object": b"[1, 2]",
    "nested": b"[" * 50_000,
    "no sender": {"sender_id": None},
    "no name": {"sender_id": "a b"},
    "from a coordinator": {"sender_type": "coordinator"},
    "unknown type": {"type": "workload.explode"},
    "no such workload": {"payload": {"workload_id": "7", "generation": 1}},
    "no payload": {"payload": None},
    "wrong field": {"type": "workload.progress", "payload": {"workload_id": "x", "percent": "a"}},
    "wrong bytes": {"type": "workload.checkpoint", "payload": {"workload_id": "x", "data": "%"}},
}


@pytest.mark.parametrize("what", BAD)
async def test_a_bad_message_is_set_aside_and_blocks_nothing(
    stage: Stage, idle: BrokerWorker, what: str
) -> None:
    bad = BAD[what]
    if isinstance(bad, dict):
        bad = json.dumps(envelope(idle.name, "workload.ack", {}) | bad).encode()
    before = await kept(stage.server, "MUSTER_DEAD_LETTERS")
    async with stranger(stage.server) as client:
        await client.jetstream().publish("coordinator.events", bad)
        unknown = {"workload_id": "00000000-0000-0000-0000-000000000000", "generation": 1}
        assert (await idle.report("workload.ack", unknown))["outcome"] == "not_found"

        async def buried() -> bool:
            return await kept(stage.server, "MUSTER_DEAD_LETTERS") == before + 1

        await eventually(buried, what="it is set aside")
        letter = await client.jetstream().get_last_msg(
            "MUSTER_DEAD_LETTERS", "coordinator.dead-letters"
        )
    assert letter.data == bad
    assert letter.headers is not None
    assert letter.headers["Muster-Error"]
    await stage.all_taken()


async def test_the_sender_of_a_bad_message_is_told(stage: Stage, idle: BrokerWorker) -> None:
    answer = await idle.report("workload.progress", {"workload_id": "x", "percent": 200})
    assert answer["outcome"] == "rejected"
    assert answer["message"].startswith("payload.percent is 200; allowed: ")


async def test_one_worker_can_not_speak_for_another(stage: Stage, idle: BrokerWorker) -> None:
    asked = envelope("somebody-else", "worker.leave", {})
    answer = (await idle.request(asked, f"worker.{idle.name}.status"))["payload"]
    assert answer["outcome"] == "rejected"
    assert "'w-idle', whose subject it is" in answer["message"]
    assert (await idle.ask("worker.heartbeat"))["outcome"] == "accepted"


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        ({"capacity": 0}, "payload.capacity is 0; allowed: "),
        ({"types": []}, "payload.types is "),
        ({"pool": "nowhere"}, "pool is 'nowhere'; served here: "),
        ({"holding": [{"workload_id": "7", "generation": 1}]}, "payload.workload_id is '7'"),
    ],
)
async def test_a_wrong_registration_says_what_is_wrong(
    idle: BrokerWorker, payload: Document, said: str
) -> None:
    good = {"pool": "general", "capacity": 1, "types": ["echo"]}
    answer = await idle.ask("worker.register", good | payload)
    assert answer["outcome"] in {"rejected", "not_found"}
    assert answer["message"].startswith(said)


async def test_an_unknown_request_lists_what_may_be_asked(idle: BrokerWorker) -> None:
    answer = await idle.ask("worker.dance")
    assert answer["outcome"] == "rejected"
    assert all(kind in answer["message"] for kind in Ask)


async def test_proving_keys_come_over_the_broker(stage: Stage, idle: BrokerWorker) -> None:
    [key] = (await idle.ask("keys.list", {"pool": "proofs"}))["keys"]
    made = made_key()
    assert (key["key_id"], key["version"]) == (made.spec.key_id, made.version)
    async with stranger(stage.server) as client:
        inbox = client.new_inbox()
        found = await client.subscribe(inbox)
        asked = envelope(idle.name, "keys.get", {name: key[name] for name in ("key_id", "version")})
        await client.publish(f"worker.{idle.name}.status", json.dumps(asked).encode(), inbox)
        answer = json.loads((await found.next_msg(60)).data)
        assert answer["payload"]["outcome"] == "accepted"
        data = b""
        while chunk := (await found.next_msg(60)).data:
            data += chunk
    assert len(data) == key["size_bytes"]
    assert hashlib.sha256(data).hexdigest() == key["proving_key_sha256"]


async def test_a_key_that_is_not_there(idle: BrokerWorker) -> None:
    answer = await idle.ask("keys.get", {"key_id": "none", "version": "none"})
    assert answer["outcome"] == "not_found"


async def test_work_that_the_broker_can_not_carry_fails_with_a_reason(
    stage: Stage, idle: BrokerWorker
) -> None:
    large = json.dumps("x" * 9_000_000).encode()
    [one] = await stage.owner.submit(input=large, max_retries=0)
    failed = await stage.owner.reaches(one, State.FAILED)
    assert failed.error is not None
    assert "larger than the" in failed.error


async def test_work_of_other_types_is_not_given(stage: Stage, idle: BrokerWorker) -> None:
    [other] = await stage.owner.submit(requirement=Requirement("general", "dig"))
    [mine] = await stage.owner.submit()
    assert (await idle.told("workload.assign"))["workload_id"] == str(mine)
    await stage.owner.reaches(other, State.PENDING)
    await stage.owner.store.cancel(other, "default")
    await stage.owner.store.cancel(mine, "default")


async def test_readiness_tells_of_a_broker_that_is_away(stage: Stage) -> None:
    async def seen() -> tuple[int, str, str, float]:
        ready = await stage.replica.ops.get("/ready")
        health = (await stage.replica.ops.get("/health")).json()
        gauge = await stage.replica.metric("coordinator_broker_connected")
        return ready.status_code, ready.json()["dependencies"]["broker"], health["status"], gauge

    async def well() -> bool:
        return await seen() == (200, "connected", "healthy", 1)

    await eventually(well, what="the broker is there")
    await asyncio.to_thread(stage.server.stop)

    async def away() -> bool:
        return await seen() == (200, "disconnected", "degraded", 0)

    await eventually(away, what="the outage shows")
    await asyncio.to_thread(stage.server.start)
    await eventually(well, what="the broker is back")


async def test_messages_are_counted(stage: Stage, idle: BrokerWorker) -> None:
    line = 'coordinator_broker_messages_total{outcome="not_found",type="workload.ack"}'
    before = await stage.replica.metric(line)
    unknown = {"workload_id": "00000000-0000-0000-0000-000000000000"}
    await idle.report("workload.ack", unknown)

    async def counted() -> bool:
        # It is said again where the answer is late.
        return await stage.replica.metric(line) >= before + 1

    await eventually(counted, what="the message is counted")
    never = 'coordinator_broker_messages_total{outcome="later",type="workload.paused"}'
    assert await stage.replica.metric(never) == 0
