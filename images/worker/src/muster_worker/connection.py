"""Keeps this worker connected: keys, registration, heartbeats, and the stream of assignments."""

import asyncio
import logging
import random
import time
import uuid
from collections.abc import Awaitable, Callable, Container, Iterable, Sequence
from typing import Protocol

from muster_proving import CircuitSpec, InvalidInput
from muster_worker import __version__
from muster_worker.config import WorkerSection
from muster_worker.coordinator import Coordinator, CoordinatorError, KeyInfo, Registration
from muster_worker.executor.supervisor import LoadFailed
from muster_worker.keys import KeyRefused, KeyStore
from muster_worker.lanes import Pool
from muster_worker.metrics import Metrics
from muster_worker.session import STEADY_SECONDS, Event, Phase, Session, advance
from muster_worker.tasks import Command, Ticket
from muster_worker.workloads import PROOFS

log = logging.getLogger(__name__)

KEY_REFRESH_SECONDS = 30.0


class NoKeys(Exception):  # noqa: N818 - named after the cause
    """The coordinator has no keys for the pool yet."""


class Hooks(Protocol):
    """Whom the connection tells what it learns; the calls must not block."""

    def commanded(self, command: Command) -> None:
        """The coordinator said something about a task, or about this worker."""
        ...

    def holding(self) -> Sequence[Ticket]:
        """What runs here, or waits to be reported."""
        ...

    async def reachable(self) -> None:
        """The coordinator answers, and does not know yet that this worker is back."""
        ...

    def stream_ended(self) -> None:
        """Tasks that have not begun are the coordinator's again; it assigns them anew."""
        ...


