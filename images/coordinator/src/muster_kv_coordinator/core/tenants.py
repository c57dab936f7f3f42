"""Tenants: created once, looked up with every request, so they are cached.

A cached tenant is asked for again after its time, and forgotten at once when it is changed
anywhere. While the metadata store is away, what is cached goes on being served however old it is.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from muster_kv_coordinator.core import limits
from muster_kv_coordinator.core.errors import ErrorCode, KvError, UnavailableError, invalid, shown
from muster_kv_coordinator.core.model import UNLIMITED, Migration, Policy, Tenant

log = logging.getLogger(__name__)

_MOST_PER_MINUTE = 1_000_000_000
_AT_ONCE = float("-inf")
"""Until when an entry is known that is asked for again with the next request."""


class TenantStore(Protocol):
    """Where tenants are kept; every method raises `UnavailableError` while that is away."""

    async def tenant(self, tenant_id: str) -> Tenant | None:
        """One tenant; None where there is none."""
        ...

    async def create_tenant(self, tenant_id: str, factor: int, policy: Policy) -> Tenant:
        """Make one.

        Raises:
            KvError: TENANT_EXISTS; INVALID_REPLICATION_FACTOR where there are fewer nodes.
        """
        ...

    async def update_policy(
        self, tenant_id: str, change: Callable[[Policy], Policy]
    ) -> Tenant | None:
        """Change a tenant's policy; None where there is no such tenant."""
        ...

    async def ask_for_factor(self, tenant_id: str, factor: int) -> tuple[Tenant, Migration | None]:
        """Want another replication factor: the tenant as it was, and the migration this needs.

        Raises:
            KvError: TENANT_NOT_FOUND; INVALID_REPLICATION_FACTOR where there are fewer nodes.
        """
        ...


class CacheMeter(Protocol):
    """Counts look-ups."""

    def cache(self, *, hit: bool) -> None:
        """One look-up was answered from the cache, or not."""
        ...

    def evicted(self) -> None:
        """A tenant gave way to another."""
        ...


class Mirror(Protocol):
    """Knows some of the tenants that are cached, and serves them itself."""

    def keep(self, tenant: Tenant, seconds: float) -> None:
        """A tenant is known for so long."""
        ...

    def forget(self, tenant_id: str) -> None:
        """A tenant is not known any more."""
        ...

    def forget_all(self) -> None:
        """No tenant is known any more."""
        ...

    def used(self, tenant_id: str) -> bool:
        """Whether it has served a tenant since this was asked last."""
        ...


@dataclass(slots=True)
class _Entry:
    tenant: Tenant
    until: float


