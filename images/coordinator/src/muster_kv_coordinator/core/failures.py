"""What the failures of replicas mean for a request."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from muster_kv.errors import FailureCode
from muster_kv.wire.messages import Failure
from muster_kv_coordinator.core.errors import ErrorCode, KvError, invalid

_UNSURE = "; the write may have happened: read, or try again with the same idempotency key"


class StaleRingError(Exception):
    """A replica holds a newer ring; `version` is its."""

    def __init__(self, version: int) -> None:
        super().__init__(version)
        self.version = version


def refused(failures: Iterable[Failure]) -> KvError | None:
    """The error of a request that replicas will never take, whoever is asked; None for others."""
    for failure in failures:
        if failure.code is FailureCode.INVALID:
            return KvError(ErrorCode.INVALID_REQUEST, failure.detail)
        if failure.code is FailureCode.TOO_LARGE:
            return invalid("value", "a record beyond the limits", failure.detail)
    return None


def stale(failures: Iterable[Failure]) -> StaleRingError | None:
    """The newest ring that replicas know of, where one refused for it."""
    versions = [one.ring_version for one in failures if one.code is FailureCode.STALE_RING]
    return StaleRingError(max(versions)) if versions else None


def not_reached(shortfall: str, failures: Iterable[Failure], *, unsure: bool) -> KvError:
    """QUORUM_NOT_REACHED, saying who answered and why the others did not.

    Args:
        unsure: whether a write may have happened all the same.
    """
    reasons = sorted({failure.code.name for failure in failures})
    why = f" ({', '.join(reasons)})" if reasons else ""
    text = f"{shortfall}{why}" + (_UNSURE if unsure else "")
    return KvError(ErrorCode.QUORUM_NOT_REACHED, text, retry_after=1.0)


def unsure(error: KvError) -> KvError:
    """The same error, of a write that may have happened all the same."""
    if error.message.endswith(_UNSURE):
        return error
    return KvError(error.code, error.message + _UNSURE, retry_after=error.retry_after)


@contextmanager
def perhaps_done(perhaps: bool = True) -> Iterator[None]:
    """Say with whatever stops a write here that it may have happened all the same.

    But for an idempotency key that is another write's: to try again with it would not help.

    Args:
        perhaps: whether a replica may have taken it by now.
    """
    try:
        yield
    except KvError as error:
        if perhaps and error.code is not ErrorCode.IDEMPOTENCY_KEY_CONFLICT:
            raise unsure(error) from None
        raise
