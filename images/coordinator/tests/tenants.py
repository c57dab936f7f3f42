"""Customers of a coordinator under test, with keys and clients of their own."""

import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from muster_coordinator.accounts.keys import new_key
from muster_coordinator.engine.customers import ApiKey, Customer, Tier
from muster_coordinator.engine.identity import new_id
from muster_coordinator.store.accounts import PostgresAccounts
from muster_coordinator.store.database import Database

from .harness import NO_TLS, Replica, settings

JOBS = {"name": "jobs"}


def workloads(**http: Any) -> dict[str, Any]:
    """A configuration with a pool that does any kind of work, beside the one that proves."""
    # Hands send no heartbeats.
    document = settings(heartbeat_timeout="1h")
    return document | {"workloads": {"pools": [JOBS]}, "http": document["http"] | http}


async def make_key(
    dsn: str,
    customer: str | None,
    tier: Tier = Tier.ENTERPRISE,
    lifetime: timedelta = timedelta(hours=1),
    max_queued: int | None = None,
) -> str:
    """A new key, and its customer where it is new; None for an administrator."""
    made = new_key(customer)
    async with Database(dsn) as database:
        store = PostgresAccounts(database)
        if customer is not None:
            known = Customer(customer, customer, tier, max_queued=max_queued)
            await store.put_customer(known)
        record = ApiKey(
            new_id(),
            customer or "",
            made.prefix,
            admin=customer is None,
            expires_at=datetime.now(UTC) + lifetime,
        )
        await store.add_key(record, made.digest)
    return made.text


@contextlib.asynccontextmanager
async def client(replica: Replica, key: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client that shows a key."""
    async with httpx.AsyncClient(
        base_url=replica.http.base_url,
        timeout=httpx.Timeout(60.0),
        verify=NO_TLS,
        headers={"Authorization": f"Bearer {key}"},
    ) as found:
        yield found


async def submit(customer: httpx.AsyncClient, kind: str = "sleep", **more: Any) -> str:
    """Submit a workload; its id."""
    answer = await customer.post("/v1/workloads", json={"workload_type": kind} | more)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["workload_id"])


async def look(customer: httpx.AsyncClient, workload_id: str, wait: str = "0s") -> dict[str, Any]:
    """A workload as its owner sees it."""
    answer = await customer.get(f"/v1/workloads/{workload_id}", params={"wait": wait})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found
