"""Customers beside each other: limits, parts of the fleet, keys, configurations, statistics."""

import asyncio
import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from muster_coordinator.engine.admission import QueueLimits
from muster_coordinator.engine.affinity import Affinity, Rule
from muster_coordinator.engine.customers import ApiKey, Customer, Tier, WorkloadConfig
from muster_coordinator.engine.errors import Conflict, NotFound, OverLimit, QueueFull
from muster_coordinator.engine.identity import new_id
from muster_coordinator.engine.model import Assignment
from muster_coordinator.engine.states import State
from muster_coordinator.store.configs import PostgresConfigs
from muster_testing.waiting import eventually

from .harness import rows
from .parts import Hand, Settings, parts

pytestmark = pytest.mark.integration


def _assigned(hand: Hand) -> list[Assignment]:
    return [one for one in hand.commands if isinstance(one, Assignment)]


async def _holds(hand: Hand, count: int) -> list[Assignment]:
    def probe() -> list[Assignment]:
        found = _assigned(hand)
        assert len(found) == count
        return found

    found = await eventually(probe, what=f"{count} assignments")
    assert found is not None
    return found


class TestConcurrency:
    async def test_a_customer_holds_no_more_than_it_may_and_slows_no_other(self, dsn: str) -> None:
        async with parts(dsn) as made:
            small = await made.customer("small", max_concurrent=2)
            other = await made.customer("other")
            own = [await made.submit(customer=small) for _ in range(5)]
            theirs = [await made.submit(customer=other) for _ in range(3)]
            async with made.running(), made.worker(capacity=10) as hand:
                given = await _holds(hand, 5)
                assert {one.workload_id for one in given} == {*own[:2], *theirs}
                # Rounds pass, and nothing more comes.
                await asyncio.sleep(0.5)
                assert len(_assigned(hand)) == 5
                [first] = [one for one in given if one.workload_id == own[0]]
                await made.reports.start(hand.claim(first))
                await hand.completes(first)
                assert (await hand.given(own[2])).customer_id == "small"

    async def test_the_limit_holds_over_all_kinds_of_work(self, dsn: str) -> None:
        async with parts(dsn) as made:
            small = await made.customer("small", max_concurrent=3)
            for affinity in (Affinity(), Affinity(hard=Rule("w-0"))):
                for _ in range(3):
                    await made.submit(customer=small, affinity=affinity)
            async with made.running(), made.worker(capacity=10) as hand:
                await _holds(hand, 3)
                await asyncio.sleep(0.5)
                assert len(_assigned(hand)) == 3


class TestQueueLimits:
    async def test_a_customer_queues_no_more_than_it_may(self, dsn: str) -> None:
        async with parts(dsn) as made, parts(dsn, Settings(replica="c-1")) as elsewhere:
            free, other = await made.customer("free"), await made.customer("other")
            for number in range(50):
                await (made, elsewhere)[number % 2].submit(customer=free)
            await asyncio.sleep(0.15)
            for one in (made, elsewhere):
                with pytest.raises(OverLimit, match="free: 50 workloads wait, of at most 50 in"):
                    await one.submit(customer=free)
            first = await made.submit(customer=other)
            await made.queue.cancel(first, "other")
            await rows(
                dsn,
                "UPDATE workloads SET state = 'CANCELLED', input = NULL "
                "WHERE id = (SELECT id FROM workloads WHERE state = 'PENDING' LIMIT 1)",
            )

            async def accepted() -> bool:
                try:
                    await made.submit(customer=free)
                except OverLimit:
                    return False
                return True

            await eventually(accepted, what="there is room again")

    async def test_a_full_system_takes_nothing_more_of_anybody(self, dsn: str) -> None:
        async with parts(dsn, Settings(limits=QueueLimits(total=3))) as made:
            for _ in range(3):
                await made.submit()
            customer = await made.customer()
            with pytest.raises(QueueFull, match="3 tasks wait, of at most 3; come back") as full:
                await made.submit(customer=customer)
            assert not isinstance(full.value, OverLimit)
            assert full.value.retry_after > 0


