"""Request bodies: JSON objects, read strictly, and checked with the models of `requests`."""

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, get_args

from fastapi import Request
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from muster_coordinator import jsonobject
from muster_coordinator.http_face.requests import (
    MAX_BATCH,
    AdditionItem,
    Batch,
    MerkleItem,
    RangeItem,
    Task,
)
from muster_proving import InvalidInput

_LARGE_BYTES = 16 * 1024
_SHOWN = 40
TRACEPARENT = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_ITEMS: dict[str, type[Task]] = {
    "merkle": MerkleItem,
    "merkle_proof": MerkleItem,
    "range": RangeItem,
    "range_proof": RangeItem,
    "addition": AdditionItem,
}

# An item is an object with at most one list in it.
_BRACKETS: Mapping[type[BaseModel], int] = {Batch: 2 * MAX_BATCH + jsonobject.MAX_BRACKETS}

M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")


async def body(request: Request, model: type[M]) -> M:
    """The body of a request.

    Raises:
        InvalidInput: it is no JSON object, or one of its fields can't be right.
    """
    return await _body(
        request,
        model,
        lambda data: jsonobject.read(data, _BRACKETS.get(model, jsonobject.MAX_BRACKETS)),
    )


async def free_body(request: Request, model: type[M]) -> M:
    """The body of a request that may hold objects of any form, as `body`."""
    return await _body(request, model, jsonobject.read_free)


async def _body(request: Request, model: type[M], reader: Callable[[bytes], dict[str, Any]]) -> M:
    data = await request.body()

    def read() -> M:
        try:
            document = reader(data)
        except ValueError as error:
            raise InvalidInput("body", str(error), "a JSON object") from None
        return checked(model, document)

    return await off_loop(len(data), read)


async def off_loop(size: int, work: Callable[[], T]) -> T:
    """Do `work` on `size` bytes: here, or where they are many, elsewhere than on the loop."""
    return await asyncio.to_thread(work) if size > _LARGE_BYTES else work()


def checked(model: type[M], document: Mapping[str, Any]) -> M:
    """A request that says `document`.

    Raises:
        InvalidInput: the first field that can't be right.
    """
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise _refused(model, error.errors(include_url=False)[0]) from None


def _refused(model: type[BaseModel], error: ErrorDetails) -> InvalidInput:
    place = list(error["loc"])
    prefix = ""
    if model is Batch and len(place) > 1:
        prefix = f"tasks[{place[1]}]"
        if error["type"].startswith("union_tag"):
            given = error["input"]
            named = isinstance(given, dict) and "circuit" in given
            value = shown(given["circuit"]) if named else "missing"
            return InvalidInput(f"{prefix}.circuit", value, "merkle, range or addition")
        if len(place) < 4 and not isinstance(_cause(error), InvalidInput):
            return InvalidInput(prefix, shown(error["input"]), "an object")
        model = _ITEMS[str(place[2])]
        place = place[3:]
        prefix += "."
    cause = _cause(error)
    if isinstance(cause, InvalidInput):
        return InvalidInput(prefix + cause.field, cause.value, cause.allowed)
    name, holder, field = _found(model, place)
    if error["type"] == "extra_forbidden":
        allowed = ", ".join(holder.model_fields)
        return InvalidInput(prefix + name, "not a field of the request", allowed)
    value = "missing" if error["type"] == "missing" else shown(error["input"])
    return InvalidInput(prefix + name, value, str(field.description if field else ""))


def _found(
    model: type[BaseModel], place: Sequence[int | str]
) -> tuple[str, type[BaseModel], FieldInfo | None]:
    """What a place in a document is called, the model that it is in, and the field, if it is one.

    What is inside of a field that is no model is not told apart.
    """
    names: list[str] = []
    field: FieldInfo | None = None
    for step in place:
        inner = _model(field) if field else model
        if inner is None:
            break
        model, field = inner, inner.model_fields.get(str(step))
        names.append(shown(str(step)) if field is None else str(step))
    return ".".join(names), model, field


def _model(field: FieldInfo) -> type[BaseModel] | None:
    """The model that a field has, itself or beside None."""
    for kind in (field.annotation, *get_args(field.annotation)):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    return None


def _cause(error: ErrorDetails) -> object:
    return error.get("ctx", {}).get("error")


def shown(value: object) -> str:
    """A value that is no secret, as it was given, shortened."""
    match value:
        case str() | int() | float() | None:
            text = repr(value[: _SHOWN + 1] if isinstance(value, str) else value)
            return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
        case _:
            return f"a {type(value).__name__}"


def traceparent(request: Request) -> str:
    """The W3C trace context of a request; empty where it has none."""
    given = request.headers.get("traceparent", "")
    return given if TRACEPARENT.fullmatch(given) else ""
