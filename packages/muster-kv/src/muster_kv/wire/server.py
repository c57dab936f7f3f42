"""The storage node's end: whole batches in, whole batches of answers out.

While the handler works on a batch the next one gathers, from all connections, so a handler that
makes each batch durable with one fsync has group commit without waiting for it.
"""

import asyncio
import logging
import ssl
import time
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Protocol

import msgspec

from muster_kv.errors import FailureCode
from muster_kv.wire.hello import Identity
from muster_kv.wire.messages import (
    Failure,
    Get,
    GetDigest,
    HintsWaiting,
    Lookup,
    Merge,
    ReplyBody,
    RequestBody,
    SetRing,
    SetState,
    Stat,
    Take,
)
from muster_kv.wire.peer import Call, Peer
from muster_records import Batch, Frame

log = logging.getLogger(__name__)

Handler = Callable[[list[Call]], Awaitable[list[ReplyBody]]]


class Plain(Protocol):
    """Answers takes, merges, reads and look-ups of operations, which stay packed, in their batch.

    What is left unanswered is answered INTERNAL. Others come to the handler.
    """

    async def write(self, batch: Batch) -> None:
        """Answer takes and merges; called before the handler gets what came with them."""

    async def read(self, batch: Batch) -> None:
        """Answer reads, and look-ups of operations."""


class Lane(Enum):
    """Requests that queue behind each other. A batch is of one lane; lanes run side by side."""

    # One batch at a time, in the order of arrival: a new ring takes effect between two batches.
    WRITE = "write"
    READ = "read"
    # One request at a time in each of several workers.
    LONG = "long"


_LANES: dict[type, Lane] = {
    **dict.fromkeys((Take, Merge, SetRing, SetState), Lane.WRITE),
    **dict.fromkeys((Get, GetDigest, Lookup, Stat, HintsWaiting), Lane.READ),
}


class Limits(msgspec.Struct, frozen=True):
    """How much a server takes in; more is answered OVERLOADED. Times in seconds."""

    max_batch: int = 1024
    max_queued: int = 16384
    max_queued_bytes: int = 256 * 1024 * 1024
    long_workers: int = 4
    hello_timeout: float = 5.0
    max_connections: int = 1024


class Server:
    """Serves one port until it is closed."""

    def __init__(
        self, handler: Handler, identity: Identity, limits: Limits, plain: Plain | None = None
    ) -> None:
        self._handler, self.identity, self.limits = handler, identity, limits
        self._plain = plain
        self._queues = {
            Lane.WRITE: _Queue(limits.max_batch),
            Lane.READ: _Queue(limits.max_batch),
            Lane.LONG: _Queue(1),
        }
        self._by_kind = {kind: self._queues[lane] for kind, lane in _LANES.items()}
        self._long = self._queues[Lane.LONG]
        self._workers: list[asyncio.Task[None]] = []
        self._listening: asyncio.Server | None = None
        self._peers: dict[int, Peer] = {}
        self._met = 0
        self._closing = False

    @property
    def hello_timeout(self) -> float:
        """Seconds that a handshake may take."""
        return self.limits.hello_timeout

    @property
    def port(self) -> int:
        """The port it listens at."""
        assert self._listening is not None  # noqa: S101 - a server that was started listens
        return int(self._listening.sockets[0].getsockname()[1])

    @property
    def queued(self) -> int:
        """How many requests wait for the handler."""
        return sum(queue.length for queue in self._queues.values())

    @property
    def connections(self) -> int:
        """How many clients are connected, or about to be."""
        return len(self._peers)

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        """Listen; raises OSError where the port can't be had."""
        loop = asyncio.get_running_loop()
        self._listening = await loop.create_server(lambda: Peer(self), host, port, ssl=tls)
        lanes = [Lane.WRITE, Lane.READ, *[Lane.LONG] * self.limits.long_workers]
        self._workers = [
            asyncio.create_task(self._work(lane), name=f"{lane.value} requests") for lane in lanes
        ]

    async def close(self, grace: float = 5.0) -> None:
        """Take nothing new in, answer what has come, for at most `grace` seconds; then hang up."""
        self._closing = True
        if self._listening is not None:
            self._listening.close()
        idle = [asyncio.create_task(queue.idle.wait()) for queue in self._queues.values()]
        await asyncio.wait(idle, timeout=grace)
        for task in (*idle, *self._workers):
            task.cancel()
        await asyncio.gather(*idle, *self._workers, return_exceptions=True)
        for peer in tuple(self._peers.values()):
            peer.close()

    # What connections call

    def admit(self, peer: Peer) -> bool:
        """Take a connection in, or say that there are too many."""
        if self._closing or len(self._peers) >= self.limits.max_connections:
            return False
        self._met += 1
        peer.number = self._met
        self._peers[peer.number] = peer
        return True

    def forget(self, peer: Peer) -> None:
        """Drop a connection that is over."""
        self._peers.pop(peer.number, None)

    @property
    def keeps_packed(self) -> bool:
        """Whether frames are taken apart by `take_plain`."""
        return self._plain is not None

    def take_plain(self, peer: Peer, frame: Frame, offset_us: int) -> None:
        """Queue a frame's plain requests, whose deadlines are `offset_us` behind our clock."""
        for count, lane, put in zip(
            frame.plain, (Lane.WRITE, Lane.READ), (frame.put_writes, frame.put_reads), strict=True
        ):
            if not count:
                continue
            queue = self._queues[lane]
            left = put(peer.number, offset_us, queue.plain, self._room(queue))
            if left < count:
                queue.wake()
            if left:
                refused = Batch()
                put(peer.number, offset_us, refused)
                failure = _CLOSING if self._closing else _OVERLOADED
                refused.fail(failure.code, failure.detail)
                self._send(refused)

    def _room(self, queue: "_Queue") -> tuple[int, int]:
        """How many more requests may wait, and how many bytes there may be before the last."""
        limits = self.limits
        requests = limits.max_queued - queue.length
        size = limits.max_queued_bytes - queue.weight - queue.plain.weight
        return (0, 0) if self._closing or requests <= 0 or size < 0 else (requests, size)

    def take(self, calls: list[Call]) -> None:
        """Queue a frame's requests, each in its lane."""
        if self._closing:
            _deliver([(call, _CLOSING) for call in calls])
            return
        refused: list[tuple[Call, ReplyBody]] = []
        for call in calls:
            queue = self._by_kind.get(type(call.body), self._long)
            if not self._room(queue)[0]:
                refused.append((call, _OVERLOADED))
            else:
                queue.put(call)
        if refused:
            _deliver(refused)

    async def _work(self, lane: Lane) -> None:
        queue = self._queues[lane]
        while True:
            calls, plain = await queue.get()
            if plain is not None:
                await self._answer(lane, plain)
            late = time.monotonic()
            # Nobody waits for the answers of a connection that is over, and who asked may go on.
            calls = [call for call in calls if not call.peer.over]
            answers: list[tuple[Call, ReplyBody]] = [
                (call, _LATE) for call in calls if call.expires_at <= late
            ]
            calls = [call for call in calls if call.expires_at > late]
            if calls:
                answers += zip(calls, await self._handle(calls), strict=True)
            _deliver(answers)
            queue.done()

    async def _answer(self, lane: Lane, batch: Batch) -> None:
        assert self._plain is not None  # noqa: S101 - who has none gets none
        # Nobody waits for the answers of a connection that is over, and who asked may go on.
        peers = self._peers
        if over := [n for n in batch.connections() if n not in peers or peers[n].over]:
            batch.leave(over)
        try:
            await (self._plain.write(batch) if lane is Lane.WRITE else self._plain.read(batch))
        except Exception:
            log.exception("handling a batch failed", extra={"requests": len(batch)})
            batch.fail(_INTERNAL.code, _INTERNAL.detail)
        self._send(batch)

    def _send(self, batch: Batch) -> None:
        for number, data in batch.frames():
            if (peer := self._peers.get(number)) is not None:
                peer.send(data)

    async def _handle(self, calls: list[Call]) -> list[ReplyBody]:
        try:
            replies = await self._handler(calls)
        except Exception:
            log.exception("handling a batch failed", extra={"requests": len(calls)})
            return [_INTERNAL] * len(calls)
        if len(replies) != len(calls):
            counts = {"requests": len(calls), "replies": len(replies)}
            log.error("the handler did not answer each request", extra=counts)
            return [_INTERNAL] * len(calls)
        return replies


