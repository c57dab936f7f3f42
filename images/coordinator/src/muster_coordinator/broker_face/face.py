"""The coordinator on the broker: its connection, its subscriptions, its news."""

import asyncio
import contextlib
import logging
from dataclasses import dataclass

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from muster_broker import messages as wire
from muster_broker.access import Access
from muster_broker.envelope import Envelope, Malformed, Sender, decode
from muster_broker.link import Away, Link, Refused
from muster_broker.subjects import CONSUMER
from muster_coordinator.broker_face import messages, streams
from muster_coordinator.broker_face.asks import Asks, Keys, Manners
from muster_coordinator.broker_face.events import Events
from muster_coordinator.broker_face.metrics import BrokerMetrics
from muster_coordinator.broker_face.reporting import Reporting
from muster_coordinator.broker_face.sessions import Limits, Sessions
from muster_coordinator.engine.delivery import Delivery
from muster_coordinator.engine.errors import EngineError
from muster_coordinator.engine.registry import Registry
from muster_coordinator.engine.reports import Reports
from muster_runtime.tracing import Tracer

log = logging.getLogger(__name__)

_NEWS_SECONDS = 2.0
_MISSED_HEARTBEATS = 2.5
_DRAIN_SECONDS = 2.0

_CHUNK_BYTES = 512 * 1024
"""Less than what a broker allows for one message by default."""


@dataclass(frozen=True, slots=True)
class Engine:
    """What the face calls."""

    registry: Registry
    delivery: Delivery
    reports: Reports
    keys: Keys


@dataclass(frozen=True, slots=True)
class Terms:
    """What workers are held to.

    Args:
        coordinator_id: this replica.
        heartbeat: seconds between heartbeats.
        timeout_ms: how long a worker may work on what has no limit of its own.
    """

    coordinator_id: str
    heartbeat: float
    timeout_ms: int


