"""JSON from outside, for all faces."""

import json
import re
from typing import Any, NoReturn

MAX_BRACKETS = 64
_MAX_FREE_BRACKETS = 100_000
_MAX_DEPTH = 16
_BRACKET = re.compile(rb"[\[\]{}]")


def read(data: bytes, brackets: int = MAX_BRACKETS) -> dict[str, Any]:
    """The object that `data` says, where it is nearly flat.

    Nothing that is sent here needs more than a few brackets, and no string has any; so they are
    counted, and text that would exhaust the parser's stack is never given to it.

    Args:
        brackets: most brackets that open.

    Raises:
        ValueError: it is no JSON, no object, or nested without need; the text says which.
    """
    if data.count(b"[") + data.count(b"{") > brackets:
        raise ValueError(f"{len(data)} bytes with more than {brackets} brackets")
    if brackets > MAX_BRACKETS and _depth(data, brackets) > _MAX_DEPTH:
        raise ValueError(f"{len(data)} bytes nested more than {_MAX_DEPTH} deep")
    return read_free(data)


def read_free(data: bytes) -> dict[str, Any]:
    """The object that `data` says, whatever is in it.

    How deep it may be nested is for the caller to say; what exhausts the parser or the memory is
    refused here.

    Raises:
        ValueError: it is no JSON, or no object; the text says which.
    """
    if data.count(b"[") + data.count(b"{") > _MAX_FREE_BRACKETS:
        raise ValueError(f"{len(data)} bytes with more than {_MAX_FREE_BRACKETS} brackets")
    try:
        loaded = json.loads(data, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise ValueError(f"{len(data)} bytes that are no JSON") from None
    if not isinstance(loaded, dict):
        raise ValueError(f"a JSON {type(loaded).__name__}")  # noqa: TRY004 - one error for all
    return loaded


def check(data: bytes) -> None:
    """Look whether `data` is JSON of any kind.

    Raises:
        ValueError: it is none; the text says so.
    """
    try:
        json.loads(data, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise ValueError(f"{len(data)} bytes that are no JSON") from None


def _depth(data: bytes, brackets: int) -> int:
    """How deep brackets are nested; those that close too much make no JSON and count as much."""
    if data.count(b"]") + data.count(b"}") > brackets:
        return brackets
    depth = deepest = 0
    for bracket in _BRACKET.finditer(data):
        depth += 1 if bracket[0] in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _refuse(_: str) -> NoReturn:
    raise ValueError