class Tenants:
    """The tenants that requests name.

    Args:
        ttl: seconds after which a cached tenant is asked for again.
        size: how many are cached; the one that was not used for longest gives way.
        oldest: a tenant that was looked up under an older ring is asked for again.
        clock: seconds, never going back.
        mirror: knows them too, until they change or give way.
    """

    def __init__(
        self,
        store: TenantStore,
        meter: CacheMeter,
        clock: Callable[[], float],
        *,
        ttl: float = 300.0,
        size: int = 10_000,
        oldest: Callable[[], int] = lambda: 0,
        mirror: Mirror | None = None,
    ) -> None:
        self._store = store
        self._meter = meter
        self._clock = clock
        self._ttl = ttl
        self._size = size
        self._oldest = oldest
        self._mirror = mirror
        self._cached: OrderedDict[str, _Entry] = OrderedDict()
        self._asked: dict[str, asyncio.Task[Tenant]] = {}
        # Rises with every change that is heard of; what was read before it is asked for again.
        self._changes = 0

    def cached(self, tenant_id: str) -> Tenant | None:
        """A tenant that need not be asked for; None where it has to be."""
        entry = self._cached.get(tenant_id)
        if entry is None or entry.until < self._clock():
            return None
        if entry.tenant.known_at < self._oldest():
            return None
        self._cached.move_to_end(tenant_id)
        self._meter.cache(hit=True)
        return entry.tenant

    async def get(self, tenant_id: str) -> Tenant:
        """A tenant.

        Raises:
            KvError: TENANT_NOT_FOUND.
            UnavailableError: it is not known here, and the store is away.
        """
        found = self.cached(tenant_id)
        if found is not None:
            return found
        self._meter.cache(hit=False)
        task = self._asked.get(tenant_id)
        if task is None:
            task = asyncio.create_task(self._ask(tenant_id))
            self._asked[tenant_id] = task
            task.add_done_callback(lambda _: self._asked.pop(tenant_id, None))
        # Many may wait for the same answer; one of them that gives up must not take it away.
        return await asyncio.shield(task)

    async def _ask(self, tenant_id: str) -> Tenant:
        changes = self._changes
        try:
            tenant = await self._store.tenant(tenant_id)
        except UnavailableError:
            entry = self._cached.get(tenant_id)
            if entry is None:
                raise
            log.warning("serving a tenant from the cache", extra={"tenant_id": tenant_id})
            # Not again for each request of an outage.
            self._know(entry, min(1.0, self._ttl))
            return entry.tenant
        if tenant is None:
            self._cached.pop(tenant_id, None)
            if self._mirror is not None:
                self._mirror.forget(tenant_id)
            raise _unknown(tenant_id)
        self._keep(tenant, current=changes == self._changes)
        return tenant

    def _keep(self, tenant: Tenant, *, current: bool) -> None:
        entry = self._cached[tenant.tenant_id] = _Entry(tenant, _AT_ONCE)
        if current:
            self._know(entry, self._ttl)
        self._cached.move_to_end(tenant.tenant_id)
        while len(self._cached) > self._size:
            tenant_id = next(iter(self._cached))
            if self._mirror is not None and self._mirror.used(tenant_id):
                # What is served elsewhere does not move here: it has another turn.
                self._cached.move_to_end(tenant_id)
                continue
            del self._cached[tenant_id]
            if self._mirror is not None:
                self._mirror.forget(tenant_id)
            self._meter.evicted()

    def _know(self, entry: _Entry, seconds: float) -> None:
        entry.until = self._clock() + seconds
        if self._mirror is not None:
            self._mirror.keep(entry.tenant, seconds)

    def changed(self, tenant_id: str) -> None:
        """A tenant was changed somewhere: ask for it again.

        It stays known until then, so that an outage right after a change harms nobody.
        """
        self._changes += 1
        if self._mirror is not None:
            self._mirror.forget(tenant_id)
        entry = self._cached.get(tenant_id)
        if entry is not None:
            entry.until = _AT_ONCE

    def all_changed(self) -> None:
        """Changes may have been missed."""
        self._changes += 1
        if self._mirror is not None:
            self._mirror.forget_all()
        for entry in self._cached.values():
            entry.until = _AT_ONCE

    async def create(self, tenant_id: str, factor: int, policy: Policy) -> Tenant:
        """Make a tenant.

        Raises:
            KvError: INVALID_REQUEST, INVALID_REPLICATION_FACTOR, TENANT_EXISTS.
        """
        limits.check_tenant(tenant_id)
        limits.check_factor(factor)
        check_policy(policy)
        return await self._store.create_tenant(tenant_id, factor, policy)

    async def update_policy(self, tenant_id: str, change: Callable[[Policy], Policy]) -> Tenant:
        """Change a tenant's policy.

        Raises:
            KvError: INVALID_REQUEST, TENANT_NOT_FOUND.
        """

        def checked(policy: Policy) -> Policy:
            made = change(policy)
            check_policy(made)
            return made

        tenant = await self._store.update_policy(tenant_id, checked)
        if tenant is None:
            raise _unknown(tenant_id)
        self.changed(tenant_id)
        return tenant

    async def ask_for_factor(self, tenant_id: str, factor: int) -> tuple[Tenant, Migration | None]:
        """Want another replication factor: the tenant as it was, and the migration this needs.

        Raises:
            KvError: TENANT_NOT_FOUND, INVALID_REPLICATION_FACTOR.
        """
        limits.check_tenant(tenant_id)
        limits.check_factor(factor)
        return await self._store.ask_for_factor(tenant_id, factor)


def check_policy(policy: Policy) -> None:
    """Raise INVALID_REQUEST for rates that are none."""
    for field in ("writes_per_minute", "reads_per_minute"):
        rate = getattr(policy, field)
        if rate != UNLIMITED and not 1 <= rate <= _MOST_PER_MINUTE:
            raise invalid(f"policy.{field}", rate, f"1 to {_MOST_PER_MINUTE}, or -1 for no limit")


def _unknown(tenant_id: str) -> KvError:
    return KvError(ErrorCode.TENANT_NOT_FOUND, f"tenant {shown(tenant_id)} does not exist")
