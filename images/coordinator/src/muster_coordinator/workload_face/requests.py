"""What customers may ask for: the models that requests are checked with, and described by.

A field's description is at the same time what its error says is allowed.
"""

import math
import re
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BeforeValidator,
    Field,
    WithJsonSchema,
    model_validator,
)

from muster_coordinator.engine.states import State
from muster_coordinator.http_face.requests import (
    IDEMPOTENCY_KEY,
    MAX_PAGE,
    MAX_PRIORITY,
    Look,
    PoolName,
    Strict,
)
from muster_proving import InvalidInput

MAX_TIMEOUT_SECONDS = 30 * 24 * 3600
MAX_RETRIES = 100
MAX_OFFSET = 100_000
MAX_PARAMS_DEPTH = 32
_MAX_RULE_ENTRIES = 32
_MAX_SEQUENCE = 2**53

_PARAMS = f"an object of JSON, at most {MAX_PARAMS_DEPTH} deep, whose strings are text without NUL"
_WHEN = "a time with its zone, as in 2030-01-02T03:04:05Z"
_SECOND = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d.*")


def _time(value: object) -> object:
    if not isinstance(value, str) or _SECOND.fullmatch(value) is None:
        raise ValueError("a time")
    return value


def _storable(value: datetime) -> datetime:
    if not datetime(2000, 1, 1, tzinfo=UTC) <= value < datetime(2200, 1, 1, tzinfo=UTC):
        raise ValueError("a time that can be")
    return value


def _plain(value: dict[str, Any]) -> dict[str, Any]:
    """Parameters as every place where they are kept can keep them."""
    waiting: list[tuple[Any, int]] = [(value, 1)]
    while waiting:
        part, depth = waiting.pop()
        if depth > MAX_PARAMS_DEPTH:
            raise InvalidInput("input_params", "nested deeper", _PARAMS)
        if isinstance(part, dict):
            waiting += [(one, depth + 1) for one in (*part, *part.values())]
        elif isinstance(part, list):
            waiting += [(one, depth + 1) for one in part]
        elif isinstance(part, str) and not _is_text(part):
            raise InvalidInput("input_params", "with a string that is no text", _PARAMS)
        elif isinstance(part, float) and not math.isfinite(part):
            raise InvalidInput("input_params", "with a number that is too great", _PARAMS)
    return value


def _is_text(value: str) -> bool:
    return "\0" not in value and not any("\ud800" <= one <= "\udfff" for one in value)


_TYPE = "a kind of work in lower case, as in sleep, command or prove.merkle"
_TYPES = f"a list of at most {_MAX_RULE_ENTRIES} kinds of work, as in sleep or prove.merkle"
_PRIORITY = f"an integer from 0 to {MAX_PRIORITY}"
_TIMEOUT = f"an integer from 1 to {MAX_TIMEOUT_SECONDS}, how long a worker may work on it"
_RETRIES = f"an integer from 0 to {MAX_RETRIES}, tries after the first"
_RULE = "an object with worker_id, worker_tags, workload_types"
_AFFINITY = "an object with hard_affinity, soft_affinity, anti_affinity"
_NAME = "1 to 253 characters, none of them a control character"

_WORD = r"[a-z0-9](?:[a-z0-9_-]*[a-z0-9])?"
_Text = Annotated[str, Field(strict=True, max_length=253, pattern=r"^[^\x00-\x1f]*$")]
_Name = Annotated[str, Field(strict=True, min_length=1, max_length=253, pattern=r"^[^\x00-\x1f]+$")]
WorkloadType = Annotated[
    str, Field(strict=True, max_length=100, pattern=rf"^{_WORD}(?:\.{_WORD})*$")
]
InputParams = Annotated[dict[str, Any], AfterValidator(_plain)]
Priority = Annotated[int, Field(strict=True, ge=0, le=MAX_PRIORITY)]
TimeoutSeconds = Annotated[int, Field(strict=True, ge=1, le=MAX_TIMEOUT_SECONDS)]
MaxRetries = Annotated[int, Field(strict=True, ge=0, le=MAX_RETRIES)]
Time = Annotated[
    AwareDatetime,
    BeforeValidator(_time),
    AfterValidator(_storable),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]


