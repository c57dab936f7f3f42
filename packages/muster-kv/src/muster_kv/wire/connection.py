"""One connection, seen from the client: handshake, batches out, replies in."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import cast

from muster_kv.errors import FailureCode
from muster_kv.wire import hello
from muster_kv.wire.frames import (
    Beat,
    Kind,
    ProtocolError,
    Requests,
    Unframer,
    decode,
    decode_replies,
    frame,
    full_frames,
)
from muster_kv.wire.hello import Challenge, Hello, Identity, Refusal, RefusedError
from muster_kv.wire.messages import Failure, ReplyBody, Request, RequestBody
from muster_kv.wire.timing import Wheel

log = logging.getLogger(__name__)

OnReply = Callable[[ReplyBody], None]
_TICK_SECONDS = 0.01
_WRITE_BUFFER_BYTES = 4 * 1024 * 1024


class ClientConnection(asyncio.Protocol):
    """Lives from `connection_made` to `lost`. `welcomed` becomes the other end's node id."""

    def __init__(self, identity: Identity, said: Hello, silence: float) -> None:
        loop = asyncio.get_running_loop()
        self._loop = loop
        self._identity, self._said, self._silence = identity, said, silence
        self.welcomed: asyncio.Future[str] = loop.create_future()
        # Why the connection is over, in one sentence.
        self.lost: asyncio.Future[str] = loop.create_future()
        self.round_trip: float | None = None
        self.in_flight_bytes = 0
        self._transport: asyncio.Transport | None = None
        self._unframer = Unframer(hello.MAX_HELLO_BYTES)
        self._node_id = ""
        self._heard = loop.time()
        self._waiting: dict[int, tuple[OnReply, int]] = {}
        self._wheel = Wheel(_TICK_SECONDS)
        self._sweeping = False
        self._unsent: list[Request] = []
        self._flushing = False
        self._paused = False
        self._number = 0
        self._sent = 0

    @property
    def in_flight(self) -> int:
        """How many requests wait for their answer."""
        return len(self._waiting)

    def send(self, body: RequestBody, timeout: float, on_reply: OnReply, ring_version: int) -> None:
        """Send a request with the next frame; `on_reply` is called once, later."""
        self._number = number = self._number + 1
        weight = body.weight()
        deadline = time.monotonic() + timeout
        self._waiting[number] = (on_reply, weight)
        self.in_flight_bytes += weight
        self._wheel.add(number, deadline)
        self._unsent.append(Request(number, int(deadline * 1e6), ring_version, body))
        if not self._flushing and not self._paused:
            self._flushing = True
            self._loop.call_soon(self._flush)
        if not self._sweeping:
            self._sweeping = True
            self._loop.call_later(_TICK_SECONDS, self._sweep)

    def ping(self) -> None:
        """Ask for a sign of life; gives the connection up where none came for too long."""
        silent = self._loop.time() - self._heard
        if silent > self._silence:
            self.abort(f"nothing heard for {silent:.1f} s")
        elif self._transport is not None and not self.lost.done():
            self._transport.write(frame(Kind.PING, Beat(time.monotonic_ns() // 1000)))

    def abort(self, reason: str) -> None:
        """End the connection; everything in flight fails now."""
        if self.lost.done():
            return
        self.lost.set_result(reason)
        if not self.welcomed.done():
            self.welcomed.set_exception(ProtocolError(reason))
        if self._transport is not None:
            self._transport.abort()
        waiting, self._waiting = self._waiting, {}
        self._wheel.clear()
        self._unsent = []
        self.in_flight_bytes = 0
        broken = Failure(FailureCode.BROKEN, f"the connection broke: {reason}")
        unsent = Failure(FailureCode.UNAVAILABLE, f"the connection broke before: {reason}")
        for number, (on_reply, _) in waiting.items():
            self._loop.call_soon(on_reply, broken if number <= self._sent else unsent)

    # Called by the loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say hello."""
        # uvloop's transports are not of asyncio's class.
        self._transport = transport = cast("asyncio.Transport", transport)
        transport.set_write_buffer_limits(high=_WRITE_BUFFER_BYTES)
        transport.write(frame(Kind.HELLO, self._said))

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail all that waits."""
        self.abort(str(exc) if exc else "closed by the other end")

    def data_received(self, data: bytes) -> None:
        """Take replies in."""
        self._heard = self._loop.time()
        try:
            for kind, body in self._unframer.feed(data):
                self._take(kind, body)
        except ProtocolError as error:
            self.abort(str(error))

    def pause_writing(self) -> None:
        """Let requests gather while the other end does not read."""
        self._paused = True

    def resume_writing(self) -> None:
        """Send what has gathered."""
        self._paused = False
        if self._unsent and not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _take(self, kind: Kind, body: memoryview) -> None:
        if not self.welcomed.done():
            self._shake_hands(kind, body)
        elif kind is Kind.REPLIES:
            for reply in decode_replies(body):
                self._settle(reply.id, reply.body)
        elif kind is Kind.PONG:
            sent_us = decode(body, Beat).sent_us
            self.round_trip = time.monotonic() - sent_us / 1e6
        else:
            raise ProtocolError(f"frame {kind.name} from a server")

    def _shake_hands(self, kind: Kind, body: memoryview) -> None:
        if kind is Kind.REFUSED:
            self.welcomed.set_exception(RefusedError(decode(body, Refusal).reason))
            self.abort("refused")
        elif kind is Kind.CHALLENGE and not self._node_id and self._transport is not None:
            asked = decode(body, Challenge)
            proof = hello.answer(self._identity, self._said, asked)
            self._node_id = asked.node_id
            self._transport.write(frame(Kind.PROOF, proof))
        elif kind is Kind.WELCOME and self._node_id:
            self._unframer.open()
            self.welcomed.set_result(self._node_id)
        else:
            raise ProtocolError(f"frame {kind.name} in the handshake")

    def _settle(self, number: int, body: ReplyBody) -> None:
        entry = self._waiting.pop(number, None)
        if entry is None:
            return  # Given up before; the answer came late.
        on_reply, weight = entry
        self.in_flight_bytes -= weight
        try:
            on_reply(body)
        except Exception:
            log.exception("handling a reply failed")

    def _flush(self) -> None:
        self._flushing = False
        transport, unsent = self._transport, self._unsent
        if transport is None or self._paused or not unsent:
            return
        self._unsent = []
        self._sent = self._number
        now = time.monotonic_ns() // 1000
        for batch in full_frames(unsent, _weight):
            transport.write(frame(Kind.REQUESTS, Requests(now, batch)))

    def _sweep(self) -> None:
        for number in self._wheel.due(time.monotonic()):
            if number in self._waiting:
                self._settle(number, _LATE)
        self._sweeping = bool(self._waiting)
        if self._sweeping:
            self._loop.call_later(_TICK_SECONDS, self._sweep)


_LATE = Failure(FailureCode.TIMEOUT, "no answer within the deadline")


def _weight(request: Request) -> int:
    return request.body.weight()
