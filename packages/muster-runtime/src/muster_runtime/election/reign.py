"""Lead while leadership is held."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from muster_runtime.election.record import Term

Lead = Callable[[Term], Awaitable[None]]


async def reign(lead: Lead, term: Term, holding: Coroutine[Any, Any, None]) -> None:
    """Run `lead` until it ends, or until `holding` ends because leadership is lost.

    Both have ended when this returns. What `lead` raises is raised.
    """
    work = asyncio.ensure_future(lead(term))
    held = asyncio.create_task(holding)
    try:
        await asyncio.wait({work, held}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (work, held):
            task.cancel()
        await asyncio.wait({work, held})
    for task in (held, work):
        with contextlib.suppress(asyncio.CancelledError):
            task.result()
