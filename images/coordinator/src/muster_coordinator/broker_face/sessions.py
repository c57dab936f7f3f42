"""Sessions: what the engine has for a worker goes out to it, and counts once it is confirmed.

A session stands for the stream that a worker would have over gRPC. NATS tells nobody that a client
is gone, so a session ends where a command stays unconfirmed, or where the worker falls silent.
"""

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from muster_broker import messages as wire
from muster_broker.envelope import Envelope, Malformed, Sender, decode
from muster_broker.link import Away, Link, Nobody, Refused
from muster_broker.subjects import Subjects
from muster_coordinator.broker_face import messages
from muster_coordinator.engine.delivery import Delivery, Stream
from muster_coordinator.engine.errors import EngineError
from muster_coordinator.engine.model import Assignment, Cancel, Claim, Command, Pause
from muster_coordinator.engine.reports import Reports
from muster_runtime.tracing import Step, Tracer

log = logging.getLogger(__name__)

_CONFIRM_SECONDS = 2.0
_PATIENCE_SECONDS = 6.0
"""How long a command may stay unconfirmed while the broker or the worker is away."""

_NOBODY_SECONDS = 1.5
"""How long nobody may listen at a worker's subject; a worker connects again in less."""

_PAUSE_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Limits:
    """Times of sessions.

    Args:
        silence: seconds without a word of the worker after which it counts as gone.
        timeout_ms: how long a worker may work on what has no limit of its own.
    """

    silence: float
    timeout_ms: int


@dataclass(eq=False, slots=True)
class _Session:
    worker_id: str
    id: str
    heard_at: float
    over: asyncio.Event = field(default_factory=asyncio.Event)
    reason: str = ""
    left: bool = False

    def end(self, reason: str) -> None:
        self.reason = self.reason or reason
        self.over.set()


