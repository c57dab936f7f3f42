"""One connection, seen from the server: handshake, batches in, replies out."""

import asyncio
import logging
import secrets
import time
from typing import Protocol, cast

from muster_kv.errors import FailureCode
from muster_kv.wire import hello
from muster_kv.wire.frames import (
    FULL_FRAME_BYTES,
    MAX_BODY_BYTES,
    Beat,
    Kind,
    ProtocolError,
    Unframer,
    decode,
    decode_request,
    decode_requests,
    frame,
    full_frames,
)
from muster_kv.wire.hello import Challenge, Hello, Identity, Proof, Refusal, RefusedError
from muster_kv.wire.messages import Failure, Reply, ReplyBody, RequestBody
from muster_kv.wire.timing import Offset
from muster_records import Frame

log = logging.getLogger(__name__)

_WRITE_BUFFER_BYTES = 4 * 1024 * 1024
_UNREAD_BYTES = 128 * 1024 * 1024


class Call:
    """A request as the handler gets it.

    `expires_at` is the deadline in seconds of `time.monotonic`. A blind Take must not be done after
    it: check it again under the key's lock, before the record is read.
    """

    __slots__ = ("body", "expires_at", "id", "peer", "ring_version", "weight")

    def __init__(
        self, peer: "Peer", number: int, body: RequestBody, ring_version: int, expires_at: float
    ) -> None:
        self.peer = peer
        self.id = number
        self.body = body
        self.ring_version = ring_version
        self.expires_at = expires_at
        self.weight = body.weight()


class Hub(Protocol):
    """What a connection needs of its server."""

    identity: Identity

    @property
    def hello_timeout(self) -> float:
        """Seconds that a handshake may take."""

    def admit(self, peer: "Peer") -> bool:
        """Take a connection in, or say that there are too many."""

    def forget(self, peer: "Peer") -> None:
        """Drop a connection that is over."""

    def take(self, calls: list[Call]) -> None:
        """Queue requests."""

    @property
    def keeps_packed(self) -> bool:
        """Whether frames are taken apart by `take_plain`."""

    def take_plain(self, peer: "Peer", frame: Frame, offset_us: int) -> None:
        """Queue a frame's plain requests, whose deadlines are `offset_us` behind our clock."""


