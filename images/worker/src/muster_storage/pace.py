"""Keeping work in the background slow enough for the work in front."""

import asyncio
import time


class Pace:
    """Lets so many units pass in a second, for all who share it.

    Args:
        rate: units a second.
    """

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._free_at = 0.0

    async def spent(self, units: int) -> None:
        """Wait for as long as `units` take at the rate."""
        now = time.monotonic()
        self._free_at = max(self._free_at, now) + units / self._rate
        await asyncio.sleep(self._free_at - now)