class Sessions:
    """The workers that this replica sends work to."""

    def __init__(
        self,
        delivery: Delivery,
        reports: Reports,
        link: Link,
        sender: Sender,
        subjects: Subjects,
        limits: Limits,
        tracer: Tracer,
    ) -> None:
        self._delivery = delivery
        self._reports = reports
        self._link = link
        self._sender = sender
        self._subjects = subjects
        self._limits = limits
        self._tracer = tracer
        self._sessions: dict[str, _Session] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._sessions)

    async def open(self, worker_id: str, session_id: str, holding: Sequence[Claim]) -> None:
        """Send a worker what the engine has for it, from now on; an older session of it ends.

        Raises:
            NotFound: the worker is unknown.
            Unavailable: this replica stops, or the database is away.
        """
        older = self._sessions.get(worker_id)
        if older is not None and older.id == session_id:
            return
        session = _Session(worker_id, session_id, self._time())
        opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(self._serve(session, holding, opened))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        await opened

    def heard(self, worker_id: str) -> bool:
        """A worker said something, to whichever replica; whether it has a session here."""
        session = self._sessions.get(worker_id)
        if session is not None:
            session.heard_at = self._time()
        return session is not None

    def reconnected(self) -> None:
        """The broker is back; what could not be heard meanwhile is no silence."""
        for session in self._sessions.values():
            session.heard_at = self._time()

    def close(self, worker_id: str) -> None:
        """A worker leaves."""
        session = self._sessions.get(worker_id)
        if session is not None:
            session.left = True
            session.end("the worker left")

    async def detach(self, worker_id: str, session_id: str, reason: str) -> None:
        """Let a worker that is still there open another session."""
        message = self._sender.message(
            wire.Command.DETACHED, wire.Answer(message=reason), correlation_id=session_id
        )
        with contextlib.suppress(Away, Refused):
            await self._link.publish(self._subjects.commands(worker_id), message.encode())

    async def stop(self) -> None:
        """End all sessions."""
        for session in self._sessions.values():
            session.end("this coordinator stops")
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_PATIENCE_SECONDS)

    async def _serve(
        self, session: _Session, holding: Sequence[Claim], opened: asyncio.Future[None]
    ) -> None:
        try:
            async with self._delivery.open(session.worker_id, holding) as stream:
                older = self._sessions.get(session.worker_id)
                self._sessions[session.worker_id] = session
                if older is not None:
                    older.end("the worker has another session")
                if not opened.done():
                    opened.set_result(None)
                try:
                    await self._until_over(session, stream)
                finally:
                    if self._sessions.get(session.worker_id) is session:
                        del self._sessions[session.worker_id]
        except EngineError as error:
            if not opened.done():
                opened.set_exception(error)
            return
        finally:
            if not opened.done():
                opened.cancel()
        about = {"worker_id": session.worker_id, "reason": session.reason}
        log.info("session ended", extra=about)
        # A worker that left would take the word for an invitation to come back.
        if not session.left:
            await self.detach(session.worker_id, session.id, session.reason)

    async def _until_over(self, session: _Session, stream: Stream) -> None:
        pump = asyncio.create_task(self._pump(session, stream))
        over = asyncio.create_task(session.over.wait())
        try:
            while not (pump.done() or over.done()):
                silent = self._time() - session.heard_at
                if silent >= self._limits.silence:
                    session.end(f"nothing was heard of the worker for {silent:.1f} s")
                    break
                await asyncio.wait(
                    {pump, over},
                    timeout=self._limits.silence - silent,
                    return_when=asyncio.FIRST_COMPLETED,
                )
            if pump.done() and not pump.cancelled() and (defect := pump.exception()) is not None:
                log.error("a session broke", exc_info=defect)
            session.end("the engine ended it")
        finally:
            pump.cancel()
            over.cancel()
            await asyncio.gather(pump, over, return_exceptions=True)

    async def _pump(self, session: _Session, stream: Stream) -> None:
        async with asyncio.TaskGroup() as sending:
            async for command in stream.commands():
                sending.create_task(self._send(session, command))

    async def _send(self, session: _Session, command: Command) -> None:
        message = self._message(session, command)
        data = message.encode()
        subject = self._subjects.commands(session.worker_id)
        patience = _Patience(self._time())
        while not session.over.is_set():
            try:
                await self._link.wait(_PATIENCE_SECONDS)
                answer = await self._link.request(subject, data, _CONFIRM_SECONDS)
            except Refused as error:
                await self._give_up(session, command, str(error))
                return
            except Away as error:
                if patience.ended(self._time(), nobody=isinstance(error, Nobody)):
                    session.end(f"{message.type} was not confirmed: {error}")
                    return
                await asyncio.sleep(_PAUSE_SECONDS)
            else:
                self._confirmed(session, answer)
                return

    def _confirmed(self, session: _Session, answer: bytes) -> None:
        session.heard_at = self._time()
        try:
            received = wire.read(decode(answer), wire.Received).session
        except Malformed:
            # It got there, whatever else the worker wanted to say.
            received = True
        if not received:
            session.end("the worker has no such session any more")

    async def _give_up(self, session: _Session, command: Command, reason: str) -> None:
        """An assignment that can't be sent must not be tried for ever."""
        log.error("command not sent", extra={"worker_id": session.worker_id, "error": reason})
        if not isinstance(command, Assignment):
            return
        claim = Claim(command.workload_id, session.worker_id, command.generation)
        with contextlib.suppress(EngineError):
            await self._reports.fail(claim, f"it can't be sent over the broker: {reason}")

    def _message(self, session: _Session, command: Command) -> Envelope:
        kind: wire.Command
        payload: wire.Payload
        match command:
            case Assignment():
                return self._assignment(session, command)
            case Cancel():
                kind, payload = wire.Command.CANCEL, _stop(command)
            case Pause():
                kind, payload = wire.Command.PAUSE, _stop(command)
            case _:
                kind, payload = wire.Command.DRAIN, wire.Payload()
        return self._sender.message(kind, payload, correlation_id=session.id)

    def _assignment(self, session: _Session, one: Assignment) -> Envelope:
        step = Step("assign", one.traceparent, "producer", begun=one.created_at)
        with self._tracer.span(
            step,
            task_id=str(one.workload_id),
            worker_id=session.worker_id,
            generation=one.generation,
        ) as span:
            payload = messages.assign(one, self._limits.timeout_ms, span.traceparent)
        return self._sender.message(wire.Command.ASSIGN, payload, correlation_id=session.id)

    def _time(self) -> float:
        return asyncio.get_running_loop().time()


class _Patience:
    """How long a command is tried: less where the broker says that nobody listens."""

    def __init__(self, now: float) -> None:
        self._begun = now
        self._nobody_since: float | None = None

    def ended(self, now: float, *, nobody: bool) -> bool:
        """Whether to give up, after one more try that came to nothing."""
        if nobody and self._nobody_since is None:
            self._nobody_since = now
        elif not nobody:
            self._nobody_since = None
        alone = self._nobody_since is not None and now - self._nobody_since >= _NOBODY_SECONDS
        return alone or now - self._begun >= _PATIENCE_SECONDS


def _stop(command: Cancel | Pause) -> wire.Stop:
    return wire.Stop(workload_id=str(command.workload_id), generation=command.generation)
