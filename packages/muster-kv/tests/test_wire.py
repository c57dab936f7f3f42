"""The protocol over real sockets: batches, deadlines, breakage, backpressure."""

import asyncio
import os
import signal
import subprocess
import sys
import time

import pytest

from muster_kv.errors import FailureCode
from muster_kv.ranges import WHOLE_RING
from muster_kv.ring import Member, Ring
from muster_kv.wire.client import NodeClient, Options
from muster_kv.wire.frames import MAX_BODY_BYTES
from muster_kv.wire.hello import Identity, Role
from muster_kv.wire.messages import (
    Done,
    Failure,
    Found,
    Get,
    Merge,
    ReplyBody,
    ScanRange,
    SetRing,
    Stat,
    Take,
)
from muster_kv.wire.peer import Call
from muster_kv.wire.server import Lane, Limits, lane_of
from muster_testing.ports import free_port
from muster_testing.waiting import eventually

from .loopback import COORDINATOR, NODE, QUICK, TAKE, Gate, Relay, connected, echo, serving


def code(reply: ReplyBody) -> FailureCode:
    assert isinstance(reply, Failure), reply
    return reply.code


async def test_each_request_gets_its_own_answer() -> None:
    async with serving(echo) as server, connected(server.port) as client:
        assert client.node_id == "node-0"
        slots = [b"%d" % number for number in range(500)]
        replies = await asyncio.gather(*(client.request(Get(slot), 30) for slot in slots))
        assert replies == [Found(slot) for slot in slots]
        assert client.in_flight == 0


async def test_a_ring_and_large_records_arrive_whole() -> None:
    seen: list[Call] = []

    async def keep(calls: list[Call]) -> list[ReplyBody]:
        seen.extend(calls)
        return [Done()] * len(calls)

    ring = Ring(7, (Member("a", "host", 1),))
    large = Merge(b"slot", os.urandom(10 * 1024 * 1024))
    async with serving(keep) as server, connected(server.port) as client:
        await client.request(SetRing(ring), 30, ring_version=6)
        await asyncio.gather(*(client.request(large, 60) for _ in range(3)))
    assert seen[0].body == SetRing(ring)
    assert (seen[0].ring_version, seen[0].peer.name) == (6, "coordinator-0")
    assert seen[0].peer.role is Role.COORDINATOR
    assert [call.body for call in seen[1:]] == [large] * 3


async def test_what_waits_while_the_handler_works_is_one_batch() -> None:
    gate = Gate()
    async with serving(gate) as server, connected(server.port) as client:
        first = asyncio.create_task(client.request(TAKE, 30))
        await eventually(lambda: gate.batches, what="the first batch")
        rest = [asyncio.create_task(client.request(TAKE, 30)) for _ in range(100)]
        await eventually(lambda: server.queued == 100, what="all others waiting")
        gate.opened.set()
        await asyncio.gather(first, *rest)
    assert [len(batch) for batch in gate.batches] == [1, 100]


async def test_long_requests_hold_up_neither_writes_nor_reads() -> None:
    gate = Gate()

    async def handler(calls: list[Call]) -> list[ReplyBody]:
        long = lane_of(calls[0].body) is Lane.LONG
        assert all((lane_of(call.body) is Lane.LONG) == long for call in calls)
        return await (gate(calls) if long else echo(calls))

    async with serving(handler) as server, connected(server.port) as client:
        scans = [asyncio.create_task(client.request(ScanRange(WHOLE_RING), 30)) for _ in range(9)]
        await eventually(lambda: len(gate.batches) == 4, what="four scans at work")
        assert await client.request(TAKE, 30) == Done()
        assert await client.request(Get(b"x"), 30) == Found(b"x")
        gate.opened.set()
        assert await asyncio.gather(*scans) == [Done()] * 9


async def test_late_requests_are_refused_and_never_handled() -> None:
    gate = Gate()
    async with serving(gate) as server, connected(server.port) as client:
        slow = asyncio.create_task(client.request(TAKE, 30))
        await eventually(lambda: gate.batches, what="the first batch")
        # It takes what comes for fresher than it is by at most the quickest frame's delay.
        await eventually(lambda: (client.round_trip or 9.0) < 0.5, what="a quick frame")
        over = time.monotonic() + 0.05 + 0.5
        assert code(await client.request(TAKE, 0.05)) is FailureCode.TIMEOUT
        await eventually(lambda: time.monotonic() > over, what="late beyond that")
        gate.opened.set()
        assert await slow == Done()
        assert await client.request(TAKE, 30) == Done()
    assert gate.takes == 2


async def test_a_handler_learns_each_deadline() -> None:
    left: list[float] = []

    async def handler(calls: list[Call]) -> list[ReplyBody]:
        left.extend(call.expires_at - time.monotonic() for call in calls)
        return [Done()] * len(calls)

    async with serving(handler) as server, connected(server.port) as client:
        await client.request(TAKE, 70)
    assert 0 < left[0] <= 70.1


