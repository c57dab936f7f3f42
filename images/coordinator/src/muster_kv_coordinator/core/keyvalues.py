"""Values of tenants: admitted by rate, then read and written."""

from muster_kv.consistency import Level
from muster_kv_coordinator.core.asking import BegunQuestion
from muster_kv_coordinator.core.errors import ErrorCode, KvError
from muster_kv_coordinator.core.model import Found, Page, Tenant, Write, Written
from muster_kv_coordinator.core.ratelimit import Allowance, Buckets
from muster_kv_coordinator.core.reads import Reads
from muster_kv_coordinator.core.scans import Scan, Scans
from muster_kv_coordinator.core.spread import BegunWrite
from muster_kv_coordinator.core.tenants import Tenants
from muster_kv_coordinator.core.writes import Writes


class RateLimitedError(KvError):
    """A tenant asked too often; `allowance` says how often it may."""

    def __init__(self, allowance: Allowance, kind: str, seconds: float) -> None:
        super().__init__(
            ErrorCode.RATE_LIMIT_EXCEEDED,
            f"more than {allowance.limit} {kind} a minute; come back in {seconds:.3g} s",
            retry_after=seconds,
        )
        self.allowance = allowance


class KeyValues:
    """All that can be done with values."""

    def __init__(
        self, tenants: Tenants, buckets: Buckets, writes: Writes, reads: Reads, scans: Scans
    ) -> None:
        self._tenants = tenants
        self._buckets = buckets
        self._writes = writes
        self._reads = reads
        self._scans = scans

    async def tenant(self, tenant_id: str) -> Tenant:
        """A tenant.

        Raises:
            KvError: TENANT_NOT_FOUND.
            UnavailableError: it is not known here, and the metadata store is away.
        """
        return self._tenants.cached(tenant_id) or await self._tenants.get(tenant_id)

    def admit(self, tenant: Tenant, *, write: bool, operations: int = 1) -> Allowance:
        """Count operations against a tenant's rate: all of them, or none.

        Raises:
            RateLimitedError: RATE_LIMIT_EXCEEDED.
        """
        policy = tenant.policy
        rate = policy.writes_per_minute if write else policy.reads_per_minute
        allowance = self._buckets.take(
            tenant.tenant_id, write=write, per_minute=rate, tokens=operations
        )
        if allowance.retry_after is not None:
            kind = "writes" if write else "reads"
            raise RateLimitedError(allowance, kind, allowance.retry_after)
        return allowance

    async def write(
        self,
        tenant: Tenant,
        write: Write,
        seconds: float | None,
        begun: BegunQuestion | BegunWrite | None = None,
    ) -> Written:
        """Write or delete; see `Writes.write`."""
        return await self._writes.write(tenant, write, seconds, begun)

    async def read(
        self,
        tenant: Tenant,
        key: str,
        asked: Level,
        seconds: float | None,
        begun: BegunQuestion | None = None,
    ) -> Found:
        """Read; see `Reads.read`."""
        return await self._reads.read(tenant, key, asked, seconds, begun)

    async def scan(self, tenant: Tenant, scan: Scan, seconds: float | None) -> Page:
        """One page of a scan; see `Scans.page`."""
        return await self._scans.page(tenant, scan, seconds)
