"""What customers need: the queue, its history, accounts, configurations."""

from collections.abc import Collection, Sequence
from typing import Protocol
from uuid import UUID

from muster_coordinator.engine.customers import ApiKey, Customer, CustomerStats, WorkloadConfig
from muster_coordinator.engine.model import (
    AuditEvent,
    LoggedLine,
    NewWorkload,
    Once,
    QueueDepth,
    Workload,
    WorkloadQuery,
)


class QueueStore(Protocol):
    """Workloads as their owners see them."""

    async def submit(self, batch: Sequence[NewWorkload]) -> None:
        """Store new workloads and wake the leader; storing one again changes nothing."""
        ...

    async def submit_once(self, batch: Sequence[NewWorkload], once: Once) -> list[UUID]:
        """Store new workloads of one customer, or nothing where its key was used before.

        The ids of the workloads that are stored under the key.

        Raises:
            Conflict: the key was used for another request.
        """
        ...

    async def submitted(self, once: Once, customer_id: str) -> list[UUID] | None:
        """The ids of what was stored under a key, None where it was not used within 24 hours.

        Raises:
            Conflict: the key was used for another request.
        """
        ...

    async def get(self, workload_id: UUID, customer_id: str) -> Workload | None:
        """One workload with its result, or None where the customer has none such."""
        ...

    async def find(self, query: WorkloadQuery) -> list[Workload]:
        """Workloads without their results, newest first."""
        ...

    async def count(self, query: WorkloadQuery) -> int:
        """How many workloads a query would list in all, whatever its page."""
        ...

    async def watch(self, workload_id: UUID, customer_id: str) -> bool:
        """Let every change of a workload be told from now on; False where there is none such."""
        ...

    async def cancel(self, workload_id: UUID, customer_id: str) -> None:
        """Cancel one workload; a worker that has it is told. Cancelling again changes nothing.

        Raises:
            NotFound: the customer has none such.
            InvalidState: it is at its end already.
        """
        ...

    async def pause(self, workload_id: UUID, customer_id: str) -> None:
        """Let its worker be told to pause a running workload; pausing again changes nothing.

        Raises:
            NotFound: the customer has none such.
            InvalidState: it does not run.
        """
        ...

    async def resume(self, workload_id: UUID, customer_id: str) -> None:
        """Let a paused workload wait for a worker again; or take back what `pause` asked for.

        Raises:
            NotFound: the customer has none such.
            InvalidState: it is not paused.
        """
        ...

    async def queued(self, customer_id: str) -> int:
        """How many workloads of a customer wait for a worker."""
        ...

    async def depth(self) -> list[QueueDepth]:
        """How much waits and runs, by pool and kind."""
        ...


class HistoryStore(Protocol):
    """What became of workloads."""

    async def logs(
        self, workload_id: UUID, customer_id: str, after: int = 0, limit: int = 1000
    ) -> list[LoggedLine]:
        """Lines that its workers wrote, oldest first, beyond number `after`.

        Raises:
            NotFound: the customer has none such.
        """
        ...

    async def audit(
        self, workload_id: UUID, customer_id: str, after: int = 0, limit: int = 1000
    ) -> list[AuditEvent]:
        """What happened to a workload, oldest first, beyond number `after`.

        Raises:
            NotFound: the customer has none such.
        """
        ...


class AccountStore(Protocol):
    """Customers and their keys."""

    async def customer(self, customer_id: str) -> Customer | None:
        """One customer."""
        ...

    async def customers(self) -> list[Customer]:
        """All customers, by their ids."""
        ...

    async def put_customer(self, customer: Customer) -> Customer:
        """Store a customer, or change its name, tier and limits; as it is stored."""
        ...

    async def stats(self, customer_id: str) -> CustomerStats:
        """What a customer has in the system."""
        ...

    async def add_key(self, key: ApiKey, secret_sha256: bytes) -> None:
        """Store a key.

        Raises:
            NotFound: there is no such customer.
        """
        ...

    async def find_key(self, secret_sha256: bytes) -> tuple[ApiKey, Customer | None] | None:
        """The key with this secret, revoked and expired ones too, and whose it is."""
        ...

    async def keys(self, customer_id: str | None = None) -> list[ApiKey]:
        """The keys of a customer, or all; newest first."""
        ...

    async def revoke_key(self, key_id: UUID) -> bool:
        """Let a key open nothing from now on; False where there is none, or it was revoked."""
        ...

    async def rotate_key(
        self, key_id: UUID, follower: ApiKey, secret_sha256: bytes, grace: float
    ) -> None:
        """Store the follower of a key, which itself ends after `grace` seconds at the latest.

        Raises:
            NotFound: there is none that is still valid.
        """
        ...

    async def touch_keys(self, keys: Collection[UUID]) -> None:
        """Note that keys have just been used."""
        ...


class ConfigStore(Protocol):
    """Stored configurations of workloads."""

    async def add(self, config: WorkloadConfig) -> WorkloadConfig:
        """Store one; as it is stored.

        Raises:
            Conflict: the customer has one of this name.
        """
        ...

    async def get(self, config_id: UUID, customer_id: str) -> WorkloadConfig | None:
        """One configuration, or None where the customer has none such."""
        ...

    async def find(
        self, customer_id: str, limit: int = 50, offset: int = 0
    ) -> list[WorkloadConfig]:
        """The configurations of a customer, newest first."""
        ...

    async def update(self, config: WorkloadConfig) -> WorkloadConfig:
        """Change everything but id, customer and creation; as it is stored.

        Raises:
            NotFound: the customer has none such.
            Conflict: the customer has another one of this name.
        """
        ...

    async def delete(self, config_id: UUID, customer_id: str) -> None:
        """Delete one.

        Raises:
            NotFound: the customer has none such.
            Conflict: workloads that have not ended were made from it.
        """
        ...