class BrokerFace:
    """Serves workers on the broker for as long as `run` runs."""

    def __init__(
        self,
        access: Access,
        keeping: streams.Keeping,
        engine: Engine,
        terms: Terms,
        metrics: BrokerMetrics,
        tracer: Tracer,
    ) -> None:
        self._subjects = access.section.subjects
        self._keeping = keeping
        self._terms = terms
        self._metrics = metrics
        self._sender = Sender(terms.coordinator_id, "coordinator")
        self._link = Link(access, terms.coordinator_id, self._prepare, self._changed)
        self._sessions = Sessions(
            engine.delivery,
            engine.reports,
            self._link,
            self._sender,
            self._subjects,
            Limits(_MISSED_HEARTBEATS * terms.heartbeat, terms.timeout_ms),
            tracer,
        )
        manners = Manners(
            terms.coordinator_id, round(terms.heartbeat * 1000), round(_NEWS_SECONDS * 1000)
        )
        self._asks = Asks(engine.registry, self._sessions, engine.keys, manners)
        self._events = Events(
            Reporting(engine.reports, tracer),
            self._asks,
            self._link,
            self._sender,
            self._subjects,
            metrics,
        )
        self._subscriptions: list[Subscription] = []
        self._answering: set[asyncio.Task[None]] = set()
        self._leaving = False

    @property
    def connected(self) -> bool:
        """Whether the broker answers."""
        return self._link.connected

    async def run(self) -> None:
        """Be connected for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._link.run())
            group.create_task(self._tell_news())

    async def leave(self) -> None:
        """Take no more, let workers go elsewhere, and finish what was taken in."""
        self._leaving = True
        await self._publish_news(wire.News.LEAVING)
        with contextlib.suppress(nats.errors.Error, OSError, TimeoutError):
            async with asyncio.timeout(_DRAIN_SECONDS):
                await asyncio.gather(*(one.drain() for one in self._subscriptions))
        await self._sessions.stop()
        if self._answering:
            await asyncio.wait(self._answering, timeout=_DRAIN_SECONDS)
        await self._events.idle()

    async def _prepare(self, client: Client) -> None:
        await streams.prepare(client, self._subjects, self._keeping)
        if self._leaving:
            return
        self._subscriptions = [
            await streams.listen(client, self._subjects, self._events.arrived),
            await client.subscribe(self._subjects.statuses, queue=CONSUMER, cb=self._asked),
            # All replicas hear all workers; the one with the session is meant.
            await client.subscribe(self._subjects.statuses, cb=self._heard),
        ]

    def _changed(self, up: bool) -> None:
        self._metrics.connected(up)
        if up:
            self._sessions.reconnected()

    async def _tell_news(self) -> None:
        while True:
            if not self._leaving:
                await self._publish_news(wire.News.ALIVE)
            self._metrics.sessions(len(self._sessions))
            await asyncio.sleep(_NEWS_SECONDS)

    async def _publish_news(self, kind: wire.News) -> None:
        news = wire.Presence(coordinator_id=self._terms.coordinator_id)
        with contextlib.suppress(Away, Refused):
            await self._link.publish(
                self._subjects.broadcast, self._sender.message(kind, news).encode()
            )

    async def _heard(self, message: Msg) -> None:
        worker_id = self._subjects.worker_of(message.subject)
        if self._sessions.heard(worker_id) or self._leaving:
            return
        # What is wrong with it is said where it is answered.
        with contextlib.suppress(Malformed):
            said = decode(message.data)
            if said.type == wire.Ask.HEARTBEAT:
                beat = wire.read(said, wire.Heartbeat)
                if beat.coordinator_id == self._terms.coordinator_id:
                    await self._sessions.detach(worker_id, beat.session, "no such session")

    async def _asked(self, message: Msg) -> None:
        task = asyncio.create_task(self._answer(message))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def _answer(self, message: Msg) -> None:
        try:
            said = decode(message.data)
            worker_id = self._asking(message, said)
            if said.type == wire.Ask.GET_KEY:
                await self._send_key(message, said)
                return
            answer = await self._asks.take(worker_id, said)
        except Malformed as error:
            log.warning("bad request", extra={"subject": message.subject, "error": str(error)})
            self._metrics.handled("other", "rejected")
            await self._reply(message, "", messages.rejection(str(error)))
            return
        except EngineError as error:
            answer = messages.refusal(error)
        except Exception:
            log.exception("request not handled", extra={"subject": message.subject})
            answer = wire.Answer(outcome=wire.Outcome.UNAVAILABLE, message="internal error")
        self._metrics.handled(said.type, answer.outcome)
        await self._reply(message, said.message_id, answer)

    def _asking(self, message: Msg, said: Envelope) -> str:
        worker_id = messages.sender(said)
        meant = self._subjects.worker_of(message.subject)
        if worker_id != meant:
            raise Malformed(f"sender_id is {worker_id!r}; allowed: {meant!r}, whose subject it is")
        return worker_id

    async def _send_key(self, message: Msg, said: Envelope) -> None:
        """Answer with a key: first that it comes, then its pieces, then an empty one."""
        begun = False
        async for data in self._asks.key(said):
            if not begun:
                begun = True
                await self._reply(message, said.message_id, wire.Answer())
            for first in range(0, len(data), _CHUNK_BYTES):
                await self._send(message, data[first : first + _CHUNK_BYTES])
        await self._send(message, b"")
        self._metrics.handled(said.type, wire.Outcome.ACCEPTED)

    async def _reply(self, message: Msg, asked: str, answer: wire.Answer) -> None:
        reply = self._sender.message(wire.Command.ANSWER, answer, correlation_id=asked)
        await self._send(message, reply.encode())

    async def _send(self, message: Msg, data: bytes) -> None:
        if message.reply:
            # The worker asks again.
            with contextlib.suppress(Away, Refused):
                await self._link.publish(message.reply, data)