class Rule(Strict):
    """Words about a worker; those that are empty say nothing."""

    worker_id: _Text = Field("", description="the name of a worker")
    worker_tags: dict[_Name, _Text] = Field(
        {},
        max_length=_MAX_RULE_ENTRIES,
        description=f"an object of at most {_MAX_RULE_ENTRIES} names and values of tags",
    )
    workload_types: list[WorkloadType] = Field([], max_length=_MAX_RULE_ENTRIES, description=_TYPES)


class Affinity(Strict):
    """Which workers a workload must have, would rather have, and must not have."""

    hard_affinity: Rule = Field(Rule(), description=f"{_RULE}; all of it must hold")
    soft_affinity: Rule = Field(Rule(), description=f"{_RULE}; the more of it, the better")
    anti_affinity: Rule = Field(Rule(), description=f"{_RULE}; none of it may hold")


class Submission(Strict):
    """One workload; what is not said is as its configuration says, else as usual."""

    workload_type: WorkloadType | None = Field(None, description=_TYPE)
    input_params: InputParams | None = Field(None, description=_PARAMS)
    priority: Priority | None = Field(None, description=_PRIORITY)
    timeout_seconds: TimeoutSeconds | None = Field(None, description=_TIMEOUT)
    max_retries: MaxRetries | None = Field(None, description=_RETRIES)
    affinity: Affinity | None = Field(None, description=_AFFINITY)
    workload_config_id: UUID | None = Field(
        None, description="a UUID, the config_id of a configuration"
    )
    pool: PoolName | None = Field(None, description="the name of a pool; any by default")

    @model_validator(mode="after")
    def _of_some_kind(self) -> Self:
        if self.workload_type is None and self.workload_config_id is None:
            raise InvalidInput("workload_type", "missing", f"{_TYPE}; or a workload_config_id")
        return self


class NewConfiguration(Strict):
    """What workloads can be made from, again and again."""

    name: _Name = Field(description=_NAME)
    workload_type: WorkloadType = Field(description=_TYPE)
    input_params: InputParams = Field({}, description=_PARAMS)
    priority: Priority = Field(10, description=_PRIORITY)
    timeout_seconds: TimeoutSeconds | None = Field(None, description=_TIMEOUT)
    max_retries: MaxRetries | None = Field(None, description=_RETRIES)
    affinity: Affinity = Field(Affinity(), description=_AFFINITY)


class Listing(Strict):
    """Which workloads to list."""

    status: list[State] = Field([], description=", ".join(State))
    type: WorkloadType | None = Field(None, description=_TYPE)
    created_after: Time | None = Field(None, description=_WHEN)
    created_before: Time | None = Field(None, description=_WHEN)
    ordering: Literal["created_at", "-created_at", "priority", "-priority"] = Field(
        "-created_at",
        description="created_at, -created_at, priority or -priority; - is for newest or greatest "
        "first",
    )
    limit: int = Field(50, ge=1, le=MAX_PAGE, description=f"an integer from 1 to {MAX_PAGE}")
    offset: int = Field(0, ge=0, le=MAX_OFFSET, description=f"an integer from 0 to {MAX_OFFSET}")
    cursor: UUID | None = Field(None, description="next_cursor of the page before")


class Page(Strict):
    """Which part of a list that only grows."""

    after: int = Field(
        0, ge=0, le=_MAX_SEQUENCE, description="an integer from 0, next_after of the page before"
    )
    limit: int = Field(100, ge=1, le=MAX_PAGE, description=f"an integer from 1 to {MAX_PAGE}")


class Pages(Strict):
    """Which configurations to list."""

    limit: int = Field(50, ge=1, le=MAX_PAGE, description=f"an integer from 1 to {MAX_PAGE}")
    offset: int = Field(0, ge=0, le=MAX_OFFSET, description=f"an integer from 0 to {MAX_OFFSET}")


WORKLOAD_ID = "a UUID, as in the answer to the submission"
CONFIG_ID = "a UUID, as in the answer that made the configuration"
WORKER_ID = _NAME

PARAMETERS = {
    name: str(field.description)
    for model in (Look, Listing, Page, Pages)
    for name, field in model.model_fields.items()
} | {
    "workload_id": WORKLOAD_ID,
    "config_id": CONFIG_ID,
    "worker_id": WORKER_ID,
    "Idempotency-Key": IDEMPOTENCY_KEY,
}
"""What each parameter in a path, query or header may be."""
