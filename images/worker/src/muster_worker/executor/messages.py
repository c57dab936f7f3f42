"""What a worker and its executing process say to each other over their socket pair.

The worker asks, the process answers each request with one reply. A message is a header with two
lengths (4 bytes each, big-endian), then JSON of that first length, then a blob of the second.
Plain dataclasses and JSON, because a replaced process should not spend its start on imports.
"""

import json
import struct
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

from muster_worker.tasks import Reason

HEADER = struct.Struct(">II")


@dataclass(frozen=True, slots=True)
class Load:
    """Take over these keys, and no others: id, version and path of each."""

    keys: tuple[tuple[str, str, str], ...]
    blob: bytes = b""


@dataclass(frozen=True, slots=True)
class Execute:
    """Execute a task; the blob is its payload."""

    task_type: str
    task_id: str
    key_id: str
    key_version: str
    blob: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Loaded:
    """The keys are loaded."""

    blob: bytes = b""


@dataclass(frozen=True, slots=True)
class LoadRefused:
    """The keys can't be loaded."""

    message: str
    blob: bytes = b""


@dataclass(frozen=True, slots=True)
class Executed:
    """The task gave a result; the blob is its output."""

    metadata_json: str
    merkle_root: str
    seconds: float
    blob: bytes


@dataclass(frozen=True, slots=True)
class Failed:
    """The task failed, and this process is as good as before; `reason` is a `Reason`."""

    reason: str
    message: str
    blob: bytes = b""


Request = Load | Execute
Reply = Loaded | LoadRefused | Executed | Failed

_KINDS: dict[str, type[Request | Reply]] = {
    kind.__name__: kind for kind in (Load, Execute, Loaded, LoadRefused, Executed, Failed)
}


def failed(reason: Reason, message: str) -> Failed:
    """A failed task."""
    return Failed(reason.value, message)


def frame(message: Request | Reply) -> bytes:
    """The message as it goes over the socket."""
    fields = asdict(message)
    del fields["blob"]
    body = json.dumps([type(message).__name__, fields]).encode()
    return HEADER.pack(len(body), len(message.blob)) + body + message.blob


def parse(body: bytes, blob: bytes) -> Request | Reply:
    """Read what `frame` wrote behind the header.

    Raises:
        ValueError: it is no message.
    """
    try:
        kind, fields = json.loads(body)
        return _KINDS[kind](**fields, blob=blob)
    except (TypeError, KeyError, ValueError) as error:
        raise ValueError(f"no message: {error!r}") from error


def receive(read: Callable[[int], bytes]) -> Request | Reply | None:
    """One message from a blocking stream; None at its end.

    Raises:
        ValueError: what arrives is no message.
    """
    header = read(HEADER.size)
    if len(header) < HEADER.size:
        return None
    body_length, blob_length = HEADER.unpack(header)
    return parse(read(body_length), read(blob_length))
