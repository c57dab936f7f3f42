"""What KEDA is told about a queue, over a real socket and from a real database."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.protobuf.message import Message

from muster_protos import externalscaler_pb2 as pb
from muster_protos.externalscaler_pb2_grpc import ExternalScalerStub
from muster_testing.postgres import PostgresServer
from muster_testing.waiting import eventually

from .credentials import Certs
from .harness import Replica, serving, settings
from .workers import Worker, begin

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]

POOL = {"scalerAddress": "demo-coordinator.default.svc:9091", "pool": "demo"}
METRIC = "muster_outstanding_tasks"
SERVICE = "/externalscaler.ExternalScaler/"
SECONDS = 60

Call = grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def replica(
    postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Replica]:
    home = tmp_path_factory.mktemp("scaler")
    async with serving(await postgres.create_database(), settings(scaler_port=0), home) as shared:
        yield shared


def _channel(replica: Replica) -> grpc.aio.Channel:
    return grpc.aio.insecure_channel(f"127.0.0.1:{replica.ports.scaler}")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def channel(replica: Replica) -> AsyncIterator[grpc.aio.Channel]:
    async with _channel(replica) as opened:
        yield opened


def _ref(**metadata: str) -> pb.ScaledObjectRef:
    return pb.ScaledObjectRef(
        name="demo-worker", namespace="default", scaler_metadata=POOL | metadata
    )


async def _ask(channel: grpc.aio.Channel, method: str, request: Message) -> Any:
    stub: Any = ExternalScalerStub(channel)
    return await getattr(stub, method)(request, timeout=SECONDS)


async def _tasks(channel: grpc.aio.Channel) -> int:
    request = pb.GetMetricsRequest(scaled_object_ref=_ref(), metric_name=METRIC)
    (value,) = (await _ask(channel, "GetMetrics", request)).metric_values
    assert value.metric_name == METRIC
    assert value.metric_value == value.metric_value_float
    return int(value.metric_value)


async def _numbers(replica: Replica) -> dict[str, int]:
    """What the operator reads."""
    (pool,) = (await replica.ops.get("/queue")).json()["pools"]
    return {state: pool[state] for state in ("pending", "assigned", "in_progress")}


async def test_keda_is_told_what_the_operator_is(postgres: PostgresServer, tmp_path: Path) -> None:
    document = settings(scaler_port=0)
    async with (
        serving(await postgres.create_database(), document, tmp_path) as replica,
        _channel(replica) as channel,
    ):
        assert not (await _ask(channel, "IsActive", _ref())).result
        assert await _tasks(channel) == 0
        stub: Any = ExternalScalerStub(channel)
        activity = aiter(stub.StreamIsActive(_ref(), timeout=SECONDS))
        assert not (await anext(activity)).result
        async with Worker(replica.target, "w-0", begin, capacity=1) as worker:
            # A worker has one beyond its capacity, which waits there.
            ids = [await replica.add() for _ in range(4)]

            async def spread() -> bool:
                numbers = await _numbers(replica)
                assert numbers == {"pending": 2, "assigned": 0, "in_progress": 2}, numbers
                return True

            await eventually(spread, what="two run and two wait")
            assert await _tasks(channel) == 4
            assert (await _ask(channel, "IsActive", _ref())).result
            assert (await anext(activity)).result, "the stream says only what has changed"
            for task_id in ids:
                await worker.complete(await worker.got(task_id))
            for task_id in ids:
                await replica.ends(task_id)
        assert await _tasks(channel) == 0
        assert not (await _ask(channel, "IsActive", _ref())).result
        assert not (await anext(activity)).result
        # The stream is open while the coordinator stops, which does not wait for it.


async def test_the_metric_is_for_as_many_tasks_as_the_trigger_says(
    channel: grpc.aio.Channel,
) -> None:
    answer = await _ask(channel, "GetMetricSpec", _ref(targetTasksPerWorker="4"))
    (spec,) = answer.metric_specs
    assert (spec.metric_name, spec.target_size, spec.target_size_float) == (METRIC, 4, 4.0)


@pytest.mark.parametrize(
    ("method", "request_message", "said"),
    [
        (
            "IsActive",
            _ref(pool="other"),
            "scalerMetadata.pool is 'other'; allowed: demo",
        ),
        ("IsActive", pb.ScaledObjectRef(), "scalerMetadata.pool is ''; allowed: demo"),
        (
            "GetMetrics",
            pb.GetMetricsRequest(scaled_object_ref=_ref(pool=""), metric_name=METRIC),
            "scalerMetadata.pool is ''; allowed: demo",
        ),
        (
            "GetMetrics",
            pb.GetMetricsRequest(scaled_object_ref=_ref(), metric_name="s0-x"),
            f"metricName is 's0-x'; allowed: {METRIC}",
        ),
        (
            "GetMetricSpec",
            _ref(pool="x", targetTasksPerWorker="1"),
            "scalerMetadata.pool is 'x'; allowed: demo",
        ),
        *(
            (
                "GetMetricSpec",
                _ref(targetTasksPerWorker=text),
                f"scalerMetadata.targetTasksPerWorker is {text!r}; allowed: 1 to 100000",
            )
            for text in ("", "0", "-1", "1.5", "100001", "9999999", "four", "\u0664")
        ),
    ],
)
async def test_a_mistake_is_named_with_what_is_allowed(
    channel: grpc.aio.Channel, method: str, request_message: Message, said: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await _ask(channel, method, request_message)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert refused.value.details() == said


async def test_the_bytes_are_those_of_kedas_contract(channel: grpc.aio.Channel) -> None:
    """Written by hand from its numbers, as our own stubs would hide a wrong one."""

    async def raw(method: str, request: bytes) -> bytes:
        call: Call = channel.unary_unary(f"{SERVICE}{method}")
        return await call(request, timeout=SECONDS)

    def field(number: int, content: bytes) -> bytes:
        return bytes([number << 3 | 2, len(content)]) + content

    def entry(key: bytes, value: bytes) -> bytes:
        return field(3, field(1, key) + field(2, value))

    name = METRIC.encode()
    ref = field(1, b"demo-worker") + field(2, b"default") + entry(b"pool", b"demo")
    spec = await raw("GetMetricSpec", ref + entry(b"targetTasksPerWorker", b"8"))
    eight = b"\x10\x08" + b"\x19\x00\x00\x00\x00\x00\x00\x20\x40"
    assert spec == field(1, field(1, name) + eight)
    assert await raw("GetMetrics", field(1, ref) + field(2, name)) == field(1, field(1, name))
    assert await raw("IsActive", ref) == b""
    # Of later versions, and optional: KEDA asks, and does without.
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await raw("StreamMetricSpec", ref)
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_queue_that_is_not_known_is_not_empty(tmp_path: Path) -> None:
    with PostgresServer() as postgres:
        document = settings(scaler_port=0, drain_timeout="1s")
        dsn = await postgres.create_database()
        async with serving(dsn, document, tmp_path) as replica, _channel(replica) as channel:
            await replica.add()
            assert await _tasks(channel) == 1
            await asyncio.to_thread(postgres.stop, "immediate")
            for ask in (_tasks(channel), _ask(channel, "IsActive", _ref())):
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await ask
                assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_the_port_shows_the_queue_and_nothing_of_what_workers_do(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    """It asks for neither certificate nor token, whatever the port of workers asks for."""
    document = settings(scaler_port=0) | {"grpc_tls": Certs(tmp_path / "certs").section("mutual")}
    async with (
        serving(await postgres.create_database(), document, tmp_path) as replica,
        _channel(replica) as channel,
    ):
        assert await _tasks(channel) == 0
        list_keys: Call = channel.unary_unary("/coordinator.CoordinatorService/ListKeys")
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await list_keys(b"", timeout=SECONDS)
        assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_without_the_setting_nobody_is_told(postgres: PostgresServer, tmp_path: Path) -> None:
    async with serving(await postgres.create_database(), settings(), tmp_path) as replica:
        assert replica.ports.scaler is None
        async with grpc.aio.insecure_channel(replica.target) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await _ask(channel, "IsActive", _ref())
            assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