async def test_a_stopped_node_refuses_what_waited_in_its_socket() -> None:
    """A process that was stopped finds requests that are fresh to it, and late in truth."""
    program = (
        "import asyncio\n"
        "from muster_kv.wire.messages import Done\n"
        "from tests.loopback import NODE\n"
        "from muster_kv.wire.server import serve\n"
        "async def main():\n"
        "    takes = 0\n"
        "    async def handler(calls):\n"
        "        for call in calls: print('done', len(call.body.slot), flush=True)\n"
        "        return [Done()] * len(calls)\n"
        "    server = await serve(handler, NODE, host='127.0.0.1', port=0)\n"
        "    print(server.port, flush=True)\n"
        "    await asyncio.sleep(600)\n"
        "asyncio.run(main())\n"
    )
    folder = os.path.dirname(os.path.dirname(__file__))  # noqa: PTH120
    with subprocess.Popen(  # noqa: ASYNC220
        [sys.executable, "-c", program], cwd=folder, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline())
            patient = Options(silence=60, ping_every=0.05)
            async with connected(port, options=patient) as client:
                assert await client.request(Take(b"1", TAKE.intent), 30) == Done()
                # It takes what comes for fresher than it is by at most the quickest frame's delay.
                await eventually(lambda: (client.round_trip or 9.0) < 0.5, what="a quick frame")
                process.send_signal(signal.SIGSTOP)
                over = time.monotonic() + 0.3 + 0.5
                late = client.request(Take(b"22", TAKE.intent), 0.3)
                assert code(await late) is FailureCode.TIMEOUT
                await eventually(lambda: time.monotonic() > over, what="late beyond that")
                process.send_signal(signal.SIGCONT)
                assert await client.request(Take(b"333", TAKE.intent), 30) == Done()
            process.kill()
            assert process.stdout.read().split() == ["done", "1", "done", "3"]
        finally:
            process.kill()


class TestBreakage:
    async def test_a_lost_connection_fails_all_at_once(self) -> None:
        gate = Gate()
        async with (
            serving(gate) as server,
            Relay(server.port) as relay,
            connected(relay.port) as client,
        ):
            waiting = [asyncio.create_task(client.request(TAKE, 30)) for _ in range(50)]
            await eventually(lambda: gate.batches, what="a batch at work")
            relay.hang_up()
            replies = await asyncio.gather(*waiting)
            assert {code(reply) for reply in replies} == {FailureCode.BROKEN}
            assert all(isinstance(reply, Failure) and reply.unknown for reply in replies)
            gate.opened.set()

    async def test_what_is_asked_as_a_connection_breaks_was_never_sent(self) -> None:
        gate = Gate()
        again: asyncio.Future[ReplyBody] = asyncio.get_running_loop().create_future()
        async with (
            serving(gate) as server,
            Relay(server.port) as relay,
            connected(relay.port) as client,
        ):
            client.submit(TAKE, 30, lambda _: client.submit(TAKE, 30, again.set_result))
            await eventually(lambda: gate.batches, what="a batch at work")
            relay.hang_up()
            assert code(await asyncio.wait_for(again, 30)) is FailureCode.UNAVAILABLE
            gate.opened.set()

    async def test_what_waited_for_a_lost_connection_is_not_done(self) -> None:
        gate = Gate()
        async with serving(gate) as server, connected(server.port) as client:
            at_work = asyncio.create_task(client.request(TAKE, 30))
            await eventually(lambda: gate.batches, what="a batch at work")
            async with connected(server.port) as other:
                lost = asyncio.create_task(other.request(TAKE, 30))
                await eventually(lambda: server.queued == 1, what="a request waiting")
            assert code(await lost) is FailureCode.BROKEN
            await eventually(lambda: server.connections == 1, what="the loss noticed")
            gate.opened.set()
            assert await at_work == Done()
            assert await client.request(TAKE, 30) == Done()
            assert gate.takes == 2

    async def test_nothing_waits_for_a_node_that_is_away(self) -> None:
        client = NodeClient("127.0.0.1", 1, COORDINATOR, options=QUICK)
        client.start()
        reply = await client.request(TAKE, 30)
        assert code(reply) is FailureCode.UNAVAILABLE
        assert isinstance(reply, Failure)
        assert not reply.unknown
        with pytest.raises(TimeoutError):
            await client.ready(0.1)
        await eventually(lambda: "connect" in client.last_error.lower(), what="the reason")
        await client.close()

    async def test_a_node_that_comes_back_is_used_again(self) -> None:
        changes: list[bool] = []
        # Nobody else is given it while nobody listens.
        port = free_port()
        async with serving(echo, port=port):
            client = NodeClient(
                "127.0.0.1", port, COORDINATOR, options=QUICK, on_change=changes.append
            )
            client.start()
            await client.ready(30)
        await eventually(lambda: not client.connected, what="the loss noticed")
        async with serving(echo, port=port):
            await client.ready(30)
            assert await client.request(Get(b"x"), 30) == Found(b"x")
            assert changes == [True, False, True]
            await client.close()
        assert changes[-1] is False

    async def test_a_silent_node_is_given_up(self) -> None:
        # What it said at last is not said of another attempt meanwhile.
        options = Options(silence=1.0, ping_every=0.1, backoff_first=600, backoff_most=600)
        gate = Gate()
        given_up: asyncio.Future[ReplyBody] = asyncio.get_running_loop().create_future()
        async with (
            serving(gate) as server,
            Relay(server.port) as relay,
            connected(relay.port, options=options) as client,
        ):
            # At once: where this process stands still, both ends seem silent to each other.
            client.submit(TAKE, 60, given_up.set_result)
            await eventually(lambda: gate.batches or given_up.done(), what="it is asked")
            relay.silent = True
            assert code(await asyncio.wait_for(given_up, 60)) is FailureCode.BROKEN
            await eventually(lambda: "nothing heard for" in client.last_error, what="the reason")
            gate.opened.set()

    async def test_closing_the_client_fails_what_is_in_flight(self) -> None:
        gate = Gate()
        async with serving(gate) as server, connected(server.port) as client:
            waiting = asyncio.create_task(client.request(TAKE, 30))
            await eventually(lambda: gate.batches, what="a batch at work")
            await client.close()
            assert code(await waiting) is FailureCode.BROKEN
            gate.opened.set()


