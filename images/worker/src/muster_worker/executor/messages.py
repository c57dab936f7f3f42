"""What a worker and its executing process say to each other over their socket pair.

The worker asks, the process answers each request with one reply. While a task runs, the process
says how it goes, and the worker may wish that it stops. A message is a header with two lengths
(4 bytes each, big-endian), then JSON of that first length, then a blob of the second. Plain
dataclasses and JSON, because a replaced process should not spend its start on imports.
"""

import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from muster_worker.tasks import Reason

HEADER = struct.Struct(">II")


@dataclass(frozen=True, slots=True)
class Load:
    """Serve these workload types with these keys, and no others.

    Attributes:
        types: their names; those of the first `Load` of a process hold for its life.
        keys: id, version and path of each.
        options: of each type that has any.
        checkpoint_seconds: between two checkpoints that a running task is asked for.
    """

    types: tuple[str, ...]
    keys: tuple[tuple[str, str, str], ...]
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)
    checkpoint_seconds: float = 30.0
    blob: bytes = b""


@dataclass(frozen=True, slots=True)
class Execute:
    """Execute a task; the blob is its payload, and behind that its checkpoint.

    Attributes:
        checkpoint_size: bytes of the checkpoint; None without one.
    """

    task_type: str
    task_id: str
    key_id: str
    key_version: str
    customer_id: str
    attempt: int
    checkpoint_size: int | None
    blob: bytes = field(repr=False)

    @property
    def payload(self) -> bytes:
        """The input."""
        return self.blob[: len(self.blob) - (self.checkpoint_size or 0)]

    @property
    def checkpoint(self) -> bytes | None:
        """What an earlier run saved last."""
        if self.checkpoint_size is None:
            return None
        return self.blob[len(self.blob) - self.checkpoint_size :]


@dataclass(frozen=True, slots=True)
class Stop:
    """The task that runs is to stop; `wish` is a `Wish`. Nothing answers this."""

    wish: str
    blob: bytes = b""


@dataclass(frozen=True, slots=True)
class Progressed:
    """How far the running task has come, 0 to 100."""

    percent: float
    message: str
    blob: bytes = b""


@dataclass(frozen=True, slots=True)
class Logged:
    """A line for the log of the running task; `at_ms` is Unix time in milliseconds."""

    at_ms: int
    level: str
    message: str = field(repr=False)
    blob: bytes = b""


@dataclass(frozen=True, slots=True)
class Saved:
    """The blob is what the running task can go on from."""

    blob: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Loaded:
    """Types and keys are loaded."""

    blob: bytes = b""


@dataclass(frozen=True, slots=True)
class LoadRefused:
    """They can't be loaded."""

    message: str
    blob: bytes = b""


@dataclass(frozen=True, slots=True)
class Executed:
    """The task gave a result.

    Attributes:
        proof: whether the blob is a proof; else it is JSON.
        metadata_json: of a proof.
        merkle_root: of a merkle proof.
    """

    seconds: float
    blob: bytes = field(repr=False)
    proof: bool = False
    metadata_json: str = ""
    merkle_root: str = ""


@dataclass(frozen=True, slots=True)
class Failed:
    """The task failed, and this process is as good as before; `reason` is a `Reason`."""

    reason: str
    message: str
    permanent: bool = False
    blob: bytes = b""


@dataclass(frozen=True, slots=True)
class Stopped:
    """The task stopped as it was asked to.

    Attributes:
        kept: whether the blob is what it can go on from; else there is nothing.
    """

    wish: str
    kept: bool = False
    blob: bytes = field(default=b"", repr=False)


Request = Load | Execute
Event = Progressed | Logged | Saved
Reply = Loaded | LoadRefused | Executed | Failed | Stopped
Message = Request | Stop | Event | Reply

_KINDS: dict[str, type[Message]] = {
    kind.__name__: kind
    for kind in (
        *(Load, Execute, Stop),
        *(Progressed, Logged, Saved),
        *(Loaded, LoadRefused, Executed, Failed, Stopped),
    )
}


def failed(reason: Reason, message: str, *, permanent: bool = False) -> Failed:
    """A failed task."""
    return Failed(reason.value, message, permanent)


def frame(message: Message) -> bytes:
    """The message as it goes over the socket."""
    fields = asdict(message)
    del fields["blob"]
    body = json.dumps([type(message).__name__, fields]).encode()
    return HEADER.pack(len(body), len(message.blob)) + body + message.blob


def parse(body: bytes, blob: bytes) -> Message:
    """Read what `frame` wrote behind the header.

    Raises:
        ValueError: it is no message.
    """
    try:
        kind, fields = json.loads(body)
        return _KINDS[kind](**fields, blob=blob)
    except (TypeError, KeyError, ValueError) as error:
        raise ValueError(f"no message: {error!r}") from error


def receive(read: Callable[[int], bytes]) -> Message | None:
    """One message from a blocking stream; None at its end.

    Raises:
        ValueError: what arrives is no message.
    """
    header = read(HEADER.size)
    if len(header) < HEADER.size:
        return None
    body_length, blob_length = HEADER.unpack(header)
    return parse(read(body_length), read(blob_length))
