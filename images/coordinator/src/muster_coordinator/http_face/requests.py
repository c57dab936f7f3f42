"""What clients may send: the models that requests are checked with, and described by.

A field's description is at the same time what its error says is allowed. The inputs of circuits
are secret and their rules depend on curve and size, so the models only describe them: their values
are checked by the catalogue, whose errors never show them.
"""

import base64
import binascii
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal, Self
from uuid import UUID

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    model_validator,
)

from muster_coordinator.http_face.frame import TIMEOUT_SECONDS
from muster_proving import Curve, Hash, InvalidInput, parse_circuit
from muster_runtime.config import parse_duration

MAX_BATCH = 1000
MAX_PAGE = 500
MAX_PRIORITY = 1000

_LONGEST_WAIT = timedelta(days=30)
_MAX_LEAVES = 65_536
_MAX_SIGNALS = 64
_CURVES = [name for curve in Curve for name in (curve.value, curve.value.upper())]
_DIGITS = {"type": "string", "pattern": "^[0-9]{1,39}$"}


class Status(StrEnum):
    """Where a task is, in the words of this API."""

    PENDING = "pending"
    ASSIGNED = "assigned"
    IN_PROGRESS = "in_progress"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


def _curve(value: object) -> str:
    return parse_circuit("addition", curve=value).curve.value


def _hash(value: object) -> str:
    return parse_circuit("addition", hash_with=value).hash.value


def _text(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError("a string")  # noqa: TRY004 - pydantic's own way to say it
    return value


def _soon(value: datetime) -> datetime:
    if not timedelta() < value - datetime.now(UTC) <= _LONGEST_WAIT:
        raise ValueError("not in time")
    return value


def _bytes(value: object) -> bytes:
    try:
        return base64.b64decode(value if isinstance(value, str) else "", validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("no base64") from None


CurveName = Annotated[
    str, BeforeValidator(_curve), WithJsonSchema({"type": "string", "enum": _CURVES})
]
HashName = Annotated[
    str,
    BeforeValidator(_hash),
    WithJsonSchema({"type": "string", "enum": [one.value for one in Hash]}),
]
PoolName = Annotated[
    str, Field(strict=True, min_length=1, max_length=253, pattern=r"^[^\x00-\x1f]+$")
]
CurveChoice = Annotated[
    CurveName | None, Field(description="bn254 or bls12-381; bn254 where on offer")
]
HashChoice = Annotated[
    HashName | None, Field(description="poseidon or mimc; poseidon where on offer")
]
PoolChoice = Annotated[PoolName | None, Field(description="the name of a pool; any by default")]
CircuitName = Annotated[
    Literal["merkle", "range", "addition", "merkle_proof", "range_proof"],
    Field(description="merkle, range or addition"),
]
Base64 = Annotated[
    bytes,
    BeforeValidator(_bytes),
    Field(min_length=1),
    WithJsonSchema(
        {
            "type": "string",
            "contentEncoding": "base64",
            "minLength": 4,
            "pattern": "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$",
        }
    ),
]


Number = Annotated[
    Any,
    WithJsonSchema(
        {
            "anyOf": [{"type": "integer", "minimum": 0, "maximum": 2**128 - 1}, _DIGITS],
            "writeOnly": True,
        }
    ),
    Field(description="an integer from 0 to 2^128 - 1 at most, as a number or as decimal digits"),
]
Leaves = Annotated[
    Any,
    WithJsonSchema(
        {
            "type": "array",
            "items": {"type": "string", "pattern": "^(?:0[xX])?[0-9a-fA-F]{1,64}$"},
            "minItems": 1,
            "maxItems": _MAX_LEAVES,
            "writeOnly": True,
        }
    ),
    Field(description="a list of hex strings below the curve's modulus, the tree's first leaves"),
]
LeafIndex = Annotated[
    Any,
    WithJsonSchema(
        {
            "anyOf": [{"type": "integer", "minimum": 0, "maximum": _MAX_LEAVES - 1}, _DIGITS],
            "writeOnly": True,
        }
    ),
    Field(description="an integer from 0, the index of a given leaf"),
]
Blinding = Annotated[
    Any,
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 0},
                {"type": "string", "pattern": "^(?:0[xX][0-9a-fA-F]{1,64}|[0-9]{1,80})$"},
                {"type": "null"},
            ],
            "writeOnly": True,
        }
    ),
    Field(description="a decimal or 0x-hex number below the curve's modulus; random by default"),
]


