"""A database that is away is waited for; one that can't be served ends the wait."""

import asyncio
from collections.abc import Awaitable, Callable

import asyncpg
import pytest

from muster_runtime.preparation import prepared
from muster_runtime.schema import SchemaError


class Away(Exception):  # noqa: N818 - as its users name it
    """As a store says that the database is away."""


def _raises(*errors: Exception | None) -> Callable[[], Awaitable[None]]:
    """Prepare with one of these a call."""
    waiting = iter(errors)

    async def prepare() -> None:
        error = next(waiting)
        if error is not None:
            raise error

    return prepare


@pytest.mark.parametrize("outage", [OSError("refused"), asyncpg.CannotConnectNowError(), Away()])
async def test_a_database_that_is_away_is_waited_for(outage: Exception) -> None:
    assert await prepared(_raises(outage, None), asyncio.Event(), Away)


@pytest.mark.parametrize("error", [SchemaError("newer"), asyncpg.UndefinedTableError("none")])
async def test_what_does_not_pass_is_not_waited_for(error: Exception) -> None:
    assert not await prepared(_raises(error), asyncio.Event(), Away)


async def test_who_is_stopped_waits_no_more() -> None:
    stop = asyncio.Event()

    async def prepare() -> None:
        stop.set()
        raise Away

    assert not await prepared(prepare, stop, Away)
