"""How a contender answers requests: one JSON object a line in, one out."""

import asyncio
import json
import sys
from typing import Any, Protocol


class Bench(Protocol):
    """What can be asked of a contender."""

    async def open(self, workers: int, *, starts: bool, single_calls: bool) -> dict[str, Any]:
        """Bring its workers and its client up; what else is to be known about it.

        Args:
            starts, single_calls: how workers speak, where they are Muster's.
        """
        ...

    async def run(self, tasks: int) -> float:
        """Seconds from the first submission to the last result."""
        ...

    async def idle(self, times: int) -> dict[str, list[float]]:
        """Seconds from each of many lone submissions to its arrival at a worker, as `seconds`.

        What else it measures of them has other names.
        """
        ...

    async def close(self) -> None:
        """Let everything go."""
        ...


async def serve(bench: Bench) -> None:
    """Answer requests until standard input ends.

    Raises:
        ValueError: a request that no contender knows.
    """
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        request = json.loads(line)
        answer: dict[str, Any] = {}
        match request.pop("do"):
            case "open":
                answer = await bench.open(**request)
            case "run":
                answer = {"seconds": await bench.run(request["tasks"])}
            case "idle":
                answer = await bench.idle(request["times"])
            case what:
                raise ValueError(f"cannot {what}")
        print(json.dumps(answer), flush=True)
    await bench.close()
