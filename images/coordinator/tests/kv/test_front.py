"""The gRPC face over its front: calls, limits, deadlines, and how they end."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import grpc
import pytest
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from muster_front import Front
from muster_kv_coordinator.api.caller import Caller
from muster_kv_coordinator.api.service import Method, Service
from muster_kv_coordinator.grpc_face.server import GrpcFace, Transport
from muster_protos import kv_pb2 as pb
from muster_testing.waiting import eventually

from .harness import Client, process, settings

pytestmark = pytest.mark.integration

MIB = 1024 * 1024


class Script:
    """Answers as its tests want: reads give their key back, others wait until they may go on."""

    def __init__(self) -> None:
        self.callers: list[Caller] = []
        self.waiting = 0
        self.cancelled = 0
        self.go_on = asyncio.Event()
        self.methods = {
            "ReadKeyValue": Method(pb.ReadKeyValueRequest, pb.ReadKeyValueResponse, self._read),
            "WriteKeyValue": Method(pb.WriteKeyValueRequest, pb.WriteKeyValueResponse, self._wait),
        }

    async def call(self, name: str, request: Message, caller: Caller) -> Message:
        """One call."""
        self.callers.append(caller)
        return await self.methods[name].handle(request, caller)

    async def operate(self, operation: pb.Operation, caller: Caller) -> pb.Outcome:
        """One operation of a stream."""
        self.callers.append(caller)
        if operation.HasField("write"):
            await self._wait(operation.write, caller)
            return pb.Outcome(id=operation.id)
        answer = await self._read(operation.read, caller)
        return pb.Outcome(id=operation.id, read=answer)

    async def _read(self, request: pb.ReadKeyValueRequest, _: Caller) -> pb.ReadKeyValueResponse:
        size = int(request.consistency or 0)
        return pb.ReadKeyValueResponse(success=True, key=request.key, value=bytes(size))

    async def _wait(self, request: pb.WriteKeyValueRequest, _: Caller) -> pb.WriteKeyValueResponse:
        self.waiting += 1
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.waiting -= 1
        return pb.WriteKeyValueResponse(success=True, key=str(len(request.value)))


@asynccontextmanager
async def served(
    script: Script, credentials: grpc.ChannelCredentials | None = None, **transport: Any
) -> AsyncIterator[tuple[GrpcFace, Client]]:
    """A face on a free port, and a client to it."""
    service = cast("Service", script)
    face = GrpcFace(service, "127.0.0.1", 0, Transport(**transport))
    await face.start()
    client = Client(f"127.0.0.1:{face.bound_port}", credentials)
    try:
        yield face, client
    finally:
        await client.close()
        await face.stop(0)


async def code_of(call: Awaitable[Any]) -> grpc.StatusCode:
    """How a call fails."""
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await call
    found: grpc.StatusCode = failed.value.code()
    return found


def until(condition: Callable[[], bool], what: str) -> Awaitable[Any]:
    return eventually(condition, what=what)


async def test_many_calls_at_once_each_get_their_own_answer() -> None:
    async with served(Script()) as (_, client):
        answers = await asyncio.gather(*(client.read(f"k{n}") for n in range(300)))
        assert [answer.key for answer in answers] == [f"k{n}" for n in range(300)]


async def test_large_messages_pass_and_too_large_ones_are_refused() -> None:
    script = Script()
    script.go_on.set()
    async with served(script) as (_, client):
        assert (await client.write("k", bytes(10 * MIB))).key == str(10 * MIB)
        assert len((await client.read("k", consistency=str(10 * MIB))).value) == 10 * MIB
        too_large = client.write("k", bytes(41 * MIB))
        assert await code_of(too_large) is grpc.StatusCode.RESOURCE_EXHAUSTED
        too_large = client.read("k", consistency=str(41 * MIB))
        assert await code_of(too_large) is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert (await client.read("after")).success


async def test_a_deadline_is_told_and_kept() -> None:
    script = Script()
    async with served(script) as (_, client):
        await client.read("k", seconds=60.0)
        seconds = script.callers[0].seconds
        assert seconds is not None
        # The client rounds what is left of it up, by a hundredth at most.
        assert 0.0 < seconds <= 61.0

        async def begun() -> bool:
            late = client.write("k", b"", seconds=2.0)
            assert await code_of(late) is grpc.StatusCode.DEADLINE_EXCEEDED
            return len(script.callers) > 1

        # One that its client sends only when its time is over is never begun.
        await eventually(begun, what="a call has come before its deadline")
        ended = len(script.callers) - 1
        await until(lambda: script.cancelled == ended, "each call that has come is cancelled")


async def test_a_call_that_its_client_gives_up_is_cancelled() -> None:
    script = Script()
    async with served(script) as (_, client):
        call = client.method("WriteKeyValue")(pb.WriteKeyValueRequest(key="k"))
        await until(lambda: script.waiting == 1, "the call has come")
        call.cancel()
        await until(lambda: script.cancelled == 1, "the call is cancelled")
        call = client.method("WriteKeyValue")(pb.WriteKeyValueRequest(key="k"))
        await until(lambda: script.waiting == 1, "another call has come")
        await client.close()
        await until(lambda: script.cancelled == 2, "the call of a connection that is gone is")


async def test_more_calls_than_may_be_are_refused() -> None:
    script = Script()
    async with served(script, most=4) as (_, client):
        calls = [asyncio.create_task(client.write("k", b"")) for _ in range(4)]
        await until(lambda: script.waiting == 4, "all calls have come")
        assert await code_of(client.read("k")) is grpc.StatusCode.RESOURCE_EXHAUSTED
        script.go_on.set()
        assert all(answer.success for answer in await asyncio.gather(*calls))
        assert (await client.read("k")).success


@pytest.mark.parametrize("asked", [True, False])
async def test_tokens_are_handed_over_where_they_are_asked_for(asked: bool) -> None:
    script = Script()
    async with served(script, tokens=asked) as (_, client):
        client.token = "secret"
        await client.read("k")
        assert script.callers[0].authorization == ("Bearer secret" if asked else "")


async def test_compressed_messages_are_understood() -> None:
    async with served(Script()) as (_, client):
        call = client.method("ReadKeyValue")
        request = pb.ReadKeyValueRequest(key="k" * 1000)
        answer = await call(request, compression=grpc.Compression.Gzip)
        assert answer.key == request.key


async def test_bytes_that_are_no_message_and_calls_that_are_none() -> None:
    async with (
        served(Script()) as (face, _),
        grpc.aio.insecure_channel(f"127.0.0.1:{face.bound_port}") as channel,
    ):
        for path, code in (
            ("/proto.CoordinatorService/ReadKeyValue", grpc.StatusCode.INVALID_ARGUMENT),
            ("/proto.CoordinatorService/NoSuchCall", grpc.StatusCode.UNIMPLEMENTED),
            ("/no.Service/ReadKeyValue", grpc.StatusCode.UNIMPLEMENTED),
        ):
            call: Any = channel.unary_unary(path)
            assert await code_of(call(b"\xff\xff")) is code


async def test_streams_health_and_reflection() -> None:
    async with served(Script()) as (face, client):

        async def batches() -> AsyncIterator[pb.BatchRequest]:
            for number in range(20):
                read = pb.ReadKeyValueRequest(key=f"k{number}", consistency=str(MIB // 4))
                yield pb.BatchRequest(operations=[pb.Operation(id=number, read=read)])

        seen = [one async for answer in client.stream(batches()) for one in answer.outcomes]
        assert sorted(outcome.id for outcome in seen) == list(range(20))
        assert all(len(outcome.read.value) == MIB // 4 for outcome in seen)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{face.bound_port}") as channel:
            health: Any = health_pb2_grpc.HealthStub(channel)
            request = health_pb2.HealthCheckRequest(service="proto.CoordinatorService")
            assert (await health.Check(request)).status == health_pb2.HealthCheckResponse.SERVING
            reflection: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
            asked = reflection_pb2.ServerReflectionRequest(list_services="")
            async for answer in reflection.ServerReflectionInfo(iter([asked])):
                names = {service.name for service in answer.list_services_response.service}
                assert "proto.CoordinatorService" in names
            await face.leave()
            status = (await health.Check(request)).status
            assert status == health_pb2.HealthCheckResponse.NOT_SERVING


async def test_calls_under_way_end_before_the_face_does() -> None:
    script = Script()
    async with served(script) as (face, client):
        call = asyncio.create_task(client.write("k", b""))
        await until(lambda: script.waiting == 1, "the call has come")
        stopping = asyncio.create_task(face.stop(120.0))
        stranger = Client(f"127.0.0.1:{face.bound_port}")

        async def refused() -> bool:
            try:
                await stranger.read("k")
            except grpc.aio.AioRpcError as error:
                return error.code() is grpc.StatusCode.UNAVAILABLE
            return False

        await eventually(refused, what="no others are taken")
        assert not stopping.done()
        script.go_on.set()
        assert (await call).success
        await stopping
        await stranger.close()


async def test_calls_that_do_not_end_are_cut_off() -> None:
    script = Script()
    async with served(script) as (face, client):
        call = asyncio.create_task(client.write("k", b""))
        await until(lambda: script.waiting == 1, "the call has come")
        await face.stop(0.2)
        assert await code_of(call) in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
        await until(lambda: script.cancelled == 1, "the call is cancelled")


class Curt:
    """A front that ends before it has told which calls nobody waits for any more."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        self._front = Front(*arguments, **named)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._front, name)

    def drain(self) -> tuple[list[Any], list[int], bool]:
        arrived, _, ended = self._front.drain()
        return arrived, [], ended


async def test_calls_that_are_cut_off_untold_are_cancelled_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("muster_kv_coordinator.grpc_face.server.Front", Curt)
    await test_calls_that_do_not_end_are_cut_off()


async def test_a_port_that_is_taken_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match="in use"):
            GrpcFace(cast("Service", Script()), "127.0.0.1", port, Transport())


async def test_a_face_that_never_served_can_be_stopped() -> None:
    face = GrpcFace(cast("Service", Script()), "127.0.0.1", 0, Transport())
    async with asyncio.timeout(60):
        await face.stop(0)


async def test_a_start_that_fails_leaves_nothing_behind(dsn: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = {"http_port": taken.getsockname()[1]}
        with process(settings(dsn, server=server), tmp_path) as started:
            assert await started.exit_status() == 1
            started.close()
            last = started.lines[-1]
    assert last["message"] == "stopped by an error", started.lines
    assert "in use" in str(last)
