"""What a worker and its executing process say to each other over their socket pair.

A message is JSON behind its length, 4 bytes, big-endian. The worker asks, the process answers
each request with one reply.
"""

import struct
from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from muster_worker.tasks import Reason

HEADER = struct.Struct(">I")


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, ser_json_bytes="base64", val_json_bytes="base64")


class KeyFile(_Message):
    """A proving key in a file."""

    key_id: str
    version: str
    path: str


class Load(_Message):
    """Take over these keys, and no others."""

    kind: Literal["load"] = "load"
    keys: tuple[KeyFile, ...]


class Execute(_Message):
    """Execute a task."""

    kind: Literal["execute"] = "execute"
    task_type: str
    task_id: str
    payload: bytes = Field(repr=False)
    key_id: str
    key_version: str


class Loaded(_Message):
    """The keys are loaded."""

    kind: Literal["loaded"] = "loaded"


class LoadRefused(_Message):
    """The keys can't be loaded."""

    kind: Literal["load_refused"] = "load_refused"
    message: str


class Executed(_Message):
    """The task gave a result."""

    kind: Literal["executed"] = "executed"
    output: bytes
    metadata_json: str
    merkle_root: str
    seconds: float


class Failed(_Message):
    """The task failed, and this process is as good as before."""

    kind: Literal["failed"] = "failed"
    reason: Reason
    message: str


Request = Load | Execute
Reply = Loaded | LoadRefused | Executed | Failed

_REQUEST: TypeAdapter[Request] = TypeAdapter(Annotated[Request, Field(discriminator="kind")])
_REPLY: TypeAdapter[Reply] = TypeAdapter(Annotated[Reply, Field(discriminator="kind")])


def frame(message: Request | Reply) -> bytes:
    """The message as it goes over the socket."""
    body = message.model_dump_json().encode()
    return HEADER.pack(len(body)) + body


def read_request(body: bytes) -> Request:
    """Read the JSON of a request."""
    return _REQUEST.validate_json(body)


def read_reply(body: bytes) -> Reply:
    """Read the JSON of a reply.

    Raises:
        ValueError: it is none.
    """
    return _REPLY.validate_json(body)


def receive(read: Callable[[int], bytes]) -> bytes | None:
    """One message's JSON from a blocking stream; None at its end."""
    header = read(HEADER.size)
    if len(header) < HEADER.size:
        return None
    (length,) = HEADER.unpack(header)
    body = read(length)
    return body if len(body) == length else None
