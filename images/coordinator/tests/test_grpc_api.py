"""The methods of the worker contract, and the answer to each mistake."""

import hashlib
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from muster_protos import coordinator_pb2 as pb
from muster_protos.coordinator_pb2_grpc import CoordinatorServiceStub

from .harness import Replica
from .workers import Worker, ignore

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]

TASK = "0b7c9a52-3f6e-4d1b-9a64-2f1f0c7e5d11"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def channel(replica: Replica) -> AsyncIterator[grpc.aio.Channel]:
    options = [("grpc.max_send_message_length", 64 << 20)]
    async with grpc.aio.insecure_channel(replica.target, options=options) as opened:
        yield opened


async def _call(channel: grpc.aio.Channel, method: str, request: Message) -> Any:
    call = getattr(CoordinatorServiceStub(channel), method)(request)
    if method in {"ReceiveTasks", "GetProvingKey"}:
        return [answer async for answer in call]
    return await call


async def _refused(
    channel: grpc.aio.Channel, method: str, request: Message
) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await _call(channel, method, request)
    return refused.value.code(), str(refused.value.details())


def _registration(**differing: Any) -> pb.RegisterWorkerRequest:
    fields: dict[str, Any] = {
        "worker_id": "w-0",
        "max_concurrent_tasks": 2,
        "capabilities": {"circuits": "addition"},
        "pool": "demo",
    }
    return pb.RegisterWorkerRequest(**(fields | differing))


async def test_a_worker_registers_and_learns_its_heartbeat(channel: grpc.aio.Channel) -> None:
    answer = await _call(channel, "RegisterWorker", _registration())
    assert answer.success
    assert answer.message == "registered in pool demo"
    assert answer.heartbeat_interval_ms == 5000
    beat = await _call(channel, "SendHeartbeat", pb.HeartbeatRequest(worker_id="w-0"))
    assert (beat.success, beat.known) == (True, True)


async def test_an_unknown_worker_is_told_to_register(channel: grpc.aio.Channel) -> None:
    beat = await _call(channel, "SendHeartbeat", pb.HeartbeatRequest(worker_id="stranger"))
    assert (beat.success, beat.known) == (False, False)


async def test_circuits_of_a_newer_worker_are_left_out(channel: grpc.aio.Channel) -> None:
    request = _registration(capabilities={"circuits": "sudoku, merkle_proof"})
    assert (await _call(channel, "RegisterWorker", request)).success


NAME_RULE = "worker_id is"
TASK_RULE = "task_id is"