class TestOrder:
    async def test_fair_shares_go_by_tier(self, dsn: str) -> None:
        async with parts(dsn, Settings(strategy="fair-share")) as made:
            free = await made.customer("free")
            standard = await made.customer("standard", Tier.STANDARD)
            for _ in range(20):
                await made.submit(customer=free)
            for _ in range(20):
                await made.submit(customer=standard)
            async with made.running(), made.worker(capacity=11) as hand:
                given = await _holds(hand, 11)
                owners = [one.customer_id for one in given]
                assert (owners.count("standard"), owners.count("free")) == (10, 1)

    async def test_others_go_by_priority_and_age(self, dsn: str) -> None:
        async with parts(dsn) as made:
            free = await made.customer("free")
            # They wait for seconds, which are worth a point in twelve.
            tasks = [await made.submit(customer=free, priority=n) for n in (10, 10, 15, 5)]
            weighty = await made.submit(priority=10, weight=2)
            async with made.running(), made.worker(capacity=3) as hand:
                given = await _holds(hand, 3)
                assert {one.workload_id for one in given} == {weighty, tasks[2], tasks[0]}

    async def test_work_that_fits_nobody_holds_up_nothing(self, dsn: str) -> None:
        async with parts(dsn) as made:
            nowhere = Affinity(hard=Rule(worker_tags=frozenset({("zone", "moon")})))
            here = Affinity(hard=Rule(worker_tags=frozenset({("zone", "eu")})))
            for _ in range(5):
                await made.submit(affinity=nowhere, priority=1000)
            plain = await made.submit()
            pinned = await made.submit(affinity=here)
            tags = {"zone": "eu"}
            async with made.running(), made.worker(capacity=5, tags=tags) as hand:
                given = await _holds(hand, 2)
                assert {one.workload_id for one in given} == {plain, pinned}
            assert (await made.queue.get(pinned)).affinity == here


def _secret(word: str) -> bytes:
    return hashlib.sha256(word.encode()).digest()


class TestKeys:
    async def test_keys_are_found_listed_rotated_and_revoked(self, dsn: str) -> None:
        async with parts(dsn) as made:
            customer = await made.customer("acme", Tier.PREMIUM)
            now = datetime.now(UTC)
            key = ApiKey(new_id(), "acme", "nyt_acme_1234", expires_at=now + timedelta(days=9))
            for _ in range(2):
                await made.accounts.add_key(key, _secret("one"))
            found = await made.accounts.find_key(_secret("one"))
            assert found is not None
            assert (found[0].id, found[0].expires_at, found[1]) == (
                key.id,
                key.expires_at,
                customer,
            )
            assert found[0].valid(now)
            assert not found[0].valid(now + timedelta(days=9))
            assert await made.accounts.find_key(_secret("another")) is None
            await made.accounts.touch_keys([key.id])
            follower = ApiKey(new_id(), "acme", "nyt_acme_5678")
            await made.accounts.rotate_key(key.id, follower, _secret("two"), grace=60)
            listed = await made.accounts.keys("acme")
            assert {one.id for one in listed} == {key.id, follower.id}
            [older] = [one for one in listed if one.id == key.id]
            assert older.last_used_at is not None
            assert older.expires_at is not None
            assert now < older.expires_at < now + timedelta(minutes=5)
            assert await made.accounts.revoke_key(follower.id)
            assert not await made.accounts.revoke_key(follower.id)
            revoked = await made.accounts.find_key(_secret("two"))
            assert revoked is not None
            assert not revoked[0].valid(now)
            with pytest.raises(NotFound, match="there is none that is valid"):
                await made.accounts.rotate_key(follower.id, key, _secret("x"), grace=0)
            events = await rows(
                dsn, "SELECT event FROM audit WHERE event LIKE 'api_key.%' ORDER BY seq"
            )
            assert [event for (event,) in events] == [
                "api_key.created",
                "api_key.rotated",
                "api_key.created",
                "api_key.revoked",
            ]

    async def test_administrators_keys_are_nobodys(self, dsn: str) -> None:
        async with parts(dsn) as made:
            key = ApiKey(new_id(), "", "nyt_admin_12", admin=True)
            await made.accounts.add_key(key, _secret("admin"))
            found = await made.accounts.find_key(_secret("admin"))
            assert found is not None
            assert (found[0].admin, found[1]) == (True, None)
            with pytest.raises(NotFound, match="customer nobody: there is none"):
                await made.accounts.add_key(ApiKey(new_id(), "nobody", "x"), _secret("y"))

    async def test_customers_are_stored_and_changed(self, dsn: str) -> None:
        async with parts(dsn) as made:
            await made.customer("acme")
            changed = await made.accounts.put_customer(Customer("acme", "Acme", Tier.ENTERPRISE))
            assert await made.accounts.customer("acme") == changed
            assert (changed.tier, changed.created_at is not None) == (Tier.ENTERPRISE, True)
            names = [one.id for one in await made.accounts.customers()]
            assert names == ["acme", "default"]
            default = await made.accounts.customer("default")
            assert default is not None
            assert (default.terms.max_concurrent, default.terms.max_queued) == (0, 0)
            assert await made.accounts.customer("nobody") is None

    async def test_statistics_are_of_one_customer_alone(self, dsn: str) -> None:
        async with parts(dsn) as made, made.running(), made.worker() as hand:
            customer = await made.customer("acme")
            await made.submit()
            tasks = [await made.submit(customer=customer) for _ in range(3)]
            await made.queue.cancel(tasks[2], "acme")
            given = await hand.begun()
            while given.workload_id != tasks[0]:
                await hand.completes(given)
                given = await hand.begun()
            await hand.completes(given)
            await made.reaches(tasks[1], State.SCHEDULED, "acme")
            stats = await made.accounts.stats("acme")
            assert stats.workloads == {
                State.COMPLETED: 1,
                State.CANCELLED: 1,
                State.SCHEDULED: 1,
            }
            assert stats.average_duration_ms == 5


