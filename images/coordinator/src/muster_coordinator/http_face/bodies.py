"""Request bodies: JSON objects, read strictly."""

import asyncio
import base64
import binascii
import json
import re
from dataclasses import dataclass
from typing import Any

from fastapi import Request

from muster_coordinator import jsonobject
from muster_proving import CircuitSpec, InvalidInput, parse_circuit, parse_inputs

_LARGE_BYTES = 64 * 1024
_MAX_SIGNALS = 64
_DECIMAL = re.compile(r"[0-9]{1,80}")
_TRACEPARENT = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")

PRIORITIES = range(1001)


@dataclass(frozen=True, slots=True)
class TaskOptions:
    """What a request says beside the inputs; None where it says nothing."""

    curve: str | None
    size: int | None
    pool: str | None
    priority: int


async def json_object(request: Request) -> dict[str, Any]:
    """The body.

    Raises:
        InvalidInput: it is no JSON object.
    """
    data = await request.body()
    try:
        # Parsing megabytes takes long enough to be done elsewhere than on the loop.
        if len(data) > _LARGE_BYTES:
            return await asyncio.to_thread(jsonobject.read, data)
        return jsonobject.read(data)
    except ValueError as error:
        raise InvalidInput("body", str(error), "a JSON object") from None


def take_options(body: dict[str, Any], circuit: str) -> TaskOptions:
    """Take `curve`, `size`, `pool` and `priority` out of `body`; the inputs are left.

    Raises:
        InvalidInput: one of them can't be right.
    """
    curve, size = body.pop("curve", None), body.pop("size", None)
    # Raises for a curve or size that no pool could ever offer.
    spec = parse_circuit(circuit, curve="bn254" if curve is None else curve, size=size)
    pool = body.pop("pool", None)
    if pool is not None and not isinstance(pool, str):
        raise InvalidInput("pool", f"a {type(pool).__name__}", "the name of a pool")
    priority = body.pop("priority", 10)
    if type(priority) is not int or priority not in PRIORITIES:
        raise InvalidInput("priority", repr(priority)[:40], "an integer from 0 to 1000")
    return TaskOptions(None if curve is None else spec.curve.value, size, pool, priority)


async def canonical_inputs(spec: CircuitSpec, body: dict[str, Any], size: int) -> bytes:
    """The checked inputs as they are stored; `size` is how many bytes the request had.

    Raises:
        InvalidInput: what it says.
    """
    if size > _LARGE_BYTES:
        return await asyncio.to_thread(_canonical, spec, body)
    return _canonical(spec, body)


def _canonical(spec: CircuitSpec, body: dict[str, Any]) -> bytes:
    return json.dumps(parse_inputs(spec, body), separators=(",", ":")).encode()


def proof_bytes(body: dict[str, Any]) -> bytes:
    """The field `proof_bytes`.

    Raises:
        InvalidInput: it is no base64.
    """
    value = body.get("proof_bytes")
    try:
        if isinstance(value, str) and value:
            return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        pass
    shown = "missing" if value is None else "no base64"
    raise InvalidInput("proof_bytes", shown, "the bytes of a proof in base64")


def public_inputs(body: dict[str, Any]) -> list[str]:
    """The field `public_inputs`.

    Raises:
        InvalidInput: it is no list of decimal strings.
    """
    value = body.get("public_inputs")
    if (
        isinstance(value, list)
        and len(value) <= _MAX_SIGNALS
        and all(isinstance(one, str) and _DECIMAL.fullmatch(one) for one in value)
    ):
        return value
    shown = "missing" if value is None else "something else"
    raise InvalidInput("public_inputs", shown, "a list of decimal strings, as in public.json")


def traceparent(request: Request) -> str:
    """The W3C trace context of a request; empty where it has none."""
    given = request.headers.get("traceparent", "")
    return given if _TRACEPARENT.fullmatch(given) else ""
