"""JSON from outside: one flat reader for all faces."""

import json
from typing import Any, NoReturn

_MAX_BRACKETS = 64


def read(data: bytes) -> dict[str, Any]:
    """The object that `data` says.

    Nothing that is sent here needs more than a few brackets, and no string has any; so they are
    counted, and text that would exhaust the parser's stack is never given to it.

    Raises:
        ValueError: it is no JSON, no object, or nested without need; the text says which.
    """
    if data.count(b"[") + data.count(b"{") > _MAX_BRACKETS:
        raise ValueError(f"{len(data)} bytes with more than {_MAX_BRACKETS} brackets")
    try:
        loaded = json.loads(data, parse_constant=_refuse)
    except ValueError:
        raise ValueError(f"{len(data)} bytes that are no JSON") from None
    if not isinstance(loaded, dict):
        raise ValueError(f"a JSON {type(loaded).__name__}")  # noqa: TRY004 - one error for all
    return loaded


def _refuse(_: str) -> NoReturn:
    raise ValueError
