"""What workers report about work: each message is one call of the engine."""

from collections.abc import Awaitable, Callable

from muster_broker import messages as wire
from muster_broker.envelope import Envelope, Malformed
from muster_coordinator.broker_face import messages
from muster_coordinator.engine.model import Claim
from muster_coordinator.engine.reports import Reports
from muster_runtime.tracing import Off, Step, Tracer

_Take = Callable[[str, Envelope], Awaitable[wire.Answer]]


class Reporting:
    """Takes events in."""

    def __init__(self, reports: Reports, tracer: Tracer) -> None:
        self._reports = reports
        self._tracer = tracer
        self._takers: dict[str, _Take] = {
            wire.Event.ACK: self._began,
            wire.Event.PROGRESS: self._progressed,
            wire.Event.LOG: self._logged,
            wire.Event.CHECKPOINT: self._saved,
            wire.Event.COMPLETED: self._completed,
            wire.Event.FAILED: self._failed,
            wire.Event.PAUSED: self._paused,
            wire.Event.RELEASED: self._released,
        }

    async def take(self, worker_id: str, message: Envelope) -> wire.Answer:
        """What is answered to an event, once it is stored.

        Raises:
            Malformed: it is none.
            EngineError: it is not taken in.
        """
        taker = self._takers.get(message.type)
        if taker is None:
            allowed = ", ".join((*wire.Event, *wire.Ask))
            raise Malformed(f"type is {message.type[:64]!r}; allowed: {allowed}")
        return await taker(worker_id, message)

    async def _began(self, worker_id: str, message: Envelope) -> wire.Answer:
        said = wire.read(message, wire.Ack)
        await self._reports.start(_claim(worker_id, said))
        return wire.Answer()

    async def _progressed(self, worker_id: str, message: Envelope) -> wire.Answer:
        said = wire.read(message, wire.Progress)
        await self._reports.progress(_claim(worker_id, said), said.percent, said.message)
        return wire.Answer()

    async def _logged(self, worker_id: str, message: Envelope) -> wire.Answer:
        said = wire.read(message, wire.Log)
        await self._reports.log(_claim(worker_id, said), messages.lines(said))
        return wire.Answer()

    async def _saved(self, worker_id: str, message: Envelope) -> wire.Answer:
        said = wire.read(message, wire.Checkpoint)
        await self._reports.checkpoint(_claim(worker_id, said), said.data)
        return wire.Answer()

    async def _completed(self, worker_id: str, message: Envelope) -> wire.Answer:
        said = wire.read(message, wire.Completed)
        # A worker that knows no traces leaves nothing to go on from.
        tracer = self._tracer if said.traceparent else Off()
        step = Step("verify", said.traceparent, "server")
        with tracer.span(step, task_id=said.workload_id, worker_id=worker_id) as span:
            verdict = await self._reports.complete(
                _claim(worker_id, said), messages.submission(said)
            )
            if verdict.accepted:
                return wire.Answer(message=verdict.reason)
            span.failed(verdict.reason)
            return messages.rejection(verdict.reason)

    async def _failed(self, worker_id: str, message: Envelope) -> wire.Answer:
        said = wire.read(message, wire.Failed)
        transient = said.error_type == "transient"
        await self._reports.fail(_claim(worker_id, said), said.error_message, transient=transient)
        return wire.Answer()

    async def _paused(self, worker_id: str, message: Envelope) -> wire.Answer:
        said = wire.read(message, wire.Paused)
        await self._reports.paused(_claim(worker_id, said), said.data)
        return wire.Answer()

    async def _released(self, worker_id: str, message: Envelope) -> wire.Answer:
        said = wire.read(message, wire.Released)
        await self._reports.release(_claim(worker_id, said), said.reason)
        return wire.Answer()


def _claim(worker_id: str, said: wire.Claimed) -> Claim:
    return messages.claim(worker_id, said.workload_id, said.generation)