class Strict(BaseModel):
    """A request: nothing in it is unknown."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Task(Strict):
    """What every submission may say beside its inputs."""

    circuit_name: ClassVar[str]
    input_names: ClassVar[tuple[str, ...]]

    curve: CurveChoice = None
    size: int | None = None
    hash: HashChoice = None
    pool: PoolChoice = None
    priority: int = Field(
        10, strict=True, ge=0, le=MAX_PRIORITY, description=f"an integer from 0 to {MAX_PRIORITY}"
    )
    deadline: Annotated[AwareDatetime, BeforeValidator(_text), AfterValidator(_soon)] | None = (
        Field(
            None,
            description="a time with its zone, as in 2030-01-02T03:04:05Z, within 30 days; a task "
            "that still waits then fails",
        )
    )
    timeout_seconds: float | None = Field(
        None,
        strict=True,
        gt=0,
        le=_LONGEST_WAIT.total_seconds(),
        allow_inf_nan=False,
        description="a number above 0, at most 2592000 (30 days); like deadline, from now on",
    )

    @property
    def inputs(self) -> dict[str, Any]:
        """The circuit's inputs as they were given."""
        given = {name: getattr(self, name) for name in self.input_names}
        return {name: value for name, value in given.items() if value is not None}

    @model_validator(mode="after")
    def _one_end(self) -> Self:
        if self.deadline is not None and self.timeout_seconds is not None:
            raise InvalidInput("deadline", "beside timeout_seconds", "one of the two")
        return self


class MerkleTask(Task):
    """Prove that a leaf is in a tree."""

    circuit_name = "merkle"
    input_names = ("leaves", "leaf_index")

    leaves: Leaves
    leaf_index: LeafIndex
    size: int | None = Field(
        None, strict=True, ge=1, le=32, description="an integer from 1 to 32, the tree's depth"
    )


class RangeTask(Task):
    """Prove that a committed value lies between bounds."""

    circuit_name = "range"
    input_names = ("value", "min", "max", "blinding")

    value: Number
    min: Number
    max: Number
    blinding: Blinding = None
    size: int | None = Field(
        None, strict=True, ge=8, le=128, description="an integer from 8 to 128, the numbers' bits"
    )


class AdditionTask(Task):
    """Prove the sum of two committed values."""

    circuit_name = "addition"
    input_names = ("a", "b", "blinding_a", "blinding_b")

    a: Number
    b: Number
    blinding_a: Blinding = None
    blinding_b: Blinding = None
    size: int | None = Field(None, strict=True, ge=0, le=0, description="nothing, or 0")


class MerkleItem(MerkleTask):
    """A merkle task of a batch."""

    circuit: Literal["merkle", "merkle_proof"]


class RangeItem(RangeTask):
    """A range task of a batch."""

    circuit: Literal["range", "range_proof"]


class AdditionItem(AdditionTask):
    """An addition task of a batch."""

    circuit: Literal["addition"]


class Batch(Strict):
    """Several tasks, taken in together or not at all."""

    tasks: list[
        Annotated[MerkleItem | RangeItem | AdditionItem, Field(discriminator="circuit")]
    ] = Field(min_length=1, max_length=MAX_BATCH, description=f"a list of 1 to {MAX_BATCH} tasks")


class ProofToVerify(Strict):
    """A proof, made here or elsewhere, and what it claims."""

    circuit: CircuitName
    curve: CurveChoice = None
    size: int | None = Field(
        None, strict=True, ge=0, le=128, description="the depth or bits, an integer from 0 to 128"
    )
    hash: HashChoice = None
    pool: PoolChoice = None
    key_version: str | None = Field(
        None,
        strict=True,
        pattern="^sha256:[0-9a-f]{64}$",
        description="a version of this key, as in sha256:… and 64 hex digits; the current one",
    )
    proof_bytes: Base64 = Field(description="the bytes of a proof in base64")
    public_inputs: list[Annotated[str, Field(strict=True, pattern="^[0-9]{1,80}$")]] = Field(
        max_length=_MAX_SIGNALS, description="a list of decimal strings, as in public.json"
    )


def _wait(value: object) -> timedelta:
    span = parse_duration(value)
    if not timedelta() <= span <= timedelta(seconds=TIMEOUT_SECONDS):
        raise ValueError(f"a duration from 0s to {TIMEOUT_SECONDS:g}s")
    return span


class Look(Strict):
    """How to look at one task."""

    wait: Annotated[
        timedelta,
        BeforeValidator(_wait),
        WithJsonSchema(
            {"type": "string", "pattern": r"^(?:30|[12]?[0-9])s$|^[0-9]{1,4}ms$", "default": "0s"}
        ),
    ] = Field(timedelta(), description="a duration from 0s to 30s, as in 500ms or 30s")


class Listing(Strict):
    """Which tasks to list."""

    status: list[Status] = Field([], description=", ".join(Status))
    circuit: CircuitName | None = Field(None, description="merkle, range or addition")
    pool: PoolName | None = Field(None, description="the name of a pool")
    cursor: UUID | None = Field(None, description="next_cursor of the page before")
    limit: int = Field(50, ge=1, le=MAX_PAGE, description=f"an integer from 1 to {MAX_PAGE}")


class KeyChoice(Strict):
    """Which of a circuit's keys."""

    curve: CurveChoice = None
    size: int | None = Field(
        None, ge=0, le=128, description="an integer from 0 to 128, the depth or bits"
    )
    hash: HashChoice = None
    pool: PoolChoice = None


TASK_ID = "a UUID, as in the answer to the submission"
IDEMPOTENCY_KEY = "1 to 255 visible ASCII characters"

PARAMETERS = {
    name: str(field.description)
    for model in (Look, Listing, KeyChoice)
    for name, field in model.model_fields.items()
} | {"task_id": TASK_ID, "Idempotency-Key": IDEMPOTENCY_KEY}
"""What each parameter in a path, query or header may be."""
