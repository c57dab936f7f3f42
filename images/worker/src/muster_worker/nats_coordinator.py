"""The coordinator over NATS; the contract is that of packages/muster-broker."""

import asyncio
import contextlib
import logging
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence

from nats.aio.client import Client
from nats.aio.msg import Msg

from muster_broker import link as broker
from muster_broker import messages as wire
from muster_broker.access import Access
from muster_broker.envelope import Envelope, Malformed, Sender, decode
from muster_worker import nats_messages as messages
from muster_worker.coordinator import (
    CoordinatorError,
    KeyInfo,
    NotKnown,
    Refused,
    Registration,
    Unavailable,
)
from muster_worker.metrics import Metrics
from muster_worker.nats_session import Session
from muster_worker.reporting import Reporting
from muster_worker.tasks import Command

log = logging.getLogger(__name__)

CALL_SECONDS = 10.0
HEARTBEAT_SECONDS = 3.0
KEY_SECONDS = 60.0
_CONNECT_SECONDS = 3.0
_STORE_SECONDS = 3.0
_NEWS_SECONDS = 10.0
"""So long after the last news of any coordinator nobody may be there."""


class NatsCoordinator(Reporting[messages.Said]):
    """A `Coordinator` behind a broker, as seen by the worker `worker_id`.

    Reports go through JetStream, so they outlive whoever should take them in; each is answered once
    it is stored, and until then this worker keeps it as well. What a coordinator commands is
    confirmed here as it arrives, and is kept nowhere between.
    """

    def __init__(self, access: Access, worker_id: str, metrics: Metrics) -> None:
        super().__init__(messages)
        self._subjects = access.section.subjects
        self._worker_id = worker_id
        self._metrics = metrics
        self._sender = Sender(worker_id, "worker")
        self._link = broker.Link(access, worker_id, self._prepare)
        self._run: asyncio.Task[None] | None = None
        self._session: Session | None = None
        self._answers: dict[str, asyncio.Future[Envelope]] = {}
        self._news_at = -_NEWS_SECONDS

    def reconnect(self) -> None:
        """See `Coordinator`. The connection to the broker is looked after by itself."""
        self._end_session("the worker begins anew")

    async def close(self) -> None:
        """See `Coordinator`."""
        self._end_session("the worker leaves")
        if self._run is not None:
            self._run.cancel()
            await asyncio.wait({self._run})

    async def list_keys(self, pool: str) -> Sequence[KeyInfo]:
        """See `Coordinator`."""
        answer = await self._ask(wire.Ask.LIST_KEYS, wire.ListKeys(pool=pool))
        try:
            found = wire.read(answer, wire.Keys).keys
        except Malformed as error:
            raise Unavailable(f"keys.list: {error}") from error
        return [
            KeyInfo(key.key_id, key.version, key.proving_key_sha256, key.size_bytes)
            for key in found
        ]

    async def proving_key(self, key: KeyInfo) -> AsyncIterator[bytes]:
        """See `Coordinator`."""
        kind = wire.Ask.GET_KEY
        ask = self._sender.message(kind, wire.GetKey(key_id=key.key_id, version=key.version))
        with self._call(kind):
            await self._connected()
            inbox = await self._link.subscribe()
            try:
                async with asyncio.timeout(KEY_SECONDS):
                    subject = self._subjects.status(self._worker_id)
                    await self._link.publish(subject, ask.encode(), reply=inbox.subject)
                    messages.accepted(_decoded(await inbox.next(CALL_SECONDS)))
                    while chunk := (await inbox.next(CALL_SECONDS)).data:
                        yield chunk
            except TimeoutError:
                raise Unavailable(f"keys.get: not within {KEY_SECONDS:g} s") from None
            finally:
                await inbox.close()

    async def register(self, registration: Registration) -> float | None:
        """See `Coordinator`. What comes for this worker comes under the id of this message."""
        message = self._sender.message(wire.Ask.REGISTER, messages.registration(registration))
        now = asyncio.get_running_loop().time
        before, self._session = self._session, Session(message.message_id, now())
        session = self._session
        try:
            answer = await self._request(message, CALL_SECONDS)
            registered = wire.read(answer, wire.Registered)
        except Malformed as error:
            raise Unavailable(f"worker.register: {error}") from error
        finally:
            if before is not None:
                before.end("the worker has another session")
        session.answered(registered.coordinator_id, registered.news_ms / 1000, now())
        return registered.heartbeat_ms / 1000 if registered.heartbeat_ms > 0 else None

    async def heartbeat(self, active_tasks: int) -> bool:
        """See `Coordinator`."""
        session = self._session
        beat = wire.Heartbeat(
            active_tasks=active_tasks,
            session=session.id if session is not None else "",
            coordinator_id=session.coordinator_id if session is not None else "",
        )
        try:
            await self._ask(wire.Ask.HEARTBEAT, beat, HEARTBEAT_SECONDS)
        except NotKnown:
            return False
        return True

    async def commands(self) -> AsyncIterator[Command]:
        """See `Coordinator`."""
        session = self._session
        if session is None:
            raise Unavailable("this worker is not registered")
        async for command in session.commands():
            yield command

    async def deregister(self) -> None:
        """See `Coordinator`."""
        await self._ask(wire.Ask.LEAVE, wire.Payload(), HEARTBEAT_SECONDS)

    async def _prepare(self, client: Client) -> None:
        await client.subscribe(self._subjects.commands(self._worker_id), cb=self._commanded)
        await client.subscribe(self._subjects.broadcast, cb=self._told)

    async def _commanded(self, message: Msg) -> None:
        """A coordinator says something to this worker."""
        try:
            said = decode(message.data)
            if said.type == wire.Command.ANSWER:
                waiting = self._answers.get(said.correlation_id)
                if waiting is not None and not waiting.done():
                    waiting.set_result(said)
                return
            await self._obey(message, said)
        except Malformed as error:
            log.error("bad message", extra={"subject": message.subject, "error": str(error)})  # noqa: TRY400

    async def _obey(self, message: Msg, said: Envelope) -> None:
        session = self._session
        if session is None or session.over or session.id != said.correlation_id:
            # Of a coordinator that does not know yet that this worker has turned to another one.
            await self._confirm(message, meant=False)
            return
        if said.type == wire.Command.DETACHED:
            session.end(wire.read(said, wire.Answer).message or "the coordinator ended the session")
            return
        command = messages.command(said)
        if command is None:
            raise Malformed(f"type is {said.type[:64]!r}, which this worker does not know")
        session.put(said.message_id, command)
        await self._confirm(message, meant=True)

    async def _confirm(self, message: Msg, *, meant: bool) -> None:
        if not message.reply:
            return
        received = self._sender.message("worker.received", wire.Received(session=meant))
        # One that is lost is asked for again, with a copy of the command.
        with contextlib.suppress(broker.Away, broker.Refused):
            await self._link.publish(message.reply, received.encode())

    async def _told(self, message: Msg) -> None:
        """A coordinator says something to all workers."""
        now, session = asyncio.get_running_loop().time(), self._session
        with contextlib.suppress(Malformed):
            said = decode(message.data)
            presence = wire.read(said, wire.Presence)
            if said.type == wire.News.ALIVE:
                self._news_at = now
                if session is not None:
                    session.news(presence.coordinator_id, now)
            elif said.type == wire.News.LEAVING and session is not None:
                session.leaves(presence.coordinator_id)

    async def _ask(
        self, kind: wire.Ask, payload: wire.Payload, seconds: float = CALL_SECONDS
    ) -> Envelope:
        return await self._request(self._sender.message(kind, payload), seconds)

    async def _request(self, message: Envelope, seconds: float) -> Envelope:
        """Ask whichever coordinator answers.

        Raises:
            CoordinatorError: none does, or it refuses.
        """
        with self._call(message.type):
            await self._connected()
            subject = self._subjects.status(self._worker_id)
            answer = decode(await self._link.request(subject, message.encode(), seconds))
            messages.accepted(answer)
            return answer

    async def _report(self, *reports: messages.Said) -> None:
        for said in reports:
            await self._keep(said)

    async def _keep(self, said: messages.Said) -> None:
        """Have a report kept by the broker, and wait until a coordinator has stored it.

        Raises:
            CoordinatorError: no coordinator did, or it refuses.
        """
        kind, payload = said
        message_id = messages.stable_id(self._worker_id, kind, payload)
        message = self._sender.message(kind, payload, message_id=message_id)
        answer: asyncio.Future[Envelope] = asyncio.get_running_loop().create_future()
        self._answers[message.message_id] = answer
        try:
            with self._call(kind):
                await self._connected()
                async with asyncio.timeout(CALL_SECONDS):
                    headers = {broker.MESSAGE_ID_HEADER: self._copy(message)}
                    await self._link.store(
                        self._subjects.events, message.encode(), headers, _STORE_SECONDS
                    )
                    messages.accepted(await answer)
        finally:
            self._answers.pop(message.message_id, None)

    def _copy(self, message: Envelope) -> str:
        """By what JetStream knows copies of a message.

        While a coordinator is there each try is one of its own, as the answer to an earlier one may
        be lost; while none is, one is enough.
        """
        silent = asyncio.get_running_loop().time() - self._news_at
        return message.message_id if silent > _NEWS_SECONDS else uuid.uuid4().hex

    async def _connected(self) -> None:
        if self._run is None:
            self._run = asyncio.create_task(self._link.run())
        await self._link.wait(_CONNECT_SECONDS)

    def _end_session(self, problem: str) -> None:
        if self._session is not None:
            self._session.end(problem)
            self._session = None

    @contextlib.contextmanager
    def _call(self, kind: str) -> Iterator[None]:
        """Count what is said, and translate its error."""
        outcome = "UNAVAILABLE"
        try:
            yield
            outcome = "OK"
        except (broker.Away, Malformed, TimeoutError) as error:
            raise Unavailable(f"{kind}: {str(error) or 'no answer in time'}") from error
        except broker.Refused as error:
            outcome = "REJECTED"
            raise Refused(f"{kind}: {error}") from error
        except CoordinatorError as error:
            outcome = type(error).__name__.upper()
            raise
        finally:
            self._metrics.called(kind, outcome)


def _decoded(message: Msg) -> Envelope:
    return decode(message.data)
