"""What bodies of requests may hold; the OpenAPI document is made of these too."""

import base64
import binascii
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from muster_kv_coordinator.core.errors import KvError, invalid
from muster_protos import kv_pb2 as pb

_INT32 = 2**31 - 1
_INT64 = 2**63 - 1

Counter = Annotated[int, Field(ge=1, le=_INT64)]


class _Body(BaseModel):
    # Strict, or numbers would be taken where texts are meant, and texts where numbers are.
    model_config = ConfigDict(extra="forbid", strict=True)


class WriteBody(_Body):
    """A write; give `value` as text, or `value_base64` where it is none."""

    tenant_id: str
    key: str
    value: str | None = None
    value_base64: str | None = None
    consistency: str = Field(default="", description="one, quorum, all; empty for the default")
    context: dict[str, Counter] | None = Field(
        default=None, description="the vector_clock of what was read, and so is replaced"
    )
    ttl_seconds: int = Field(default=0, ge=0, le=_INT64, description="0 for ever")

    def bytes_of_value(self) -> bytes:
        """The value.

        Raises:
            KvError: INVALID_REQUEST.
        """
        if (self.value is None) == (self.value_base64 is None):
            raise invalid("value", "none or both", "exactly one of value and value_base64")
        if self.value is not None:
            return utf8("value", self.value)
        try:
            return base64.b64decode(self.value_base64 or "", validate=True)
        except (binascii.Error, ValueError):
            raise invalid("value_base64", self.value_base64, "base64") from None


class PolicyBody(_Body):
    """How a tenant's data is treated; what is left out stays, or is the default."""

    conflict_resolution: str = Field(default="", description="Siblings, LastWriteWins")
    durability: str = Field(default="", description="Sync, Async")
    idempotency: str = Field(default="", description="Replicas, Redis")
    writes_per_minute: int = Field(default=0, ge=-1, le=_INT64, description="-1 for no limit")
    reads_per_minute: int = Field(default=0, ge=-1, le=_INT64, description="-1 for no limit")

    def message(self) -> pb.TenantPolicy:
        """As a message."""
        return pb.TenantPolicy(**self.model_dump())


class TenantBody(_Body):
    """A tenant to be made."""

    tenant_id: str
    replication_factor: int = Field(default=0, ge=-_INT32, le=_INT32, description="3 where 0")
    policy: PolicyBody = PolicyBody()


class FactorBody(_Body):
    """Another replication factor."""

    replication_factor: int = Field(ge=-_INT32, le=_INT32)


class RepairBody(_Body):
    """Whose replicas are to be compared."""

    tenant_id: str = Field(default="", description="of all tenants where left out")


class NodeBody(_Body):
    """A storage node to be added."""

    node_id: str
    host: str
    port: int = Field(ge=-_INT32, le=_INT32)
    virtual_nodes: int = Field(default=0, ge=-_INT32, le=_INT32, description="150 where 0")
    zone: str = ""


B = TypeVar("B", bound=_Body)


def parse(model: type[B], data: bytes) -> B:
    """A body.

    Raises:
        KvError: INVALID_REQUEST, naming the first field that is wrong.
    """
    try:
        return model.model_validate_json(data)
    except ValidationError as error:
        raise _problem(error.errors()[0]) from None


def _problem(error: ErrorDetails) -> KvError:
    field = ".".join(str(part) for part in error["loc"]) or "body"
    if error["type"] == "extra_forbidden":
        return invalid(field, error["input"], "no such field; see /openapi.json")
    if error["type"] == "missing":
        return invalid(field, None, "a value; it has no default")
    return invalid(field, error["input"], error["msg"].removeprefix("Input should be "))


def utf8(field: str, text: str) -> bytes:
    """A text as bytes.

    Raises:
        KvError: INVALID_REQUEST for half a surrogate pair, which JSON can hold.
    """
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise invalid(field, "a lone surrogate", "text that is Unicode") from None


def clock(held: Mapping[str, int]) -> pb.VectorClock:
    """A context as a message."""
    message = pb.VectorClock()
    for actor, counter in held.items():
        utf8("context", actor)
        message.entries.add(coordinator_node_id=actor, logical_timestamp=counter)
    return message


def shown_clock(message: pb.VectorClock) -> dict[str, int]:
    """A context as JSON has it."""
    return {entry.coordinator_node_id: entry.logical_timestamp for entry in message.entries}


def shown_value(value: bytes) -> dict[str, Any]:
    """A value as JSON has it: a text, or base64 where it is none."""
    try:
        return {"value": value.decode()}
    except UnicodeDecodeError:
        return {"value_base64": base64.b64encode(value).decode()}