@pytest.mark.parametrize(
    ("method", "request_message", "said"),
    [
        ("RegisterWorker", _registration(worker_id=""), NAME_RULE),
        ("RegisterWorker", _registration(worker_id="a/b"), NAME_RULE),
        ("RegisterWorker", _registration(worker_id="w" * 254), NAME_RULE),
        ("RegisterWorker", _registration(worker_id="w\x00"), NAME_RULE),
        (
            "RegisterWorker",
            _registration(max_concurrent_tasks=0),
            "max_concurrent_tasks is 0; allowed: 1 to 1024",
        ),
        (
            "RegisterWorker",
            _registration(max_concurrent_tasks=1025),
            "max_concurrent_tasks is 1025; allowed: 1 to 1024",
        ),
        ("RegisterWorker", _registration(capabilities={}), "capabilities[circuits] is ''"),
        (
            "RegisterWorker",
            _registration(capabilities={"circuits": "sudoku"}),
            "capabilities[circuits] is 'sudoku'; allowed: a comma-separated list of merkle",
        ),
        (
            "RegisterWorker",
            _registration(capabilities={"circuits": "addition", "keys": "addition"}),
            "capabilities[keys] has 'addition'; allowed: comma-separated key_id=version",
        ),
        ("SendHeartbeat", pb.HeartbeatRequest(), NAME_RULE),
        ("ReceiveTasks", pb.ReceiveTasksRequest(worker_id="-"), NAME_RULE),
        ("StartTask", pb.StartTaskRequest(task_id="7", worker_id="w-0"), TASK_RULE),
        ("StartTask", pb.StartTaskRequest(task_id=TASK), NAME_RULE),
        (
            "StartTask",
            pb.StartTaskRequest(task_id=TASK, worker_id="w-0", generation=-1),
            "generation is -1; allowed: 0 or more",
        ),
        (
            "ReportCompletion",
            pb.TaskCompletionRequest(task_id=TASK, worker_id="w-0"),
            "proof_data is empty",
        ),
        (
            "ReportCompletion",
            pb.TaskCompletionRequest(
                task_id=TASK, worker_id="w-0", proof_data=b"x", proof_metadata_json=b"[]"
            ),
            "proof_metadata_json is a JSON list; allowed: a JSON object, or nothing",
        ),
        (
            "ReportCompletion",
            pb.TaskCompletionRequest(
                task_id=TASK, worker_id="w-0", proof_data=b"x", proof_metadata_json=b"{"
            ),
            "proof_metadata_json is 1 bytes that are no JSON",
        ),
        (
            "ReportCompletion",
            pb.TaskCompletionRequest(
                task_id=TASK, worker_id="w-0", proof_data=b"x", proof_metadata_json=b"[" * 99
            ),
            "proof_metadata_json is 99 bytes with more than 64 brackets",
        ),
        (
            "ReportCompletion",
            pb.TaskCompletionRequest(
                task_id=TASK, worker_id="w-0", proof_data=b"x", duration_ms=-1
            ),
            "duration_ms is -1; allowed: 0 to 604800000",
        ),
        ("ReportCompletion", pb.TaskCompletionRequest(worker_id="w-0"), TASK_RULE),
        ("ReportFailure", pb.TaskFailureRequest(worker_id="w-0"), TASK_RULE),
        ("ReleaseTask", pb.ReleaseTaskRequest(worker_id="w-0"), TASK_RULE),
        ("DeregisterWorker", pb.DeregisterWorkerRequest(), NAME_RULE),
        ("GetWorkerStats", pb.GetWorkerStatsRequest(), NAME_RULE),
        ("GetProvingKey", pb.GetProvingKeyRequest(), "key_id is ''; allowed: one that"),
    ],
)
async def test_each_mistake_has_its_sentence(
    channel: grpc.aio.Channel, method: str, request_message: Message, said: str
) -> None:
    code, details = await _refused(channel, method, request_message)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert details.startswith(said)


@pytest.mark.parametrize(
    ("method", "request_message", "said"),
    [
        ("RegisterWorker", _registration(pool="other"), "pool is 'other'; served here: demo"),
        ("ReceiveTasks", pb.ReceiveTasksRequest(worker_id="x"), "worker x: unknown; register"),
        ("DeregisterWorker", pb.DeregisterWorkerRequest(worker_id="x"), "worker x: unknown"),
        ("GetWorkerStats", pb.GetWorkerStatsRequest(worker_id="x"), "worker x: unknown"),
        ("StartTask", pb.StartTaskRequest(task_id=TASK, worker_id="w"), f"task {TASK}: there is"),
        (
            "ReportCompletion",
            pb.TaskCompletionRequest(task_id=TASK, worker_id="w", proof_data=b"x"),
            f"task {TASK}: there is none",
        ),
        (
            "ReportFailure",
            pb.TaskFailureRequest(task_id=TASK, worker_id="w"),
            f"task {TASK}: there is none",
        ),
        (
            "ReleaseTask",
            pb.ReleaseTaskRequest(task_id=TASK, worker_id="w"),
            f"task {TASK}: there is none",
        ),
        ("ListKeys", pb.ListKeysRequest(pool="other"), "pool is 'other'; served here: demo"),
        (
            "GetProvingKey",
            pb.GetProvingKeyRequest(key_id="k", version="v"),
            "key k v: there is none",
        ),
    ],
)
async def test_what_is_unknown_is_not_found(
    channel: grpc.aio.Channel, method: str, request_message: Message, said: str
) -> None:
    code, details = await _refused(channel, method, request_message)
    assert code is grpc.StatusCode.NOT_FOUND
    assert details.startswith(said)


