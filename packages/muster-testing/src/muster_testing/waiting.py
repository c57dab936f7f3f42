"""Waiting for an exact condition with a deadline; never for a time to pass."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

T = TypeVar("T")


@overload
async def eventually(
    probe: Callable[[], Awaitable[T | None]],
    *,
    deadline: float = ...,
    every: float = ...,
    what: str = ...,
) -> T: ...


@overload
async def eventually(
    probe: Callable[[], T | None],
    *,
    deadline: float = ...,
    every: float = ...,
    what: str = ...,
) -> T: ...


async def eventually(
    probe: Callable[[], Any],
    *,
    deadline: float = 60.0,
    every: float = 0.05,
    what: str = "",
) -> Any:
    """Call `probe` until it returns something truthy, and return that.

    An AssertionError of the probe counts as "not yet".

    Args:
        deadline: seconds until the wait fails.
        every: seconds between two calls.
        what: the condition in words, for the failure.

    Raises:
        AssertionError: not within `deadline`; tells what the probe said last.
    """
    end = time.monotonic() + deadline
    while True:
        last: object
        try:
            answer = probe()
            value = await answer if inspect.isawaitable(answer) else answer
        except AssertionError as error:
            last = error
        else:
            if value:
                return value
            last = value
        if time.monotonic() >= end:
            raise AssertionError(f"not within {deadline:g} s: {what or probe}; last: {last!r}")
        await asyncio.sleep(every)


def eventually_sync(
    probe: Callable[[], T | None], *, deadline: float = 60.0, every: float = 0.1, what: str = ""
) -> T:
    """`eventually` for tests without an event loop."""
    return asyncio.run(eventually(probe, deadline=deadline, every=every, what=what))