class TestConfigs:
    def _config(self, name: str = "nightly", **more: Any) -> WorkloadConfig:
        fields: dict[str, Any] = {
            "workload_type": "sleep",
            "input_params": {"seconds": 1},
            "priority": 10,
            "timeout_seconds": 2.5,
            "max_retries": 3,
            "affinity": {"hard_affinity": {"worker_id": "w-0"}},
        } | more
        return WorkloadConfig(new_id(), "acme", name, **fields)

    async def test_they_are_kept_changed_and_deleted(self, dsn: str) -> None:
        async with parts(dsn) as made:
            configs = PostgresConfigs(made.database)
            stored = await configs.add(self._config())
            assert await configs.add(stored) == stored
            assert stored.input_params == {"seconds": 1}
            assert await configs.get(stored.id, "acme") == stored
            assert await configs.get(stored.id, "another") is None
            with pytest.raises(Conflict, match="'nightly': there is another one"):
                await configs.add(self._config())
            second = await configs.add(self._config("daily", timeout_seconds=None))
            assert [one.name for one in await configs.find("acme")] == ["daily", "nightly"]
            assert [one.name for one in await configs.find("acme", limit=1, offset=1)] == [
                "nightly"
            ]
            assert await configs.find("another") == []
            with pytest.raises(Conflict):
                await configs.update(WorkloadConfig(second.id, *_rest(stored)))
            for change in (
                configs.update(WorkloadConfig(new_id(), *_rest(stored))),
                configs.delete(stored.id, "another"),
            ):
                with pytest.raises(NotFound):
                    await change
            await configs.delete(stored.id, "acme")
            assert await configs.get(stored.id, "acme") is None

    async def test_one_in_use_stays(self, dsn: str) -> None:
        async with parts(dsn) as made:
            configs = PostgresConfigs(made.database)
            stored = await configs.add(self._config())
            task = await made.submit(config_id=stored.id)
            with pytest.raises(Conflict, match="1 workloads still use it"):
                await configs.delete(stored.id, "acme")
            await made.queue.cancel(task)
            await configs.delete(stored.id, "acme")


def _rest(config: WorkloadConfig) -> tuple[Any, ...]:
    return (
        config.customer_id,
        config.name,
        config.workload_type,
        config.input_params,
        config.priority,
        config.timeout_seconds,
        config.max_retries,
        config.affinity,
    )