async def test_reports_on_a_task_of_another_worker_are_fenced(
    replica: Replica, channel: grpc.aio.Channel
) -> None:
    async with Worker(replica.target, "w-owner", ignore) as owner:
        task = await owner.got(await replica.add())
        mine: dict[str, Any] = {
            "task_id": task.task_id,
            "worker_id": "w-thief",
            "generation": task.generation,
        }
        for method, request in (
            ("StartTask", pb.StartTaskRequest(**mine)),
            ("ReportCompletion", pb.TaskCompletionRequest(proof_data=b"x", **mine)),
            ("ReportFailure", pb.TaskFailureRequest(error_message="x", **mine)),
            ("ReleaseTask", pb.ReleaseTaskRequest(**mine)),
        ):
            code, details = await _refused(channel, method, request)
            assert code is grpc.StatusCode.FAILED_PRECONDITION
            assert "worker w-thief is not its assignment" in details
        assert (await owner.complete(task)).success


async def test_a_failure_without_words_gets_some(replica: Replica) -> None:
    async with Worker(replica.target, "w-silent", ignore) as worker:
        task_id = await replica.add()
        await worker.fail(await worker.got(task_id), "\x00", transient=False)
        assert (await replica.ends(task_id))["error"] == "the worker gave no reason"


async def test_stats_count_what_a_worker_has_done(replica: Replica) -> None:
    async with Worker(replica.target, "w-stats") as worker:
        for task_id in [await replica.add() for _ in range(3)]:
            await replica.ends(task_id)
        request = pb.GetWorkerStatsRequest(worker_id="w-stats")
        stats = await worker.stub.GetWorkerStats(request)
    assert (stats.tasks_completed, stats.total_duration_ms) == (3, 3)
    assert stats.average_duration_ms == 1.0


async def test_keys_are_listed_and_fetched_whole(channel: grpc.aio.Channel) -> None:
    listed = await _call(channel, "ListKeys", pb.ListKeysRequest(pool="demo"))
    [key] = listed.keys
    assert key.key_id == "addition-poseidon@bn254"
    request = pb.GetProvingKeyRequest(key_id=key.key_id, version=key.version)
    data = b"".join(chunk.data for chunk in await _call(channel, "GetProvingKey", request))
    assert len(data) == key.size_bytes
    assert hashlib.sha256(data).hexdigest() == key.proving_key_sha256


async def test_a_message_of_more_than_10_mb_is_refused(channel: grpc.aio.Channel) -> None:
    request = pb.TaskCompletionRequest(
        task_id=TASK, worker_id="w-0", proof_data=bytes(10 * 1024 * 1024)
    )
    code, _ = await _refused(channel, "ReportCompletion", request)
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_a_newer_stream_of_a_worker_ends_the_older_one(replica: Replica) -> None:
    async with Worker(replica.target, "w-twice", ignore):
        older = grpc.aio.insecure_channel(replica.target)
        stub: Any = CoordinatorServiceStub(older)
        first = stub.ReceiveTasks(pb.ReceiveTasksRequest(worker_id="w-twice"))
        await first.initial_metadata()
        second = stub.ReceiveTasks(pb.ReceiveTasksRequest(worker_id="w-twice"))
        await second.initial_metadata()
        assert [task async for task in first] == []
        assert await first.code() is grpc.StatusCode.OK
        second.cancel()
        await older.close()


async def test_health_and_reflection_are_served(channel: grpc.aio.Channel) -> None:
    stub = health_pb2_grpc.HealthStub(channel)
    for service in ("", "coordinator.CoordinatorService"):
        answer = await stub.Check(health_pb2.HealthCheckRequest(service=service))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        watch = stub.Watch(health_pb2.HealthCheckRequest(service=service))
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        watch.cancel()
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.Check(health_pb2.HealthCheckRequest(service="other"))
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND
    reflection = reflection_pb2_grpc.ServerReflectionStub(channel)

    async def asking() -> AsyncIterator[Any]:
        yield reflection_pb2.ServerReflectionRequest(list_services="")

    answers = [answer async for answer in reflection.ServerReflectionInfo(asking())]
    names = {service.name for service in answers[0].list_services_response.service}
    assert "coordinator.CoordinatorService" in names
