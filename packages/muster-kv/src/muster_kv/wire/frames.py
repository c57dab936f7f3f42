"""Frames: length (4 bytes, big-endian, of all after it), kind (1 byte), body."""

from collections.abc import Callable, Iterable
from enum import IntEnum
from typing import TypeVar

import msgspec

from muster_kv.wire.messages import Reply, Request, RequestBody

HEAD_BYTES = 5
# Above the largest value with its siblings; a frame that says more is not ours.
MAX_FRAME_BYTES = 64 * 1024 * 1024
# Of one request or reply by its weight, so that its frame stays below.
MAX_BODY_BYTES = MAX_FRAME_BYTES - 1024 * 1024
# A frame is closed when it has this much, so that one large value does not hold up many small.
FULL_FRAME_BYTES = 1024 * 1024


class Kind(IntEnum):
    """What a frame holds."""

    HELLO = 1
    CHALLENGE = 2
    PROOF = 3
    WELCOME = 4
    REFUSED = 5
    REQUESTS = 6
    REPLIES = 7
    PING = 8
    PONG = 9


_KINDS = {kind.value: kind for kind in Kind}
_NAMES = [f"{kind.value} ({kind.name.lower()})" for kind in Kind]


class ProtocolError(Exception):
    """The other end does not speak the protocol; the connection can't go on."""


class Requests(msgspec.Struct, array_like=True, gc=False, frozen=True):
    """A batch; `sent_us` is the sender's monotonic clock when the frame was closed."""

    sent_us: int
    requests: list[Request]


class Beat(msgspec.Struct, array_like=True, gc=False, frozen=True):
    """A sign of life: `sent_us` as in Requests; the answer brings it back."""

    sent_us: int


T = TypeVar("T")

_encoder = msgspec.msgpack.Encoder()
_requests = msgspec.msgpack.Decoder(Requests)
_request: msgspec.msgpack.Decoder[RequestBody] = msgspec.msgpack.Decoder(RequestBody)
_replies = msgspec.msgpack.Decoder(list[Reply])


def frame(kind: Kind, body: object) -> bytearray:
    """Return the bytes of a frame.

    Raises ProtocolError where the body is larger than any frame.
    """
    data = bytearray(HEAD_BYTES)
    _encoder.encode_into(body, data, HEAD_BYTES)
    if len(data) > MAX_FRAME_BYTES:
        raise ProtocolError(f"frame has {len(data)} bytes; allowed: at most {MAX_FRAME_BYTES}")
    data[:4] = (len(data) - 4).to_bytes(4, "big")
    data[4] = kind
    return data


def decode_requests(body: memoryview) -> Requests:
    """Return the batch in the body of a REQUESTS frame; raises ProtocolError."""
    try:
        return _requests.decode(body)
    except (msgspec.MsgspecError, RecursionError, OverflowError) as error:
        raise ProtocolError(f"requests: {error}") from error


def decode_request(packed: bytes) -> RequestBody:
    """Return one request that was taken out of a batch; raises ProtocolError."""
    try:
        return _request.decode(packed)
    except (msgspec.MsgspecError, RecursionError, OverflowError) as error:
        raise ProtocolError(f"requests: {error}") from error


def decode_replies(body: memoryview) -> list[Reply]:
    """Return the replies in the body of a REPLIES frame; raises ProtocolError."""
    try:
        return _replies.decode(body)
    except (msgspec.MsgspecError, RecursionError, OverflowError) as error:
        raise ProtocolError(f"replies: {error}") from error


def decode(body: memoryview, kind: type[T]) -> T:
    """Return the body of any other frame; raises ProtocolError."""
    try:
        return msgspec.msgpack.decode(body, type=kind)
    except (msgspec.MsgspecError, RecursionError, OverflowError) as error:
        raise ProtocolError(f"{kind.__name__.lower()}: {error}") from error


def full_frames(items: Iterable[T], weight: Callable[[T], int]) -> Iterable[list[T]]:
    """Yield the items in batches of about FULL_FRAME_BYTES; a larger one has its own."""
    batch: list[T] = []
    total = 0
    for item in items:
        more = weight(item)
        if batch and total + more > FULL_FRAME_BYTES:
            yield batch
            batch, total = [], 0
        batch.append(item)
        total += more
    if batch:
        yield batch


class Unframer:
    """Cuts a stream of bytes into frames."""

    def __init__(self, limit: int = MAX_FRAME_BYTES) -> None:
        self.limit = limit
        self._data = bytearray()

    def open(self) -> None:
        """Let frames have any size that is allowed: the other end is known now."""
        self.limit = MAX_FRAME_BYTES

    def feed(self, data: bytes) -> list[tuple[Kind, memoryview]]:
        """Take bytes in and return the frames that are whole now.

        Their bodies are valid until they are released. Raises ProtocolError at a length or a kind
        that no frame has.
        """
        source: bytes | bytearray = data
        if self._data:
            self._data += data
            source = self._data
        frames = []
        at, view = 0, memoryview(source)
        while len(source) - at >= HEAD_BYTES:
            length = int.from_bytes(view[at : at + 4], "big")
            if not 1 <= length <= self.limit:
                raise ProtocolError(f"frame length: {length}; allowed: 1 to {self.limit}")
            kind = _KINDS.get(view[at + 4])
            if kind is None:
                raise ProtocolError(f"frame kind: {view[at + 4]}; allowed: {', '.join(_NAMES)}")
            if len(source) - at < 4 + length:
                break
            frames.append((kind, view[at + HEAD_BYTES : at + 4 + length]))
            at += 4 + length
        if frames or source is data:
            # A new buffer: the old one lives as long as the frames that look into it.
            self._data = bytearray(view[at:])
        else:
            view.release()
        return frames