class Peer(asyncio.Protocol):
    """A client's connection. Whatever is wrong in what it sends ends it, with one line logged."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        # The server's name for the connection; none has 0.
        self.number = 0
        self._transport: asyncio.Transport | None = None
        self._unframer = Unframer(hello.MAX_HELLO_BYTES)
        self._offset = Offset()
        self._said: Hello | None = None
        self._asked: Challenge | None = None
        self._welcome = False
        self._patience: asyncio.TimerHandle | None = None
        self._replies: list[Reply] = []
        self._frames: list[bytes] = []
        self._unread = 0
        self._paused = False
        self._over = False

    @property
    def name(self) -> str:
        """The client's node id, empty before it is known."""
        return self._said.node_id if self._said else ""

    @property
    def role(self) -> hello.Role | None:
        """What the client is, None before it is known."""
        return self._said.role if self._said else None

    @property
    def over(self) -> bool:
        """Whether the connection has ended."""
        return self._over

    def answer(self, number: int, body: ReplyBody) -> None:
        """Answer a request, with the next `flush`."""
        if self._over:
            return
        weight = body.weight()
        if weight > MAX_BODY_BYTES:
            sentence = f"the answer has {weight} bytes; allowed: at most {MAX_BODY_BYTES}"
            body, weight = Failure(FailureCode.TOO_LARGE, sentence), 0
        self._replies.append(Reply(number, body))
        self._unread += weight
        if self._unread > _UNREAD_BYTES:
            self._end("it does not read its answers")

    def send(self, data: bytes) -> None:
        """Send a frame of answers, when the client reads."""
        if self._over:
            return
        self._frames.append(data)
        if self._paused:
            self._unread += len(data)
            if self._unread > _UNREAD_BYTES:
                self._end("it does not read its answers")
        else:
            self.flush()

    def flush(self) -> None:
        """Send the answers there are, unless the client is slow to read: then they gather."""
        if self._over or self._paused or self._transport is None:
            return
        frames, self._frames = self._frames, []
        for data in frames:
            self._transport.write(data)
        replies, size, self._replies, self._unread = self._replies, self._unread, [], 0
        if not replies:
            return
        batches = [replies] if size <= FULL_FRAME_BYTES else full_frames(replies, _weight)
        for batch in batches:
            self._transport.write(frame(Kind.REPLIES, batch))

    def close(self) -> None:
        """Hang up when all is written."""
        self._over = True
        if self._transport is not None:
            self._transport.close()

    # Called by the loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the client's hello, for a while."""
        # uvloop's transports are not of asyncio's class.
        self._transport = transport = cast("asyncio.Transport", transport)
        transport.set_write_buffer_limits(high=_WRITE_BUFFER_BYTES)
        if not self._hub.admit(self):
            self._refuse("the node takes no more connections")
            return
        loop = asyncio.get_running_loop()
        self._patience = loop.call_later(self._hub.hello_timeout, self._end, "no hello in time")

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the client."""
        self._over = True
        self._replies, self._frames = [], []
        if self._patience is not None:
            self._patience.cancel()
        self._hub.forget(self)

    def data_received(self, data: bytes) -> None:
        """Take requests in."""
        received_us = time.monotonic_ns() // 1000
        try:
            for kind, body in self._unframer.feed(data):
                if self._over:
                    return
                self._take(kind, body, received_us)
        except RefusedError as error:
            self._refuse(str(error))
        except ProtocolError as error:
            self._end(str(error))

    def pause_writing(self) -> None:
        """Stop reading requests of a client that does not read answers."""
        self._paused = True
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Send what has gathered, and read on."""
        self._paused = False
        if self._transport is not None and not self._over:
            self._transport.resume_reading()
            self.flush()

    def _take(self, kind: Kind, body: memoryview, received_us: int) -> None:
        if kind is Kind.REQUESTS and self._welcome and self._hub.keeps_packed:
            self._take_packed(body, received_us)
        elif kind is Kind.REQUESTS and self._welcome:
            batch = decode_requests(body)
            self._offset.observe(batch.sent_us, received_us)
            self._hub.take(
                [
                    self._call(one.id, one.deadline_us, one.ring_version, one.body)
                    for one in batch.requests
                ]
            )
        elif kind is Kind.PING and self._welcome:
            beat = decode(body, Beat)
            self._offset.observe(beat.sent_us, received_us)
            self._write(frame(Kind.PONG, beat))
        elif kind is Kind.HELLO and self._said is None:
            self._meet(decode(body, Hello), received_us)
        elif kind is Kind.PROOF and self._said and self._asked and not self._welcome:
            hello.verify(self._hub.identity, self._said, self._asked, decode(body, Proof))
            self._welcome = True
            self._unframer.open()
            if self._patience is not None:
                self._patience.cancel()
            self._write(frame(Kind.WELCOME, None))
        else:
            raise ProtocolError(f"frame {kind.name} out of turn")

    def _take_packed(self, body: memoryview, received_us: int) -> None:
        try:
            frame = Frame(bytes(body))
        except ValueError as error:
            raise ProtocolError(f"requests: {error}") from error
        self._offset.observe(frame.sent_us, received_us)
        self._hub.take_plain(self, frame, self._offset.ours(0))
        if others := frame.others():
            self._hub.take(
                [
                    self._call(number, deadline_us, ring_version, decode_request(packed))
                    for number, deadline_us, ring_version, packed in others
                ]
            )

    def _call(self, number: int, deadline_us: int, ring_version: int, body: RequestBody) -> Call:
        expires_at = self._offset.ours(deadline_us) / 1e6
        return Call(self, number, body, ring_version, expires_at)

    def _meet(self, said: Hello, received_us: int) -> None:
        self._asked = hello.challenge(
            self._hub.identity, said, secrets.token_bytes(hello.NONCE_BYTES)
        )
        self._said = said
        self._offset.observe(said.sent_us, received_us)
        self._write(frame(Kind.CHALLENGE, self._asked))

    def _write(self, data: bytearray) -> None:
        if self._transport is not None and not self._over:
            self._transport.write(data)

    def _refuse(self, reason: str) -> None:
        self._write(frame(Kind.REFUSED, Refusal(reason)))
        self._log("connection refused", reason)
        self.close()

    def _end(self, reason: str) -> None:
        if self._over:
            return
        self._over = True
        self._log("connection ended", reason)
        if self._transport is not None:
            self._transport.abort()

    def _log(self, message: str, reason: str) -> None:
        address = self._transport.get_extra_info("peername") if self._transport else None
        log.warning(message, extra={"peer": str(address), "node": self.name, "reason": reason})


def _weight(reply: Reply) -> int:
    return reply.body.weight()
