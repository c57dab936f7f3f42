"""Asking every coordinator about its queue and its workers."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import aiohttp

from muster_operator import naming
from muster_operator.metrics import FAILED, OperatorMetrics
from muster_operator.resources import Key
from muster_operator.telemetry.report import Report, ReportError, parse_report

log = logging.getLogger(__name__)

_AT_ONCE = 64
_DEADLINE_SECONDS = 3.0
STALE_SECONDS = 30.0


def in_cluster(coordinator: Key) -> str:
    """The base URL of a Coordinator's operations port."""
    host = naming.coordinator_name(coordinator.name)
    return f"http://{host}.{coordinator.namespace}.svc:{naming.OPS_PORT}"


@dataclass(frozen=True, slots=True)
class _Taken:
    report: Report
    at: float


class Telemetry:
    """The latest report of every Coordinator.

    Args:
        coordinators: lists those to be asked.
        url: the base URL of a Coordinator's operations port.
        interval: seconds between two questions to the same Coordinator.
    """

    def __init__(
        self,
        coordinators: Callable[[], Iterable[Key]],
        metrics: OperatorMetrics,
        *,
        url: Callable[[Key], str] = in_cluster,
        interval: float = 5.0,
    ) -> None:
        self._coordinators = coordinators
        self._metrics = metrics
        self._url = url
        self._interval = interval
        self._taken: dict[Key, _Taken] = {}
        self.asked = False
        """Whether every Coordinator has been asked once, with or without an answer."""
        self.changed: Callable[[Key], None] = lambda _: None
        """Called with a Coordinator whose report differs from the one before."""

    def fresh(self, coordinator: Key) -> Report | None:
        """The report of a Coordinator, if it is not older than `STALE_SECONDS`."""
        taken = self._taken.get(coordinator)
        if taken is None or time.monotonic() - taken.at > STALE_SECONDS:
            return None
        return taken.report

    async def run(self) -> None:
        """Ask for ever."""
        places = asyncio.Semaphore(_AT_ONCE)

        async def ask(session: aiohttp.ClientSession, key: Key) -> None:
            async with places:
                await self._ask(session, key)

        async with aiohttp.ClientSession() as session:
            while True:
                known = list(self._coordinators())
                for key in self._taken.keys() - set(known):
                    del self._taken[key]
                await asyncio.gather(*(ask(session, key) for key in known))
                self.asked = True
                await asyncio.sleep(self._interval)

    async def _ask(self, session: aiohttp.ClientSession, key: Key) -> None:
        base = self._url(key)
        try:
            async with asyncio.timeout(_DEADLINE_SECONDS):
                queue = await _get(session, f"{base}/queue")
                workers = await _get(session, f"{base}/workers")
            report = parse_report(queue, workers)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, ReportError) as error:
            self._metrics.polls.labels(FAILED).inc()
            log.debug(
                "a coordinator did not answer", extra={"coordinator": str(key), "error": str(error)}
            )
            return
        self._metrics.polls.labels("ok").inc()
        before = self.fresh(key)
        self._taken[key] = _Taken(report, time.monotonic())
        if report != before:
            self.changed(key)


async def _get(session: aiohttp.ClientSession, url: str) -> dict[str, object]:
    async with session.get(url, raise_for_status=True, allow_redirects=False) as response:
        answer = await response.json()
    if not isinstance(answer, dict):
        raise ReportError("not an object")
    return answer
