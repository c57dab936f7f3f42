"""What messages say: their types, and the payload of each.

Workers send `Event`s (kept until stored) and `Ask`s (answered at once), coordinators send
`Command`s to one worker and `News` to all. Unknown fields are left out, so that later versions can
add some.
"""

import base64
import binascii
import re
from enum import StrEnum
from typing import Annotated, Literal, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
)

from muster_broker.envelope import Envelope, Malformed, Word, sentence

MAX_CAPACITY = 1024
MAX_DURATION_MS = 7 * 24 * 3600 * 1000
MAX_TEXT = 4000
_MAX_ENTRIES = 1024

Text = Annotated[str, Field(max_length=MAX_TEXT, pattern=r"^[^\x00]*$")]
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?")


def _bytes(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("bytes in base64") from None


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()


Data = Annotated[
    bytes,
    BeforeValidator(_bytes),
    PlainSerializer(_base64, return_type=str, when_used="json-unless-none"),
]
"""Bytes, which are base64 in a message."""

KeyName = Annotated[str, Field(pattern=r"^[!-~]{1,512}$")]

JsonText = Annotated[str, Field(max_length=2**20, pattern=r"^[^\x00]*$")]


class Event(StrEnum):
    """What workers report about work, on `coordinator.events`."""

    ACK = "workload.ack"
    PROGRESS = "workload.progress"
    LOG = "workload.log"
    CHECKPOINT = "workload.checkpoint"
    COMPLETED = "workload.completed"
    FAILED = "workload.failed"
    PAUSED = "workload.paused"
    RELEASED = "workload.released"


class Ask(StrEnum):
    """What workers say about themselves, on `worker.{id}.status` or `coordinator.events`."""

    REGISTER = "worker.register"
    HEARTBEAT = "worker.heartbeat"
    DRAIN = "worker.drain"
    LEAVE = "worker.leave"
    LIST_KEYS = "keys.list"
    GET_KEY = "keys.get"


class Command(StrEnum):
    """What coordinators tell one worker, on `worker.{id}.commands`."""

    ASSIGN = "workload.assign"
    CANCEL = "workload.cancel"
    PAUSE = "workload.pause"
    DRAIN = "worker.drain"
    DETACHED = "worker.detached"
    ANSWER = "coordinator.answer"


class News(StrEnum):
    """What coordinators tell all workers, on `coordinator.broadcast`."""

    ALIVE = "coordinator.alive"
    LEAVING = "coordinator.leaving"


class Payload(BaseModel):
    """What is in a message of one type."""

    model_config = ConfigDict(frozen=True)


class Holding(Payload):
    """An assignment that a worker works on already."""

    workload_id: Word
    generation: Annotated[int, Field(ge=0, lt=2**63)]


class Register(Payload):
    """Makes a worker known; what it is given comes under the message_id of this, its session.

    Attributes:
        types: kinds of work, as in `command` or `prove.merkle`.
        keys: key id to the versions of it that are loaded, separated by spaces.
        instance: differs between two processes of one name.
        holding: what it works on already.
    """

    pool: Annotated[str, Field(max_length=253)] = ""
    capacity: Annotated[int, Field(ge=1, le=MAX_CAPACITY)]
    types: Annotated[frozenset[Word], Field(min_length=1, max_length=_MAX_ENTRIES)]
    keys: Annotated[dict[Word, Text], Field(max_length=_MAX_ENTRIES)] = Field(default_factory=dict)
    version: Text = ""
    tags: Annotated[dict[Text, Text], Field(max_length=64)] = Field(default_factory=dict)
    instance: Text = ""
    holding: Annotated[tuple[Holding, ...], Field(max_length=MAX_CAPACITY)] = ()


class Heartbeat(Payload):
    """The worker lives.

    Attributes:
        active_tasks: how many tasks it has not finished.
        session: the message_id of its `worker.register`, and who answered that; the one that is
            named and has no such session says so.
    """

    active_tasks: Annotated[int, Field(ge=0, le=MAX_CAPACITY)] = 0
    session: Text = ""
    coordinator_id: Text = ""


class ListKeys(Payload):
    """Asks for all proving keys of a pool."""

    pool: Annotated[str, Field(max_length=253)] = ""


class GetKey(Payload):
    """Asks for one proving key, which comes in pieces behind the answer; an empty one ends it."""

    key_id: KeyName
    version: KeyName


class Claimed(Payload):
    """About one assignment; generation 0 means the one that the worker holds."""

    workload_id: Word
    generation: Annotated[int, Field(ge=0, lt=2**63)] = 0
    traceparent: Annotated[str, Field(max_length=128)] = ""


class Ack(Claimed):
    """The work began."""


class Progress(Claimed):
    """How far the work is, in percent."""

    percent: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
    message: Text = ""


class LogLine(Payload):
    """One line that the work wrote; `at_ms` is Unix time in milliseconds."""

    at_ms: Annotated[int, Field(ge=0, lt=2**53)]
    level: Literal["debug", "info", "warning", "error"] = "info"
    message: Text


class Log(Claimed):
    """Lines that the work wrote."""

    lines: Annotated[tuple[LogLine, ...], Field(min_length=1, max_length=_MAX_ENTRIES)]


class Checkpoint(Claimed):
    """What to go on from, if the work has to be begun again elsewhere."""

    data: Data


class Completed(Claimed):
    """The work is done.

    Attributes:
        output: what it yielded, a JSON text; none for a proof.
        proof: the bytes of a proof, with what is to be said about it in `metadata`.
    """

    output: JsonText | None = None
    proof: Data = b""
    metadata: dict[str, object] = Field(default_factory=dict)
    merkle_root: Text = ""
    duration_ms: Annotated[int, Field(ge=0, le=MAX_DURATION_MS)] = 0


class Failed(Claimed):
    """The work failed; `permanent` means that it would fail everywhere."""

    error_message: Text
    error_type: Literal["transient", "permanent"] = "transient"


class Paused(Claimed):
    """The work stopped as it was asked to; without data, what was saved last counts."""

    data: Data | None = None


class Released(Claimed):
    """The worker hands the work back unfinished."""

    reason: Text = ""


class Assign(Claimed):
    """Work for a worker.

    Attributes:
        type: the kind of work.
        input: what to work on, a JSON text.
        checkpoint: what an earlier try saved last, if any.
        attempt: 1, and one more with each try and each worker that was lost.
        timeout_ms: how long it may take; 0 leaves it to the worker.
    """

    type: Word
    input: str = Field(repr=False)
    key_id: str = ""
    key_version: str = ""
    customer_id: str = ""
    checkpoint: Data | None = None
    attempt: int = 1
    timeout_ms: int = 0
    created_at_ms: int = 0


class Stop(Claimed):
    """`workload.cancel` or `workload.pause` for one assignment."""


class Outcome(StrEnum):
    """What became of what a worker said."""

    ACCEPTED = "accepted"
    FENCED = "fenced"
    """The work is not this worker's any more, or has ended."""
    NOT_FOUND = "not_found"
    """No such worker, work or key; a worker that is not known registers again."""
    REJECTED = "rejected"
    """It can't be right, as with a wrong proof; sent again it would be no better."""
    UNAVAILABLE = "unavailable"
    """Not now."""


class Answer(Payload):
    """What became of a message; its id is the answer's correlation_id."""

    outcome: Outcome = Outcome.ACCEPTED
    message: Text = ""


class Registered(Answer):
    """The answer to `worker.register`.

    Attributes:
        coordinator_id: who sends it work from now on, as long as its news come.
        news_ms: how often they come.
    """

    coordinator_id: str = ""
    heartbeat_ms: int = 0
    news_ms: int = 0


class KeyInfo(Payload):
    """A proving key; digests are lower-case hex."""

    key_id: str
    version: str
    proving_key_sha256: str
    size_bytes: int


class Keys(Answer):
    """The answer to `keys.list`."""

    keys: tuple[KeyInfo, ...] = ()


class Received(Payload):
    """What a worker answers a command with; unless `session`, nothing came of it."""

    session: bool = True


class Presence(Payload):
    """Which coordinator the news are of."""

    coordinator_id: str


P = TypeVar("P", bound=Payload)


def worker_name(value: str) -> str:
    """The name of a worker.

    Raises:
        Malformed: it is none.
    """
    if _NAME.fullmatch(value) is None:
        raise Malformed(
            f"sender_id is {value[:64]!r}; allowed: 1 to 253 letters, digits, '.', '_' and '-', a "
            "letter or digit at both ends"
        )
    return value


def read(message: Envelope, model: type[P]) -> P:
    """The payload of a message.

    Raises:
        Malformed: it is not of this kind.
    """
    try:
        return model.model_validate(message.payload)
    except ValidationError as invalid:
        raise Malformed(f"payload.{sentence(invalid)}") from None
