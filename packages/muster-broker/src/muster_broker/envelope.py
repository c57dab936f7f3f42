"""The frame around every message: who says what, when, and in answer to what."""

import json
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

SenderType = Literal["worker", "coordinator"]

# No NUL, which no database takes, and nothing that a subject or a log would trip over.
Word = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[!-~]+$")]


# Longer texts may be results, which are nobody's business here.
_SHOWN = 64


class Malformed(ValueError):  # noqa: N818 - named after the cause
    """Bytes that are no message; the text names the field, its value and what is allowed."""


class Envelope(BaseModel):
    """One message.

    Attributes:
        message_id: the same in every copy of a message; a copy changes nothing.
        type: what `payload` is, as in `workload.completed`.
        timestamp: when the sender made it.
        correlation_id: the message_id that this answers, or the session that it belongs to.
    """

    model_config = ConfigDict(frozen=True)

    message_id: Word
    type: Word
    timestamp: AwareDatetime
    sender_id: Word
    sender_type: SenderType
    correlation_id: Annotated[str, Field(max_length=253, pattern=r"^[!-~]*$")] = ""
    payload: dict[str, Any] = Field(default_factory=dict)

    def encode(self) -> bytes:
        """The message as JSON."""
        document = {
            "message_id": self.message_id,
            "type": self.type,
            "timestamp": self.timestamp.isoformat(),
            "sender_id": self.sender_id,
            "sender_type": self.sender_type,
            "correlation_id": self.correlation_id,
            "payload": self.payload,
        }
        return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


def decode(data: bytes) -> Envelope:
    """Read a message.

    Raises:
        Malformed: it is none.
    """
    try:
        return Envelope.model_validate_json(data)
    except ValidationError as invalid:
        raise Malformed(sentence(invalid)) from None


def sentence(invalid: ValidationError) -> str:
    """What is wrong first: the field, its value where it is short, and what is allowed."""
    error = invalid.errors(include_url=False)[0]
    field = ".".join(str(part) for part in error["loc"]) or "the message"
    if error["type"] == "missing":
        return f"{field} is missing; it has no default"
    if error["type"] == "json_invalid":
        return f"{field} is no JSON object: {error['msg']}"
    allowed = error["msg"].removeprefix("Value error, ").removeprefix("Input should ")
    return f"{field} is {_shown(error['input'])}; allowed: {allowed}"


def _shown(value: object) -> str:
    if value is None or isinstance(value, bool | int | float):
        return str(value)
    if isinstance(value, str):
        return repr(value) if len(value) <= _SHOWN else f"a text of {len(value)} characters"
    return "a list" if isinstance(value, list) else "an object"


class Sender:
    """Makes the messages of one process."""

    def __init__(self, sender_id: str, sender_type: SenderType) -> None:
        self._id = sender_id
        self._type: SenderType = sender_type

    def message(
        self,
        kind: str,
        payload: Mapping[str, Any] | BaseModel,
        *,
        correlation_id: str = "",
        message_id: str = "",
    ) -> Envelope:
        """A message of now; with a new id, where none is given."""
        body = (
            payload.model_dump(mode="json", exclude_none=True)
            if isinstance(payload, BaseModel)
            else dict(payload)
        )
        return Envelope.model_construct(
            message_id=message_id or uuid.uuid4().hex,
            type=kind,
            timestamp=datetime.now(UTC),
            sender_id=self._id,
            sender_type=self._type,
            correlation_id=correlation_id,
            payload=body,
        )