class Connection:
    """The connection of one worker, made again whenever it breaks."""

    def __init__(
        self,
        settings: WorkerSection,
        coordinator: Coordinator,
        keys: KeyStore,
        pool: Pool,
        metrics: Metrics,
        hooks: Hooks,
    ) -> None:
        self._settings = settings
        self._coordinator = coordinator
        self._keys = keys
        self._pool = pool
        self._metrics = metrics
        self._hooks = hooks
        self._types = settings.served()
        self._needs_keys = any(name.startswith(PROOFS) for name in self._types)
        self._instance = str(uuid.uuid4())
        self._session = Session()
        self._turned = asyncio.Event()
        self._announced: Sequence[KeyInfo] = ()
        self._registered = asyncio.Event()
        self._heartbeat_seconds = settings.heartbeat_interval.total_seconds()
        self._problem = "not connected yet"

    @property
    def serving(self) -> bool:
        """Whether this worker is registered and the stream of assignments is open."""
        return self._session.phase is Phase.SERVING

    @property
    def registered(self) -> bool:
        """Whether the coordinator has accepted this worker, and not said otherwise since."""
        return self._registered.is_set()

    @property
    def problem(self) -> str:
        """Why this worker takes no tasks; empty while it does."""
        return "" if self.serving else self._problem

    async def run(self) -> None:
        """Stay connected for ever; cancelling it ends the stream and nothing else."""
        try:
            while True:
                self._note(await self._act())
        finally:
            self._session = Session()
            self._problem = "leaving"
            self._metrics.connected(connected=False)

    async def heartbeats(self, unfinished: Callable[[], int]) -> None:
        """Send heartbeats for ever, once this worker is registered.

        Args:
            unfinished: tells how many unfinished tasks this worker holds.
        """
        while True:
            await self._registered.wait()
            await asyncio.sleep(self._heartbeat_seconds)
            if self.registered:
                self._note(await self._heartbeat(unfinished()))

    def executors_lost(self, failure: LoadFailed) -> None:
        """Tasks can't be executed any more: take none until the keys are loaded again."""
        self._problem = str(failure)
        log.error("executing process lost", extra={"error": self._problem})
        self._note(Event.EXECUTORS_LOST)

    def _note(self, event: Event) -> None:
        before = self._session.phase
        self._session = advance(self._session, event, random.random())  # noqa: S311 - jitter
        after = self._session.phase
        if after is before:
            return
        self._metrics.connected(connected=self.serving)
        if Phase.SERVING is before or Phase.WAITING is before:
            self._coordinator.reconnect()
        self._turned.set()
        self._turned = asyncio.Event()

    async def _act(self) -> Event:
        """What the current phase asks for."""
        match self._session.phase:
            case Phase.PREPARING:
                return await self._try(self._prepare(), Event.KEYS_LOADED)
            case Phase.REGISTERING:
                return await self._try(self._register(), Event.REGISTERED)
            case Phase.SERVING:
                return await self._serve()
            case Phase.WAITING:
                await asyncio.sleep(self._session.delay)
                return Event.WAITED

    async def _try(self, step: Awaitable[None], success: Event) -> Event:
        try:
            await step
        except (CoordinatorError, NoKeys, KeyRefused, LoadFailed, OSError) as error:
            self._problem = str(error)
            log.warning("not connected", extra={"error": self._problem})
            return Event.CALL_FAILED
        return success

    async def _prepare(self) -> None:
        announced: Sequence[KeyInfo] = ()
        wanted: Sequence[KeyInfo] = ()
        if self._needs_keys:
            announced = await self._coordinator.list_keys(self._settings.pool)
            wanted = [info for info, _ in usable(announced, self._types)]
            if not wanted:
                raise NoKeys(f"the coordinator has no keys for pool {self._settings.pool!r} yet")
        await self._hooks.reachable()
        await self._pool.load(await self._keys.obtain(wanted))
        self._announced = announced

    async def _register(self) -> None:
        interval = await self._coordinator.register(
            Registration(
                pool=self._settings.pool,
                concurrency=self._settings.concurrency,
                version=__version__,
                instance=self._instance,
                capabilities=capabilities(self._announced, self._types),
                types=sorted(name for name in self._types if not name.startswith(PROOFS)),
                tags=self._settings.tags,
                holding=self._hooks.holding(),
            )
        )
        wanted = self._settings.heartbeat_interval.total_seconds()
        self._heartbeat_seconds = min(wanted, max(1.0, interval)) if interval else wanted
        self._registered.set()

    async def _serve(self) -> Event:
        """Take tasks until the stream ends or the session turns away from it."""
        keys = [info.key_id for info in self._announced]
        log.info("taking tasks", extra={"keys": keys, "types": sorted(self._types)})
        opened = time.monotonic()
        stream = asyncio.create_task(self._receive())
        others: set[asyncio.Task[object]] = {asyncio.create_task(self._turned.wait())}
        if self._needs_keys:
            others.add(asyncio.create_task(self._watch_keys()))
        try:
            await asyncio.wait({stream, *others}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await _cancel(stream, *others)
            self._hooks.stream_ended()
        lived = time.monotonic() - opened
        log.warning("connection lost", extra={"error": self._problem, "seconds": round(lived, 3)})
        return Event.STREAM_BROKE if lived >= STEADY_SECONDS else Event.STREAM_REFUSED

    async def _receive(self) -> None:
        try:
            async for command in self._coordinator.commands():
                self._hooks.commanded(command)
        except CoordinatorError as error:
            self._problem = str(error)
        else:
            self._problem = "the coordinator ended the stream"

    async def _heartbeat(self, unfinished: int) -> Event:
        try:
            known = await self._coordinator.heartbeat(unfinished)
        except CoordinatorError as error:
            self._problem = str(error)
            log.warning("heartbeat not answered", extra={"error": self._problem})
            return Event.HEARTBEAT_MISSED
        self._metrics.heartbeat_answered()
        if known:
            return Event.HEARTBEAT_ANSWERED
        self._registered.clear()
        self._problem = "the coordinator does not know this worker any more"
        return Event.FORGOTTEN

    async def _watch_keys(self) -> None:
        """Follow the pool's keys while the stream is open; what runs is not disturbed."""
        while True:
            await asyncio.sleep(KEY_REFRESH_SECONDS)
            try:
                if await self._coordinator.list_keys(self._settings.pool) != self._announced:
                    await self._prepare()
                    await self._register()
            except (CoordinatorError, NoKeys, KeyRefused, LoadFailed, OSError) as error:
                log.warning("keys not refreshed", extra={"error": str(error)})


def capabilities(announced: Iterable[KeyInfo], types: Container[str]) -> dict[str, str]:
    """What a worker with these keys and workload types tells about its proofs when it registers."""
    offered = usable(announced, types)
    if not offered:
        return {}
    return {
        "circuits": ",".join(sorted({spec.name for _, spec in offered})),
        "keys": ",".join(sorted(f"{info.key_id}={info.version}" for info, _ in offered)),
    }


def usable(
    announced: Iterable[KeyInfo], types: Container[str]
) -> list[tuple[KeyInfo, CircuitSpec]]:
    """The announced keys that a worker with these workload types can prove with.

    A key of a circuit that this version does not know is for workers that do.
    """
    found = []
    for info in announced:
        try:
            spec = CircuitSpec.from_key_id(info.key_id)
        except InvalidInput:
            continue
        if spec.task_type in types:
            found.append((info, spec))
    return found


async def _cancel(*tasks: asyncio.Task[object]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