class TestBackpressure:
    async def test_a_node_takes_only_so_many_in(self) -> None:
        gate = Gate()
        limits = Limits(max_queued=10)
        async with serving(gate, limits=limits) as server, connected(server.port) as client:
            first = asyncio.create_task(client.request(TAKE, 30))
            await eventually(lambda: gate.batches, what="the first batch")
            rest = [asyncio.create_task(client.request(TAKE, 30)) for _ in range(30)]
            refused = await asyncio.wait_for(_first(rest, 20), 30)
            assert {code(reply) for reply in refused} == {FailureCode.OVERLOADED}
            gate.opened.set()
            assert await first == Done()
            assert [await task for task in rest].count(Done()) == 10

    async def test_a_client_has_only_so_much_in_flight(self) -> None:
        gate = Gate()
        options = Options(max_in_flight=5)
        async with serving(gate) as server, connected(server.port, options=options) as client:
            waiting = [asyncio.create_task(client.request(TAKE, 30)) for _ in range(8)]
            refused = await asyncio.wait_for(_first(waiting, 3), 30)
            assert {code(reply) for reply in refused} == {FailureCode.OVERLOADED}
            gate.opened.set()
            assert [await task for task in waiting].count(Done()) == 5

    async def test_what_no_frame_can_hold_is_refused(self) -> None:
        async def much(calls: list[Call]) -> list[ReplyBody]:
            return [Found(bytes(MAX_BODY_BYTES)) for _ in calls]

        async with serving(much) as server, connected(server.port) as client:
            huge = Merge(b"slot", bytes(MAX_BODY_BYTES))
            assert code(await client.request(huge, 30)) is FailureCode.TOO_LARGE
            assert code(await client.request(Get(b"x"), 30)) is FailureCode.TOO_LARGE


class TestMistakesOfAHandler:
    async def test_an_exception_answers_each_request_and_is_logged(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def fail(calls: list[Call]) -> list[ReplyBody]:
            raise RuntimeError("disk on fire")

        async with serving(fail) as server, connected(server.port) as client:
            reply = await client.request(TAKE, 30)
            assert code(reply) is FailureCode.INTERNAL
            assert isinstance(reply, Failure)
            assert reply.unknown
            assert "fire" not in reply.detail
        assert "handling a batch failed" in caplog.text

    async def test_too_few_answers_are_none(self) -> None:
        async def forget(calls: list[Call]) -> list[ReplyBody]:
            return []

        async with serving(forget) as server, connected(server.port) as client:
            assert code(await client.request(TAKE, 30)) is FailureCode.INTERNAL

    async def test_a_reply_that_can_not_be_handled_harms_no_other(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        def fail(reply: ReplyBody) -> None:
            raise RuntimeError("no")

        async with serving(echo) as server, connected(server.port) as client:
            client.submit(TAKE, 30, fail)
            assert await client.request(TAKE, 30) == Done()
        assert "handling a reply failed" in caplog.text


async def test_a_closing_node_answers_what_it_has_taken_in() -> None:
    gate = Gate()
    async with serving(gate) as server, connected(server.port) as client:
        taken = asyncio.create_task(client.request(TAKE, 30))
        await eventually(lambda: gate.batches, what="a batch at work")
        closing = asyncio.create_task(server.close(grace=30))
        await asyncio.sleep(0)
        assert code(await client.request(Stat(), 30)) is FailureCode.NOT_READY
        gate.opened.set()
        assert await taken == Done()
        await closing


async def _first(tasks: list[asyncio.Task[ReplyBody]], count: int) -> list[ReplyBody]:
    done: list[ReplyBody] = []
    for task in asyncio.as_completed(tasks):
        done.append(await task)
        if len(done) == count:
            break
    return done


def test_identities_do_not_show_their_token() -> None:
    assert "secret" not in repr(NODE)
    assert "secret" not in str(Identity("a", Role.TOOL, "c", b"secret"))
