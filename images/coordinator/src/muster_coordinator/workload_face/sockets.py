"""Updates of workloads over WebSocket."""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel
from starlette.websockets import WebSocket, WebSocketDisconnect

from muster_coordinator.accounts.callers import Caller
from muster_coordinator.engine.errors import EngineError, InvalidRequest, OverLimit
from muster_coordinator.engine.model import Workload
from muster_coordinator.engine.ports import HistoryStore
from muster_coordinator.engine.queue import Queue
from muster_coordinator.engine.states import State
from muster_coordinator.http_face.errors import problem
from muster_coordinator.workload_face import views
from muster_coordinator.workload_face.requests import WORKLOAD_ID

log = logging.getLogger(__name__)

SUBPROTOCOL = "muster.v1"
"""What a page asks for beside the one that carries its key."""

MAX_WATCHES = 100
_LINES_AT_ONCE = 500
_NORMAL, _GOING_AWAY, _TROUBLE = 1000, 1001, 1011


class StatusUpdate(BaseModel):
    """A workload is, or has become, this."""

    type: Literal["status_update"] = "status_update"
    workload_id: str
    status: State
    progress_percent: float
    progress_message: str
    worker_id: str | None
    timestamp: datetime


class LogUpdate(BaseModel):
    """A worker wrote a line."""

    type: Literal["log_line"] = "log_line"
    workload_id: str
    line: views.LogLine


class Ending(BaseModel):
    """A workload is at its end: completed with its result, or failed with the reason."""

    type: Literal["completed", "failed"]
    workload_id: str
    result_data: Any = None
    error_message: str | None = None
    timestamp: datetime


class Watches:
    """How many watch at once for each customer, here on this replica."""

    def __init__(self, most: int = MAX_WATCHES) -> None:
        self._most = most
        self._open: Counter[str] = Counter()

    @contextlib.contextmanager
    def one(self, customer_id: str) -> Iterator[None]:
        """Count one more while the context is open.

        Raises:
            OverLimit: the customer watches as much as it may.
        """
        if self._open[customer_id] >= self._most:
            raise OverLimit(f"{self._most} workloads are watched already; allowed: no more")
        self._open[customer_id] += 1
        try:
            yield
        finally:
            self._open[customer_id] -= 1
            if not self._open[customer_id]:
                del self._open[customer_id]


class Sockets:
    """The WebSocket endpoints."""

    def __init__(self, queue: Queue, history: HistoryStore, watches: Watches) -> None:
        self._queue = queue
        self._history = history
        self._watches = watches

    async def updates(self, socket: WebSocket, workload_id: str) -> None:
        """Send what becomes of a workload, and what its workers write, until its end."""
        asking: Caller = socket.state.caller
        try:
            customer_id = asking.customer().id
            wanted = _identified(workload_id)
            # Refused before it is accepted, where the client learns the reason.
            await self._queue.get(wanted, customer_id)
            with self._watches.one(customer_id):
                await self._accepted(socket, wanted, customer_id)
        except EngineError as error:
            refusal = problem(error).response(socket.state.request_id)
            await socket.send_denial_response(refusal)

    async def _accepted(self, socket: WebSocket, workload_id: UUID, customer_id: str) -> None:
        offered = socket.scope.get("subprotocols", ())
        await socket.accept(SUBPROTOCOL if SUBPROTOCOL in offered else None)
        sending = asyncio.create_task(self._send(socket, workload_id, customer_id))
        leaving = asyncio.create_task(_left(socket))
        try:
            await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not leaving.done():
                await _close(socket, sending)
        finally:
            for task in (sending, leaving):
                task.cancel()
            await asyncio.wait({sending, leaving})

    async def _send(self, socket: WebSocket, workload_id: UUID, customer_id: str) -> bool:
        """Send until the end; whether the workload came to it."""
        ended = False
        async for update in self._updates(workload_id, customer_id):
            await socket.send_text(update.model_dump_json())
            ended = isinstance(update, Ending) or (
                isinstance(update, StatusUpdate) and update.status is State.CANCELLED
            )
        return ended

    async def _updates(
        self, workload_id: UUID, customer_id: str
    ) -> AsyncIterator[StatusUpdate | LogUpdate | Ending]:
        """What is new with each change; lines come before the end that they led to."""
        told: tuple[object, ...] = ()
        written = 0
        async for workload in self._queue.watch(workload_id, customer_id):
            while lines := await self._history.logs(
                workload_id, customer_id, written, _LINES_AT_ONCE
            ):
                written = lines[-1].seq
                for line in lines:
                    yield LogUpdate(workload_id=str(workload_id), line=views.log_line(line))
            seen = (
                workload.state,
                workload.progress_percent,
                workload.progress_message,
                workload.worker_id,
            )
            if seen != told:
                told = seen
                yield _status(workload)
            if workload.state in {State.COMPLETED, State.FAILED}:
                yield _ending(workload)


async def _left(socket: WebSocket) -> None:
    """Return when the client has gone; what it sends says nothing."""
    with contextlib.suppress(WebSocketDisconnect):
        while True:
            message = await socket.receive()
            if message["type"] == "websocket.disconnect":
                return


async def _close(socket: WebSocket, sent: asyncio.Task[bool]) -> None:
    """Close after all was sent, as the workload ended or the coordinator stops; or in trouble."""
    trouble = sent.exception()
    if isinstance(trouble, WebSocketDisconnect):
        return
    if trouble is not None:
        log.warning("a watch broke off", exc_info=trouble)
        code = _TROUBLE
    else:
        code = _NORMAL if sent.result() else _GOING_AWAY
    with contextlib.suppress(WebSocketDisconnect):
        await socket.close(code)


def _identified(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise InvalidRequest(f"workload_id is {text[:64]!r}; allowed: {WORKLOAD_ID}") from None


def _status(workload: Workload) -> StatusUpdate:
    return StatusUpdate(
        workload_id=str(workload.id),
        status=workload.state,
        progress_percent=workload.progress_percent,
        progress_message=workload.progress_message,
        worker_id=workload.worker_id,
        timestamp=datetime.now(UTC),
    )


def _ending(workload: Workload) -> Ending:
    completed = workload.state is State.COMPLETED
    return Ending(
        type="completed" if completed else "failed",
        workload_id=str(workload.id),
        result_data=None if workload.result is None else views.result_data(workload.result),
        error_message=workload.error,
        timestamp=workload.completed_at or datetime.now(UTC),
    )
