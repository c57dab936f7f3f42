"""`niyanta.v1.WorkloadService`: every method lets its caller in, and is one call of the engine."""

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import grpc

from muster_coordinator.accounts.authentication import Credential, bearer
from muster_coordinator.accounts.entrance import Entrance
from muster_coordinator.accounts.errors import Unauthenticated
from muster_coordinator.engine.customers import Customer
from muster_coordinator.engine.errors import InvalidRequest
from muster_coordinator.engine.model import Workload
from muster_coordinator.engine.queue import Queue
from muster_coordinator.engine.states import State
from muster_coordinator.grpc_face.server import Service
from muster_coordinator.http_face.bodies import TRACEPARENT
from muster_coordinator.http_face.clients import of_peer
from muster_coordinator.http_face.intake import Origin, once
from muster_coordinator.http_face.requests import IDEMPOTENCY_KEY
from muster_coordinator.workload_face import desk, messages
from muster_coordinator.workload_face.desk import Accepted, Desk
from muster_coordinator.workload_face.sockets import Watches
from muster_protos import workload_pb2 as pb
from muster_protos.workload_pb2_grpc import (
    WorkloadServiceServicer,
    add_WorkloadServiceServicer_to_server,
)
from muster_proving import InvalidInput

SERVICE = pb.DESCRIPTOR.services_by_name["WorkloadService"].full_name

_METHOD = f"/{SERVICE}/SubmitWorkload"
_MAX_KEY = 255

_Context = grpc.aio.ServicerContext[Any, Any]


class WorkloadService(WorkloadServiceServicer):
    """See protos/workload.proto."""

    def __init__(self, entrance: Entrance, queue: Queue, desk_: Desk, watches: Watches) -> None:
        self._entrance = entrance
        self._queue = queue
        self._desk = desk_
        self._watches = watches

    async def SubmitWorkload(  # noqa: N802 - the contract's name, as all here
        self, request: pb.SubmitWorkloadRequest, context: _Context
    ) -> pb.SubmitWorkloadResponse:
        """Take in one workload."""
        customer = await self._customer(context)
        try:
            accepted = await self._accept(request, customer, context)
        except InvalidInput as error:
            raise InvalidRequest(str(error)) from None
        return pb.SubmitWorkloadResponse(
            workload_id=str(accepted.id),
            status=messages.status(State.PENDING),
            created_at=messages.timestamp(accepted.created_at),
        )

    async def GetWorkload(  # noqa: N802
        self, request: pb.GetWorkloadRequest, context: _Context
    ) -> pb.GetWorkloadResponse:
        """One workload with its result."""
        workload = await self._after(self._queue.get, request.workload_id, context)
        return pb.GetWorkloadResponse(workload=workload)

    async def ListWorkloads(  # noqa: N802
        self, request: pb.ListWorkloadsRequest, context: _Context
    ) -> pb.ListWorkloadsResponse:
        """Workloads without parameters and results."""
        customer = await self._customer(context)
        listing = messages.listing(request)
        try:
            query = desk.query(listing, customer)
        except InvalidInput as error:
            raise InvalidRequest(str(error)) from None
        page, cursor = desk.page(listing, await self._queue.find(query))
        return pb.ListWorkloadsResponse(
            workloads=[messages.workload(one) for one in page], next_cursor=str(cursor or "")
        )

    async def CancelWorkload(  # noqa: N802
        self, request: pb.CancelWorkloadRequest, context: _Context
    ) -> pb.CancelWorkloadResponse:
        """End a workload."""
        workload = await self._after(self._queue.cancel, request.workload_id, context)
        return pb.CancelWorkloadResponse(workload=workload)

    async def PauseWorkload(  # noqa: N802
        self, request: pb.PauseWorkloadRequest, context: _Context
    ) -> pb.PauseWorkloadResponse:
        """Let a workload rest."""
        workload = await self._after(self._queue.pause, request.workload_id, context)
        return pb.PauseWorkloadResponse(workload=workload)

    async def ResumeWorkload(  # noqa: N802
        self, request: pb.ResumeWorkloadRequest, context: _Context
    ) -> pb.ResumeWorkloadResponse:
        """Let a workload go on."""
        workload = await self._after(self._queue.resume, request.workload_id, context)
        return pb.ResumeWorkloadResponse(workload=workload)

    async def StreamWorkloadStatus(  # noqa: N802
        self, request: pb.StreamWorkloadStatusRequest, context: _Context
    ) -> AsyncIterator[pb.WorkloadStatusUpdate]:
        """What a workload is, and each change of it until its end."""
        customer = await self._customer(context)
        wanted = messages.workload_id(request.workload_id)
        told: tuple[object, ...] = ()
        with self._watches.one(customer.id):
            async for workload in self._queue.watch(wanted, customer.id):
                seen = (workload.state, workload.progress_percent, workload.progress_message)
                if seen != told:
                    told = seen
                    yield messages.update(workload)

    async def _after(
        self, call: Callable[[UUID, str], Awaitable[Workload]], workload_id: str, context: _Context
    ) -> pb.Workload:
        """The caller's workload as `call` leaves it."""
        customer = await self._customer(context)
        return messages.workload(await call(messages.workload_id(workload_id), customer.id))

    async def _accept(
        self, request: pb.SubmitWorkloadRequest, customer: Customer, context: _Context
    ) -> Accepted:
        key = request.idempotency_key
        if len(key) > _MAX_KEY or any(not "!" <= one <= "~" for one in key):
            raise InvalidInput("idempotency_key", "something else", IDEMPOTENCY_KEY)
        unique = once(key, _METHOD, request.SerializeToString(deterministic=True)) if key else None
        before = await self._desk.replayed(unique, customer) if unique else None
        if before is not None:
            return before
        origin = Origin(uuid4().hex, _traceparent(context))
        return await self._desk.submit(messages.submission(request), customer, origin, unique)

    async def _customer(self, context: _Context) -> Customer:
        """The customer that calls.

        Raises:
            Unauthenticated, Forbidden, TooOften: it may not.
        """
        caller, allowance = await self._entrance.admit(
            _credential(context), of_peer(context.peer())
        )
        context.set_trailing_metadata(
            tuple((name.lower(), value) for name, value in allowance.headers.items())
        )
        return caller.customer()


def workload_service(service: WorkloadService) -> Service:
    """The service of customers, for a server."""
    return Service(
        SERVICE,
        lambda server: add_WorkloadServiceServicer_to_server(service, server),
        own_callers=True,
    )


def _credential(context: _Context) -> Credential:
    """What a call shows.

    Raises:
        Unauthenticated: more than one `authorization`, or one of another kind.
    """
    given = _metadata(context, "authorization")
    if len(given) > 1:
        raise Unauthenticated(f"authorization is there {len(given)} times; allowed: once")
    pem = b"".join(context.auth_context().get("x509_pem_cert", ()))
    certificate = ssl.PEM_cert_to_DER_cert(pem.decode()) if pem else b""
    return Credential(bearer(given[0]) if given else "", certificate)


def _traceparent(context: _Context) -> str:
    """The caller's step that led to a call; empty where it says none."""
    given = _metadata(context, "traceparent")
    return given[0] if given and TRACEPARENT.fullmatch(given[0]) else ""


def _metadata(context: _Context, name: str) -> list[str]:
    return [
        value if isinstance(value, str) else value.decode("latin-1")
        for key, value in context.invocation_metadata() or ()
        if key == name
    ]
