"""What the native front must know to answer plain calls itself."""

from collections.abc import Callable

from muster_front import Plain
from muster_kv.ring import Phase, Ring
from muster_kv.tenants import ConflictResolution, Durability, Idempotency
from muster_kv_coordinator.core.model import UNLIMITED, Tenant


class PlainCalls:
    """Tells a front of tenants and of the ring; a `Mirror` of tenants.

    A call is plain if its tenant is known and keeps siblings, or it is a read; and while the ring
    does not change. Where operations are remembered in Redis too, those with an idempotency key
    are not.

    Args:
        ring: the one in use.
    """

    def __init__(self, plain: Plain, ring: Callable[[], Ring]) -> None:
        self._plain = plain
        self._ring = ring
        self._factors: set[int] = set()

    def changed(self, ring: Ring) -> None:
        """Another ring is in use."""
        if ring.phase is not Phase.STABLE:
            self._plain.no_ring()
            return
        self._plain.ring(ring.version, ring.factors_version, ring.before.tokens)
        for factor in self._factors:
            self._place(ring, factor)

    def keep(self, tenant: Tenant, seconds: float) -> None:
        """A tenant is known for so long."""
        if tenant.moving_to is not None:
            self._plain.forget(tenant.tenant_id)
            return
        if tenant.replication_factor not in self._factors:
            self._factors.add(tenant.replication_factor)
            self._place(self._ring(), tenant.replication_factor)
        policy = tenant.policy
        self._plain.keep(
            tenant.tenant_id,
            factor=tenant.replication_factor,
            known_at=tenant.known_at,
            writes=policy.conflict_resolution is ConflictResolution.SIBLINGS,
            keyed=policy.idempotency is Idempotency.REPLICAS,
            writes_per_minute=_limit(policy.writes_per_minute),
            reads_per_minute=_limit(policy.reads_per_minute),
            unsynced=policy.durability is Durability.ASYNC,
            seconds=seconds,
        )

    def forget(self, tenant_id: str) -> None:
        """A tenant is not known any more."""
        self._plain.forget(tenant_id)

    def forget_all(self) -> None:
        """No tenant is known any more."""
        self._plain.forget_all()

    def used(self, tenant_id: str) -> bool:
        """Whether there were plain calls of a tenant since this was asked last."""
        return self._plain.used(tenant_id)

    def _place(self, ring: Ring, factor: int) -> None:
        if ring.phase is Phase.STABLE:
            walk = ring.before
            placements = [walk.replicas(token, factor) for token in walk.tokens]
            self._plain.place(ring.version, factor, placements)


def _limit(per_minute: int) -> int | None:
    return None if per_minute == UNLIMITED else per_minute
