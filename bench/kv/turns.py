"""Turns of stores that are up side by side: none meets what another has left to do."""

import dataclasses
import os
import time
from collections.abc import Callable, Mapping

from bench import cpu_time
from bench.kv.load import Load, Sample

_WINDOW_SECONDS = 1.0
_QUIET_CORES = 0.3
"""More than three idle JVMs use, less than one that flushes or compacts."""
_PATIENCE_SECONDS = 60.0


class Turns:
    """Loads of stores that are all up, one at work at a time.

    What a store was told to write is merged and flushed when its turn is over, too: that is waited
    for before the next turn, for at most a minute, and what others use during a turn is told.
    """

    def __init__(self, loads: Mapping[str, Load]) -> None:
        self._loads = loads

    def run(self, name: str, operation: str, seconds: float, rate: float = 0.0) -> Sample:
        """A turn of one store, as `Load.run`; with the cores that all others used meanwhile.

        Raises:
            RuntimeError: one of a hundred operations failed.
        """
        all_pids = [pid for load in self._loads.values() for pid in load.deployment.pids]
        mine = set(self._loads[name].deployment.pids)
        others = [pid for pid in all_pids if pid not in mine]
        os.sync()
        wait_until_quiet(lambda: cpu_time.seconds(all_pids))
        before, begun = cpu_time.seconds(others), time.monotonic()
        sample = self._loads[name].run(operation, seconds, rate)
        used = cpu_time.seconds(others) - before
        return dataclasses.replace(sample, others_cores=used / (time.monotonic() - begun))


def wait_until_quiet(
    used: Callable[[], float],
    window: float = _WINDOW_SECONDS,
    patience: float = _PATIENCE_SECONDS,
) -> bool:
    """Wait until less than 0.3 cores are used over a window; whether that came to be.

    Args:
        used: CPU seconds so far.
        window: seconds.
        patience: seconds after which whatever is busy does not end.
    """
    end = time.monotonic() + patience
    while time.monotonic() < end:
        before = used()
        # A rate needs a length of time, and nothing tells of it.
        time.sleep(window)
        if used() - before < _QUIET_CORES * window:
            return True
    return False
