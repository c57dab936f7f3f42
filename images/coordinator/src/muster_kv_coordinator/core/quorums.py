"""Counting requests that too few replicas answered: each once, wherever it ends."""

from collections.abc import Iterator
from contextlib import contextmanager

from muster_kv_coordinator.core.errors import ErrorCode, KvError
from muster_kv_coordinator.core.ports import Meter


@contextmanager
def counted(meter: Meter, operation: str) -> Iterator[None]:
    """Count a read, a write or a scan that ends here with QUORUM_NOT_REACHED."""
    try:
        yield
    except KvError as error:
        if error.code is ErrorCode.QUORUM_NOT_REACHED:
            meter.quorum_failed(operation)
        raise
