"""Streams over the front: outcomes as they come, backpressure both ways, and every end."""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import grpc
import pytest

from muster_protos import kv_pb2 as pb
from muster_testing.waiting import eventually

from .test_front import MIB, Script, code_of, served

pytestmark = pytest.mark.integration

AT_ONCE = 1024


def _reads(count: int, size: int = 0) -> Iterator[pb.Operation]:
    for number in range(count):
        read = pb.ReadKeyValueRequest(key=f"k{number}", consistency=str(size))
        yield pb.Operation(id=number, read=read)


def _writes(count: int, size: int = 0) -> Iterator[pb.Operation]:
    for number in range(count):
        yield pb.Operation(id=number, write=pb.WriteKeyValueRequest(key="k", value=bytes(size)))


async def _batches(*batches: Iterator[pb.Operation]) -> AsyncIterator[pb.BatchRequest]:
    for operations in batches:
        yield pb.BatchRequest(operations=operations)


async def _endless(sent: list[int], operations: Callable[[], Any]) -> AsyncIterator[Any]:
    while True:
        yield pb.BatchRequest(operations=operations())
        sent[0] += 1


async def test_all_operations_of_all_batches_are_answered() -> None:
    async with served(Script()) as (_, client):
        call = client.stream(_batches(_reads(3000), iter(()), _reads(1)))
        seen = [one.id async for answer in call for one in answer.outcomes]
        assert sorted(seen) == [0, *range(3000)]
        assert await call.code() is grpc.StatusCode.OK


async def test_outcomes_come_while_others_are_waited_for() -> None:
    script = Script()
    async with served(script) as (_, client):
        answers = aiter(client.stream(_batches(_writes(2), _reads(1))))
        answer = await anext(answers)
        assert [one.read.key for one in answer.outcomes] == ["k0"]
        script.go_on.set()
        rest = [one async for answer in answers for one in answer.outcomes]
        assert len(rest) == 2


async def test_compressed_batches_are_understood() -> None:
    async with served(Script()) as (_, client):
        call = client.stream(_batches(_reads(100)), compression=grpc.Compression.Gzip)
        assert sum([len(answer.outcomes) async for answer in call]) == 100


async def test_a_client_that_sends_faster_than_it_is_served_is_held_back() -> None:
    script, sent = Script(), [0]
    async with served(script) as (_, client):
        call = client.stream(_endless(sent, lambda: _writes(16, MIB // 64)))
        await eventually(lambda: script.waiting == AT_ONCE, what="as much as may be is begun")
        # 64 messages are begun; 1 MiB waits here, and some in the windows and buffers of HTTP/2.
        before = sent[0]
        assert before < 100
        script.go_on.set()
        await eventually(lambda: sent[0] > before + 100, what="it goes on")
        call.cancel()


async def test_a_client_that_does_not_read_is_held_back() -> None:
    script, sent = Script(), [0]
    async with served(script) as (_, client):
        call = client.stream(_endless(sent, lambda: _reads(16, MIB // 16)))
        quiet = 0.0

        async def no_more() -> bool:
            nonlocal quiet
            now = len(script.callers)
            stands = now > 0 and now == quiet
            quiet = now
            return stands

        await eventually(no_more, every=0.5, what="nothing more is begun")
        # What was begun has no more outcomes than may wait.
        assert len(script.callers) < 3 * AT_ONCE
        seen = 0
        async for answer in call:
            seen += len(answer.outcomes)
            if seen > 4 * AT_ONCE:
                break
        call.cancel()


async def test_what_its_client_gives_up_is_cancelled() -> None:
    script = Script()
    async with served(script) as (_, client):
        call = client.stream(_batches(_writes(5)))
        await eventually(lambda: script.waiting == 5, what="all are begun")
        call.cancel()
        await eventually(lambda: script.cancelled == 5, what="all are cancelled")


async def test_the_deadline_of_a_stream_is_kept() -> None:
    script = Script()
    async with served(script) as (_, client):

        async def begun() -> bool:
            call = client.stream(_batches(_writes(5)), timeout=2.0)
            assert await code_of(call.read()) is grpc.StatusCode.DEADLINE_EXCEEDED
            return bool(script.callers)

        # What its client sends only when its time is over is never begun.
        await eventually(begun, what="a stream has come before its deadline")
        await eventually(lambda: script.cancelled == len(script.callers), what="all are cancelled")
        assert all(caller.seconds is None for caller in script.callers)


async def test_bytes_that_are_no_batch_end_their_stream() -> None:
    script = Script()
    async with (
        served(script) as (face, client),
        grpc.aio.insecure_channel(f"127.0.0.1:{face.bound_port}") as channel,
    ):
        raw: Any = channel.stream_stream("/proto.CoordinatorService/Stream")
        batch = pb.BatchRequest(operations=_writes(1)).SerializeToString()

        async def sent() -> AsyncIterator[bytes]:
            yield batch
            # What is not begun is not cancelled either.
            await eventually(lambda: script.waiting == 1, what="the first batch is begun")
            yield b"\xff\xff"

        assert await code_of(raw(sent()).read()) is grpc.StatusCode.INVALID_ARGUMENT
        await eventually(lambda: script.cancelled == 1, what="what was begun is cancelled")
        assert (await client.read("k")).success


async def test_a_batch_above_the_limit_ends_its_stream() -> None:
    async with served(Script()) as (_, client):
        call = client.stream(_batches(_writes(1, 41 * MIB)))
        assert await code_of(call.read()) is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_a_stream_is_cut_off_where_its_server_stops() -> None:
    script = Script()
    async with served(script) as (face, client):
        call = client.stream(_batches(_writes(5)))
        await eventually(lambda: script.waiting == 5, what="all are begun")
        await face.stop(0.2)
        assert await code_of(call.read()) in {
            grpc.StatusCode.UNAVAILABLE,
            grpc.StatusCode.CANCELLED,
        }
        await eventually(lambda: script.cancelled == 5, what="all are cancelled")
