"""Getting the ring that a replica knows of, and its request does not."""

import asyncio
import contextlib

from muster_kv_coordinator.core import failures
from muster_kv_coordinator.core.failures import StaleRingError
from muster_kv_coordinator.core.ports import Cluster, Meter


async def newer_ring(cluster: Cluster, meter: Meter, stale: StaleRingError, end: float) -> None:
    """Look for a newer ring, until it is there or has not come soon.

    Args:
        end: when the request must be answered, by the loop's clock.

    Raises:
        KvError: QUORUM_NOT_REACHED at the end.
        UnavailableError: it can't be looked for.
    """
    meter.stale_ring()
    if asyncio.get_running_loop().time() < end:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(end):
                await cluster.refresh(stale.version)
                return
    text = "the ring has changed, and the new one did not come in time"
    raise failures.not_reached(text, (), unsure=False)
