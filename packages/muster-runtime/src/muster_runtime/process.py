"""Running a process: signals in, one event out."""

import asyncio
import gc
import signal
from collections.abc import Awaitable, Callable

import uvloop

Main = Callable[[asyncio.Event], Awaitable[int]]


def run_until_signalled(main: Main) -> int:
    """Run `main` on uvloop and return its exit status.

    `main` is given an event that is set by the first SIGTERM or SIGINT; it then stops in its own
    order. uvloop, because it serves the same sockets with about two thirds of the CPU.
    """

    async def supervised() -> int:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        return await main(stop)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(supervised())


def calm_the_collector(*thresholds: int) -> None:
    """Let the collector run less, and not look at what a process made at its start.

    Nearly all garbage of these processes is in no cycle; by default the collector takes a tenth
    of their CPU.

    Args:
        thresholds: of the three generations, as `gc.set_threshold` takes them.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*thresholds)
