"""The endpoints under `/v1/workloads`, and those of a customer's account."""

import logging
from typing import Annotated
from uuid import UUID

from fastapi import Path, Query, Request, Response

from muster_coordinator.accounts.callers import Caller
from muster_coordinator.engine.customers import Customer
from muster_coordinator.engine.ports import AccountStore, HistoryStore
from muster_coordinator.engine.queue import Queue
from muster_coordinator.http_face import bodies
from muster_coordinator.http_face.api import IdempotencyKey
from muster_coordinator.http_face.frame import TIMEOUT_SECONDS
from muster_coordinator.http_face.intake import Origin, once
from muster_coordinator.http_face.requests import Look
from muster_coordinator.workload_face import desk, views
from muster_coordinator.workload_face.desk import Accepted, Desk
from muster_coordinator.workload_face.requests import WORKLOAD_ID, Listing, Page, Submission

log = logging.getLogger(__name__)

# So that an answer is out before the request's time is.
_LONGEST_WAIT = TIMEOUT_SECONDS - 1

WorkloadPath = Annotated[UUID, Path(description=WORKLOAD_ID)]


def caller(request: Request) -> Caller:
    """Who asks, as the way in found out."""
    found: Caller = request.state.caller
    return found


def customer(request: Request) -> Customer:
    """The customer that asks.

    Raises:
        Forbidden: it is an administrator.
    """
    return caller(request).customer()


class WorkloadApi:
    """Workloads of the customer that asks; those of others are not there."""

    def __init__(self, queue: Queue, history: HistoryStore, desk_: Desk) -> None:
        self._queue = queue
        self._history = history
        self._desk = desk_

    async def submit(
        self, request: Request, response: Response, idempotency_key: IdempotencyKey = None
    ) -> views.Submitted:
        """Take in one workload; it is safe when this is answered."""
        accepted = await self._accept(request, idempotency_key)
        response.headers["Location"] = f"/v1/workloads/{accepted.id}"
        if accepted.replayed:
            response.headers["Idempotency-Replayed"] = "true"
        extra = {"workload_id": str(accepted.id), "replayed": accepted.replayed}
        log.info("workload submitted", extra=extra | {"customer_id": customer(request).id})
        return views.Submitted(
            workload_id=str(accepted.id),
            created_at=accepted.created_at,
            request_id=request.state.request_id,
        )

    async def get(
        self, request: Request, workload_id: WorkloadPath, look: Annotated[Look, Query()]
    ) -> views.WorkloadDetail:
        """One workload, at its end or after `wait`, whichever comes first."""
        seconds = min(look.wait.total_seconds(), _LONGEST_WAIT)
        return views.detail(await self._queue.wait(workload_id, seconds, customer(request).id))

    async def find(
        self, request: Request, listing: Annotated[Listing, Query()]
    ) -> views.WorkloadPage:
        """Workloads without parameters and results, newest first where nothing else is asked."""
        query = desk.query(listing, customer(request))
        page, cursor = desk.page(listing, await self._queue.find(query))
        return views.WorkloadPage(
            workloads=[views.summary(one) for one in page],
            next_cursor=None if cursor is None else str(cursor),
            total=await self._queue.count(query),
        )

    async def cancel(self, request: Request, workload_id: WorkloadPath) -> views.WorkloadDetail:
        """End a workload that is not at its end; to cancel it again changes nothing."""
        return views.detail(await self._queue.cancel(workload_id, customer(request).id))

    async def pause(self, request: Request, workload_id: WorkloadPath) -> views.WorkloadDetail:
        """Let a running workload rest; it is PAUSED once its worker has kept what it did so far."""
        return views.detail(await self._queue.pause(workload_id, customer(request).id))

    async def resume(self, request: Request, workload_id: WorkloadPath) -> views.WorkloadDetail:
        """Let a paused workload wait for a worker, which goes on where it was paused."""
        return views.detail(await self._queue.resume(workload_id, customer(request).id))

    async def logs(
        self, request: Request, workload_id: WorkloadPath, page: Annotated[Page, Query()]
    ) -> views.LogPage:
        """What its workers wrote, oldest first."""
        lines = await self._history.logs(workload_id, customer(request).id, page.after, page.limit)
        return views.LogPage(
            lines=[views.log_line(one) for one in lines],
            next_after=lines[-1].seq if lines else page.after,
        )

    async def audit(
        self, request: Request, workload_id: WorkloadPath, page: Annotated[Page, Query()]
    ) -> views.AuditPage:
        """What happened to a workload, oldest first."""
        events = await self._history.audit(
            workload_id, customer(request).id, page.after, page.limit
        )
        return views.AuditPage(
            events=[views.audit_entry(one) for one in events],
            next_after=events[-1].seq if events else page.after,
        )

    async def _accept(self, request: Request, key: str | None) -> Accepted:
        """Take in what a request asks for, or find what it was taken in as before."""
        asking = customer(request)
        data = await request.body()
        unique = (
            await bodies.off_loop(len(data), lambda: once(key, request.url.path, data))
            if key
            else None
        )
        before = await self._desk.replayed(unique, asking) if unique else None
        if before is not None:
            return before
        asked = await bodies.free_body(request, Submission)
        origin = Origin(request.state.request_id, bodies.traceparent(request))
        return await self._desk.submit(asked, asking, origin, unique)


class CustomerApi:
    """The account of the customer that asks."""

    def __init__(self, accounts: AccountStore) -> None:
        self._accounts = accounts

    async def get(self, request: Request) -> views.Account:
        """The customer's name, tier and limits."""
        return views.account(customer(request))

    async def stats(self, request: Request) -> views.Stats:
        """What the customer has in the system."""
        asking = customer(request)
        return views.stats(asking, await self._accounts.stats(asking.id))
