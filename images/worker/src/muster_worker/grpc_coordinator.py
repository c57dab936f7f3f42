"""The coordinator over gRPC: package `coordinator`, service `CoordinatorService`."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TypeVar

from muster_protos import coordinator_pb2 as pb
from muster_worker.coordinator import KeyInfo, Registration
from muster_worker.grpc_calls import CALL_SECONDS, HEARTBEAT_SECONDS, Calls, NotServed
from muster_worker.grpc_session import Session
from muster_worker.grpc_unary import Unary
from muster_worker.link import Link
from muster_worker.metrics import Metrics
from muster_worker.notes import Notes
from muster_worker.reports import Completion, Failure, Halted
from muster_worker.tasks import Command, Ticket

log = logging.getLogger(__name__)

T = TypeVar("T")

KEY_SECONDS = 60.0


class GrpcCoordinator:
    """A `Coordinator` at the end of `link`, as seen by the worker `worker_id`.

    Speaks on one stream, and by single calls to a coordinator that answers that it knows no such
    stream. Each new connection tries the stream again, as it may lead to a newer coordinator.

    Raises:
        OSError: a file of the link can't be read.
    """

    def __init__(self, link: Link, worker_id: str, metrics: Metrics) -> None:
        self._worker_id = worker_id
        self._calls = Calls(link, metrics)
        self._session = Session(self._calls, worker_id)
        self._unary = Unary(self._calls, worker_id)
        self._way: Session | Unary = self._session

    def reconnect(self) -> None:
        """See `Coordinator`."""
        self._session.drop()
        self._calls.reconnect()
        self._way = self._session

    async def close(self) -> None:
        """See `Coordinator`."""
        await self._session.close()
        await self._calls.close()

    async def list_keys(self, pool: str) -> Sequence[KeyInfo]:
        """See `Coordinator`."""
        with self._calls.counted("ListKeys"):
            answer = await self._calls.stub.ListKeys(
                pb.ListKeysRequest(pool=pool),
                timeout=CALL_SECONDS,
                metadata=self._calls.metadata(),
            )
        return [
            KeyInfo(key.key_id, key.version, key.proving_key_sha256, key.size_bytes)
            for key in answer.keys
        ]

    async def proving_key(self, key: KeyInfo) -> AsyncIterator[bytes]:
        """See `Coordinator`."""
        request = pb.GetProvingKeyRequest(key_id=key.key_id, version=key.version)
        with self._calls.counted("GetProvingKey"):
            async for chunk in self._calls.stub.GetProvingKey(
                request, timeout=KEY_SECONDS, metadata=self._calls.metadata()
            ):
                yield chunk.data

    async def register(self, registration: Registration) -> float | None:
        """See `Coordinator`."""
        return await self._say(lambda way: way.register(registration))

    async def heartbeat(self, active_tasks: int) -> bool:
        """See `Coordinator`."""
        return await self._say(lambda way: way.heartbeat(active_tasks))

    async def commands(self) -> AsyncIterator[Command]:
        """See `Coordinator`. Which way it goes shows when this worker registers."""
        async for command in self._way.commands():
            yield command

    async def start(self, ticket: Ticket) -> None:
        """See `Coordinator`."""
        await self._say(lambda way: way.start(ticket))

    async def tell(self, ticket: Ticket, notes: Notes) -> None:
        """See `Coordinator`."""
        await self._say(lambda way: way.tell(ticket, notes))

    async def complete(self, report: Completion) -> None:
        """See `Coordinator`."""
        await self._say(lambda way: way.complete(report))

    async def fail(self, report: Failure) -> None:
        """See `Coordinator`."""
        await self._say(lambda way: way.fail(report))

    async def halted(self, report: Halted) -> None:
        """See `Coordinator`."""
        await self._say(lambda way: way.halted(report))

    async def release(self, ticket: Ticket, reason: str) -> None:
        """See `Coordinator`."""
        await self._say(lambda way: way.release(ticket, reason))

    async def deregister(self) -> None:
        """See `Coordinator`."""
        request = pb.DeregisterWorkerRequest(worker_id=self._worker_id)
        with self._calls.counted("DeregisterWorker"):
            await self._calls.stub.DeregisterWorker(
                request, timeout=HEARTBEAT_SECONDS, metadata=self._calls.metadata()
            )

    async def _say(self, say: Callable[[Session | Unary], Awaitable[T]]) -> T:
        if self._way is self._session:
            try:
                return await say(self._session)
            except NotServed:
                log.info("the coordinator knows no Session: speaking by single calls")
                self._way = self._unary
        return await say(self._unary)
