"""Tenants are asked for once, forgotten when they change, and served while the store is away."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from muster_kv.errors import ErrorCode
from muster_kv_coordinator.core.errors import KvError, UnavailableError
from muster_kv_coordinator.core.model import Migration, Policy, Tenant
from muster_kv_coordinator.core.tenants import Tenants
from muster_testing.waiting import eventually

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Store:
    def __init__(self) -> None:
        self.asked: list[str] = []
        self.away = False
        self.factor = 3
        self.gate: asyncio.Event | None = None

    async def tenant(self, tenant_id: str) -> Tenant | None:
        self.asked.append(tenant_id)
        if self.away:
            raise UnavailableError("away")
        factor = self.factor
        if self.gate is not None:
            await self.gate.wait()
        if tenant_id.startswith("no"):
            return None
        return Tenant(tenant_id, factor, factor, None, Policy(), NOW, NOW)

    async def create_tenant(self, tenant_id: str, factor: int, policy: Policy) -> Tenant:
        raise AssertionError

    async def update_policy(
        self, tenant_id: str, change: Callable[[Policy], Policy]
    ) -> Tenant | None:
        raise AssertionError

    async def ask_for_factor(self, tenant_id: str, factor: int) -> tuple[Tenant, Migration | None]:
        raise AssertionError


class Meter:
    def __init__(self) -> None:
        self.hits = 0
        self.misses = 0
        self.evictions = 0

    def evicted(self) -> None:
        self.evictions += 1

    def cache(self, *, hit: bool) -> None:
        self.hits += hit
        self.misses += not hit


class World:
    def __init__(self, size: int = 10) -> None:
        self.now = 0.0
        self.store = Store()
        self.meter = Meter()
        self.tenants = Tenants(self.store, self.meter, lambda: self.now, ttl=300.0, size=size)


async def test_a_tenant_is_asked_for_once_until_its_time() -> None:
    world = World()
    for _ in range(10):
        await world.tenants.get("t")
    assert world.store.asked == ["t"]
    assert (world.meter.hits, world.meter.misses) == (9, 1)
    world.now += 301
    await world.tenants.get("t")
    assert world.store.asked == ["t", "t"]


async def test_many_that_ask_at_once_ask_once() -> None:
    world = World()
    world.store.gate = asyncio.Event()
    asking = [asyncio.create_task(world.tenants.get("t")) for _ in range(10)]
    await asyncio.sleep(0)
    asking[0].cancel()
    await asyncio.sleep(0)
    world.store.gate.set()
    found = await asyncio.gather(*asking[1:])
    assert {tenant.tenant_id for tenant in found} == {"t"}
    assert world.store.asked == ["t"]


async def test_the_one_used_least_lately_gives_way() -> None:
    world = World(size=2)
    for name in ("a", "b", "a", "c", "a", "b"):
        await world.tenants.get(name)
    assert world.store.asked == ["a", "b", "c", "b"]
    assert world.meter.evictions == 2


async def test_a_change_is_seen_with_the_next_request() -> None:
    world = World()
    await world.tenants.get("t")
    world.store.factor = 5
    world.tenants.changed("t")
    assert (await world.tenants.get("t")).replication_factor == 5
    world.store.factor = 7
    world.tenants.all_changed()
    assert (await world.tenants.get("t")).replication_factor == 7


async def _read_before_a_change() -> World:
    world = World()
    world.store.gate = asyncio.Event()
    asking = asyncio.create_task(world.tenants.get("t"))
    await eventually(lambda: world.store.asked, every=0.0)
    world.store.factor = 5
    world.tenants.changed("t")
    world.store.gate.set()
    await asking
    return world


async def test_what_was_read_before_a_change_is_asked_for_again() -> None:
    world = await _read_before_a_change()
    assert (await world.tenants.get("t")).replication_factor == 5


async def test_what_was_read_before_a_change_is_served_while_the_store_is_away() -> None:
    world = await _read_before_a_change()
    world.store.away = True
    assert (await world.tenants.get("t")).replication_factor == 3


async def test_known_tenants_are_served_while_the_store_is_away() -> None:
    world = World()
    await world.tenants.get("t")
    world.store.away = True
    world.now += 10_000
    asked = len(world.store.asked)
    for _ in range(10):
        assert (await world.tenants.get("t")).tenant_id == "t"
    assert len(world.store.asked) == asked + 1
    with pytest.raises(UnavailableError):
        await world.tenants.get("u")


async def test_an_unknown_tenant() -> None:
    world = World()
    with pytest.raises(KvError) as refused:
        await world.tenants.get("nobody")
    assert refused.value.code is ErrorCode.TENANT_NOT_FOUND


class Mirror:
    """What a front knows of tenants, and which of them it has served."""

    def __init__(self) -> None:
        self.known: dict[str, float] = {}
        self.served: set[str] = set()

    def keep(self, tenant: Tenant, seconds: float) -> None:
        self.known[tenant.tenant_id] = seconds

    def forget(self, tenant_id: str) -> None:
        self.known.pop(tenant_id, None)

    def forget_all(self) -> None:
        self.known.clear()

    def used(self, tenant_id: str) -> bool:
        used = tenant_id in self.served
        self.served.discard(tenant_id)
        return used


def _mirrored(size: int) -> tuple[Tenants, Store, Mirror]:
    store, mirror = Store(), Mirror()
    return Tenants(store, Meter(), lambda: 0.0, size=size, mirror=mirror), store, mirror


async def test_a_mirror_knows_what_is_cached_and_forgets_what_changes() -> None:
    tenants, store, mirror = _mirrored(size=10)
    for name in ("a", "b", "c"):
        await tenants.get(name)
    assert mirror.known == {"a": 300.0, "b": 300.0, "c": 300.0}
    tenants.changed("a")
    assert set(mirror.known) == {"b", "c"}
    tenants.all_changed()
    assert not mirror.known
    store.away = True
    await tenants.get("a")
    assert mirror.known == {"a": 1.0}


async def test_what_a_mirror_has_served_does_not_give_way_before_others() -> None:
    tenants, _, mirror = _mirrored(size=2)
    await tenants.get("a")
    await tenants.get("b")
    mirror.served.add("a")
    await tenants.get("c")
    assert set(mirror.known) == {"a", "c"}
