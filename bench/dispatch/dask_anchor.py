"""The contender that is Dask: a scheduler process, and client and workers in this process.

As Muster's, the workers are many, have one place each, and talk TCP; nothing is stored or checked.
"""

import asyncio
import subprocess
import sys
import time
from typing import Any

from distributed import Client, Worker

from bench.dispatch.free_port import free_port
from bench.dispatch.serving import serve

_PROOF = b"\x01" * 128


def _work(_number: int) -> tuple[float, bytes]:
    """When it began, and a result."""
    return time.perf_counter(), _PROOF


class Bench:
    """A running cluster."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._workers: list[Any] = []
        self._tasks = 0

    async def open(self, workers: int, **_: bool) -> dict[str, Any]:
        """Bring workers and client up."""
        self._workers = [
            Worker(self._address, nthreads=1, name=f"w-{number}", dashboard=False)
            for number in range(workers)
        ]
        for first in range(0, workers, 10):
            await asyncio.gather(*self._workers[first : first + 10])
        self._client = await Client(self._address, asynchronous=True)
        await self._client.wait_for_workers(workers)
        return {}

    async def close(self) -> None:
        """Let everything go."""
        await self._client.close()
        await asyncio.gather(*(worker.close() for worker in self._workers))

    async def run(self, tasks: int) -> float:
        """Seconds from the first submission to the last result."""
        numbers = range(self._tasks, self._tasks + tasks)
        self._tasks += tasks
        begun = time.perf_counter()
        results = await self._client.gather(self._client.map(_work, numbers, pure=False))
        seconds = time.perf_counter() - begun
        assert [proof for _, proof in results] == [_PROOF] * tasks
        return seconds

    async def idle(self, times: int) -> dict[str, list[float]]:
        """Seconds from each of many lone submissions to its start on a worker."""
        latencies = []
        for _ in range(times):
            self._tasks += 1
            begun = time.perf_counter()
            started, _ = await self._client.submit(_work, self._tasks, pure=False)
            latencies.append(started - begun)
            await asyncio.sleep(0.05)
        return {"seconds": latencies}


def main() -> None:
    """Answer requests until standard input ends."""
    port = free_port()
    command = [sys.executable, "-m", "dask", "scheduler", "--host", "127.0.0.1", "--no-dashboard"]
    with subprocess.Popen(
        [*command, "--port", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as scheduler:
        try:
            asyncio.run(serve(Bench(f"tcp://127.0.0.1:{port}")))
        finally:
            scheduler.kill()


if __name__ == "__main__":
    main()
