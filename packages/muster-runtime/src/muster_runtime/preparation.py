"""Waiting for a database, and bringing what is in it to where it can be served."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from muster_runtime.postgres import LOST, is_outage
from muster_runtime.schema import SchemaError

log = logging.getLogger(__name__)

_PAUSE_SECONDS = 1.0


async def prepared(
    prepare: Callable[[], Awaitable[None]], stop: asyncio.Event, away: type[Exception]
) -> bool:
    """Prepare a database, again and again while it is away.

    Args:
        prepare: migrates, and opens what it takes to serve; safe to call again after it failed.
        away: what it raises besides asyncpg's errors where the database is away.

    Returns:
        False where it can't be prepared, which the log then says, or where `stop` came first.
    """
    while not stop.is_set():
        try:
            await prepare()
        except SchemaError as error:
            log.error("the schema can't be served", extra={"error": str(error)})  # noqa: TRY400 - the text says it all
            return False
        except (*LOST, away) as error:
            if not isinstance(error, away) and not is_outage(error):
                log.exception("the schema can't be made")
                return False
            log.warning("waiting for the database", extra={"error": repr(error)})
        else:
            return True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_PAUSE_SECONDS):
                await stop.wait()
    return False
