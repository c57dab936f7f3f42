"""A coordinator's operations port, with answers of the test's choice."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web


def pool_numbers(
    pool: str, pending: int = 0, assigned: int = 0, in_progress: int = 0
) -> dict[str, Any]:
    """The entry of one pool in `/queue`."""
    return {
        "pool": pool,
        "pending": pending,
        "assigned": assigned,
        "in_progress": in_progress,
        "oldest_pending_seconds": 1.5 if pending else None,
    }


class FakeCoordinator:
    """A real HTTP server; `queue` and `workers` are what it answers, `asked` how often it was.

    It answers while `answering` is set.
    """

    def __init__(self, *pools: dict[str, Any]) -> None:
        self.queue: dict[str, Any] = {"pools": list(pools), "leader": "demo-coordinator-0"}
        self.workers: list[dict[str, Any]] = []
        self.status = 200
        self.asked = 0
        self.answering = asyncio.Event()
        self.answering.set()
        self.url = ""

    async def _queue(self, _: web.Request) -> web.Response:
        self.asked += 1
        await self.answering.wait()
        return web.json_response(self.queue, status=self.status)

    async def _workers(self, _: web.Request) -> web.Response:
        return web.json_response({"workers": self.workers})

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator["FakeCoordinator"]:
        """Serve on a free port."""
        app = web.Application()
        app.router.add_get("/queue", self._queue)
        app.router.add_get("/workers", self._workers)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            await runner.cleanup()
