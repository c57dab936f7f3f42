"""What a request can fail with; the codes are those of the contract with clients."""

from muster_kv.clock import VectorClock
from muster_kv.errors import ErrorCode

__all__ = ["ErrorCode", "KeyNotFoundError", "KvError", "UnavailableError", "invalid", "shown"]


class KvError(Exception):
    """A request that is answered with a code and one sentence.

    Args:
        retry_after: seconds after which the same may succeed; None where time changes nothing.
    """

    def __init__(self, code: ErrorCode, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retry_after = retry_after

    def __str__(self) -> str:
        return f"{self.code.name}: {self.message}"


class UnavailableError(KvError):
    """Something that the answer needs is away, and it is not the replicas."""

    def __init__(self, message: str) -> None:
        super().__init__(ErrorCode.INTERNAL_ERROR, message, retry_after=1.0)


class KeyNotFoundError(KvError):
    """There is no value; `context` covers what was deleted, for a write that follows."""

    def __init__(self, key: str, context: VectorClock) -> None:
        super().__init__(ErrorCode.KEY_NOT_FOUND, f"key {shown(key)} has no value")
        self.context = context


def invalid(field: str, value: object, allowed: str) -> KvError:
    """A field that can't be right."""
    text = f"{field}: got {shown(value)}; allowed: {allowed}"
    return KvError(ErrorCode.INVALID_REQUEST, text)


def shown(value: object) -> str:
    """A value as an error shows it: never longer than a line."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"
