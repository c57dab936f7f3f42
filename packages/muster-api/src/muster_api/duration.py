"""Durations as Kubernetes and Go write them."""

import re
from datetime import timedelta

_PART = re.compile(r"([0-9]+)(ms|s|m|h)")
_WHOLE = re.compile(rf"(?:{_PART.pattern})+")
_MILLISECONDS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000}


def parse_duration(value: object) -> timedelta:
    """Read `500ms`, `30s`, `5m` or `1h30m`.

    Raises:
        ValueError: the value is no such duration.
    """
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str) or _WHOLE.fullmatch(value) is None:
        raise ValueError("a duration such as 500ms, 30s, 5m or 1h30m")
    parts = _PART.findall(value)
    return timedelta(milliseconds=sum(int(number) * _MILLISECONDS[unit] for number, unit in parts))


def format_duration(value: timedelta) -> str:
    """Write `value` in the largest unit that holds it whole; `parse_duration` reads it back."""
    milliseconds = value // timedelta(milliseconds=1)
    for unit in ("h", "m", "s"):
        if milliseconds and milliseconds % _MILLISECONDS[unit] == 0:
            return f"{milliseconds // _MILLISECONDS[unit]}{unit}"
    return f"{milliseconds}ms" if milliseconds else "0s"
