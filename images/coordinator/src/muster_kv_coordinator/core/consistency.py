"""Levels of consistency as requests name them."""

from muster_kv import consistency
from muster_kv.consistency import Level
from muster_kv_coordinator.core.errors import ErrorCode, KvError

__all__ = ["Level", "level", "overlapping"]


def level(name: str, default: Level) -> Level:
    """The level of a request; `default` where it names none.

    Raises:
        KvError: INVALID_REQUEST.
    """
    if not name:
        return default
    try:
        return consistency.parse_level(name, default)
    except ValueError as error:
        raise KvError(ErrorCode.INVALID_REQUEST, str(error)) from None


def overlapping(writes: int, replicas: int) -> int:
    """How many replicas to read so that one of them took a write that `writes` acknowledged."""
    return max(1, replicas - writes + 1)
