"""Events from JetStream: each is acknowledged once the engine has stored what it says.

What can't be understood is set aside as a dead letter, with one line in the log; it neither blocks
others nor comes again. What can't be stored now comes again later.
"""

import asyncio
import contextlib
import logging
import time

import nats.errors
from nats.aio.msg import Msg

from muster_broker import messages as wire
from muster_broker.envelope import Envelope, Malformed, Sender, decode
from muster_broker.link import Away, Link, Refused
from muster_broker.subjects import Subjects
from muster_coordinator.broker_face import messages
from muster_coordinator.broker_face.asks import Asks
from muster_coordinator.broker_face.metrics import BrokerMetrics
from muster_coordinator.broker_face.recent import Recent
from muster_coordinator.broker_face.reporting import Reporting
from muster_coordinator.engine.errors import EngineError, Unavailable

log = logging.getLogger(__name__)

_STORE_SECONDS = 5.0
_FIRST_DELAY, _LONGEST_DELAY = 0.5, 5.0
_MOST_TRIES = 5
"""Of a message that this code breaks on; one that meets a lost database is tried without end."""

STALE_SECONDS = 15.0
"""What a worker said about itself so long ago says nothing any more."""

ERROR_HEADER = "Muster-Error"


class Events:
    """Takes events in, as JetStream hands them out."""

    def __init__(
        self,
        reporting: Reporting,
        asks: Asks,
        link: Link,
        sender: Sender,
        subjects: Subjects,
        metrics: BrokerMetrics,
    ) -> None:
        self._reporting = reporting
        self._asks = asks
        self._link = link
        self._sender = sender
        self._subjects = subjects
        self._metrics = metrics
        self._recent = Recent()
        self._tasks: set[asyncio.Task[None]] = set()

    async def arrived(self, message: Msg) -> None:
        """JetStream hands an event out."""
        task = asyncio.create_task(self._handle(message))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def idle(self) -> None:
        """Wait until everything that arrived is handled."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _handle(self, message: Msg) -> None:
        try:
            said = decode(message.data)
            worker_id = messages.sender(said)
        except Malformed as error:
            try:
                await self._bury(message, "other", str(error))
            except Unavailable:
                await _refuse(message, _FIRST_DELAY)
            return
        before = self._recent.of(said.message_id)
        if before is not None:
            await self._again(message, worker_id, said, before)
            return
        answer = self._recent.begin(said.message_id)
        try:
            answer.set_result(await self._judged(message, worker_id, said))
        except Unavailable as error:
            await self._later(message, said, str(error))
            return
        except Exception as error:  # noqa: BLE001 - one message must not end the consumer
            await self._broke(message, said, error)
            return
        await self._answer(worker_id, said, answer.result())
        await _acknowledge(message)

    async def _judged(self, message: Msg, worker_id: str, said: Envelope) -> wire.Answer | None:
        """The answer to an event that is stored, or never will be; None where it needs none.

        Raises:
            Unavailable: not now.
        """
        try:
            if not self._asks.answers(said.type):
                answer = await self._reporting.take(worker_id, said)
            elif _age(message) > STALE_SECONDS:
                return None
            else:
                answer = await self._asks.take(worker_id, said)
        except Malformed as error:
            await self._bury(message, said.type, str(error), worker_id)
            return messages.rejection(str(error))
        except Unavailable:
            raise
        except EngineError as error:
            answer = messages.refusal(error)
        self._metrics.handled(said.type, answer.outcome)
        return answer

    async def _again(
        self,
        message: Msg,
        worker_id: str,
        said: Envelope,
        before: asyncio.Future[wire.Answer | None],
    ) -> None:
        """A copy: it changes nothing, but its sender may not have heard the answer."""
        answer = await before
        if self._recent.of(said.message_id) is not before:
            # It could not be stored; this one may come again with the other.
            await _refuse(message, _FIRST_DELAY)
            return
        self._metrics.handled(said.type, "duplicate")
        await self._answer(worker_id, said, answer)
        await _acknowledge(message)

    async def _later(self, message: Msg, said: Envelope, reason: str) -> None:
        self._recent.forget(said.message_id)
        self._metrics.handled(said.type, "later")
        tries = message.metadata.num_delivered
        delay = min(_LONGEST_DELAY, _FIRST_DELAY * 2 ** min(tries - 1, 10))
        log.warning("event waits", extra={"type": said.type, "error": reason, "seconds": delay})
        await _refuse(message, delay)

    async def _broke(self, message: Msg, said: Envelope, error: Exception) -> None:
        self._recent.forget(said.message_id)
        log.error("event not handled", extra={"type": said.type}, exc_info=error)
        if message.metadata.num_delivered >= _MOST_TRIES:
            with contextlib.suppress(Unavailable):
                await self._bury(message, said.type, f"it can't be handled: {error!r}")
                return
        await _refuse(message, _FIRST_DELAY)

    async def _bury(self, message: Msg, kind: str, reason: str, sender: str = "unknown") -> None:
        """Set a message aside; it is only acknowledged once it is kept there.

        Raises:
            Unavailable: it can't be kept now.
        """
        log.error(
            "bad message set aside", extra={"type": kind, "worker_id": sender, "error": reason}
        )
        headers = {ERROR_HEADER: reason.encode("ascii", "replace").decode()[:1000]}
        with contextlib.suppress(Refused):
            try:
                await self._link.store(
                    self._subjects.dead_letters, message.data, headers, _STORE_SECONDS
                )
            except Away as error:
                raise Unavailable(f"a dead letter can't be kept: {error}") from error
        self._metrics.handled(kind, "buried")
        await _acknowledge(message)

    async def _answer(self, worker_id: str, said: Envelope, answer: wire.Answer | None) -> None:
        if answer is None:
            return
        reply = self._sender.message(wire.Command.ANSWER, answer, correlation_id=said.message_id)
        # One that is lost is asked for again, with a copy of the event.
        with contextlib.suppress(Away, Refused):
            await self._link.publish(self._subjects.commands(worker_id), reply.encode())


def _age(message: Msg) -> float:
    """Seconds since the broker took a message in, as far as its clock and ours agree."""
    return time.time() - message.metadata.timestamp.timestamp()


async def _acknowledge(message: Msg) -> None:
    # Where the connection is lost it comes again, as a copy.
    with contextlib.suppress(nats.errors.Error, OSError):
        await message.ack()


async def _refuse(message: Msg, delay: float) -> None:
    with contextlib.suppress(nats.errors.Error, OSError):
        await message.nak(delay=delay)