async def serve(
    handler: Handler,
    identity: Identity,
    *,
    host: str,
    port: int,
    limits: Limits | None = None,
    tls: ssl.SSLContext | None = None,
    plain: Plain | None = None,
) -> Server:
    """Return a server that listens at `host` and `port` (0: any).

    `handler` gets each batch's calls, all of one lane and none late when it was called, and returns
    their answers in the same order; with `plain` it gets those that are not. Raises OSError where
    the port can't be had.
    """
    server = Server(handler, identity, limits or Limits(), plain)
    await server.start(host, port, tls)
    return server


def lane_of(body: RequestBody) -> Lane:
    """Return the lane of a request."""
    return _LANES.get(type(body), Lane.LONG)


class _Queue:
    """Calls that wait, and the workers that wait for calls."""

    def __init__(self, most: int) -> None:
        self.calls: list[Call] = []
        self.weight = 0
        self.plain = Batch()
        self.idle = asyncio.Event()
        self.idle.set()
        self._most = most
        self._there = asyncio.Event()
        self._working = 0

    def put(self, call: Call) -> None:
        self.calls.append(call)
        self.weight += call.weight
        if len(self.calls) == 1:
            self.wake()

    def wake(self) -> None:
        self._there.set()
        self.idle.clear()

    @property
    def length(self) -> int:
        return len(self.calls) + len(self.plain)

    async def get(self) -> tuple[list[Call], Batch | None]:
        while not self.length:
            self._there.clear()
            await self._there.wait()
        self._working += 1
        plain = self.plain.first(self._most) if len(self.plain) else None
        if len(self.calls) <= self._most:
            calls, self.calls, self.weight = self.calls, [], 0
        else:
            calls, self.calls = self.calls[: self._most], self.calls[self._most :]
            self.weight -= sum([call.weight for call in calls])
        return calls, plain

    def done(self) -> None:
        self._working -= 1
        if not self.length and not self._working:
            self.idle.set()


def _deliver(answers: list[tuple[Call, ReplyBody]]) -> None:
    peers: dict[Peer, None] = {}
    for call, body in answers:
        call.peer.answer(call.id, body)
        peers[call.peer] = None
    for peer in peers:
        peer.flush()


_LATE = Failure(FailureCode.DEADLINE, "the deadline passed before the request was begun")
_OVERLOADED = Failure(FailureCode.OVERLOADED, "too many requests are waiting")
_CLOSING = Failure(FailureCode.NOT_READY, "the node is stopping")
_INTERNAL = Failure(FailureCode.INTERNAL, "the request failed for a reason in the node's log")
