"""Keys: made once, by the leader, and loaded by every replica."""

import asyncio
from pathlib import Path

import pytest

from muster_coordinator.engine.errors import StaleEpoch
from muster_coordinator.proving.keyring import KeyRing
from muster_coordinator.proving.offers import Offers, Pool
from muster_coordinator.store.database import Database
from muster_coordinator.store.keys import PostgresKeys
from muster_coordinator.store.leadership import PostgresLeadership
from muster_coordinator.store.migrate import migrate
from muster_proving import CircuitSpec
from muster_testing.waiting import eventually

from .harness import rows, serving, settings

pytestmark = pytest.mark.integration

SPEC = CircuitSpec("addition")
DEMO = Pool("demo", (SPEC,), insecure_setup=True)


async def test_replicas_that_make_a_key_at_once_agree_on_one(dsn: str) -> None:
    await migrate(dsn)
    async with Database(dsn) as database:
        rings = [KeyRing(PostgresKeys(database), Offers([DEMO])) for _ in range(3)]
        epoch, _ = await PostgresLeadership(database).take_epoch("c-0")
        await asyncio.gather(*(ring.make_missing(epoch) for ring in rings))
        loading = [asyncio.create_task(ring.run()) for ring in rings]
        await eventually(lambda: not any(ring.missing() for ring in rings))
        keys = {key.record.version for ring in rings if (key := ring.current(DEMO, SPEC))}
        assert len(keys) == 1
        for one in loading:
            one.cancel()
    assert await rows(dsn, "SELECT key_id, insecure FROM proving_keys") == [(SPEC.key_id, True)]


async def test_keys_are_made_where_it_is_allowed_and_once(dsn: str) -> None:
    await migrate(dsn)
    strict = Pool("strict", (CircuitSpec("merkle", size=2),), insecure_setup=False)
    async with Database(dsn) as database:
        ring = KeyRing(PostgresKeys(database), Offers([DEMO, strict]))
        epoch, _ = await PostgresLeadership(database).take_epoch("c-0")
        await ring.make_missing(epoch)
        await ring.make_missing(epoch)
        assert await rows(dsn, "SELECT key_id FROM proving_keys") == [(SPEC.key_id,)]
        loading = asyncio.create_task(ring.run())
        await eventually(lambda: ring.missing() == ["strict/merkle-2-poseidon@bn254"])
        loading.cancel()


async def test_a_leader_of_an_old_epoch_makes_no_key(dsn: str) -> None:
    await migrate(dsn)
    async with Database(dsn) as database:
        leadership = PostgresLeadership(database)
        epoch, _ = await leadership.take_epoch("c-0")
        await leadership.take_epoch("c-1")
        with pytest.raises(StaleEpoch):
            await KeyRing(PostgresKeys(database), Offers([DEMO])).make_missing(epoch)
    assert await rows(dsn, "SELECT key_id FROM proving_keys") == []


async def test_an_insecure_key_is_no_key_of_a_pool_that_wants_a_real_one(dsn: str) -> None:
    await migrate(dsn)
    real = Pool("real", (SPEC,), insecure_setup=False)
    async with Database(dsn) as database:
        ring = KeyRing(PostgresKeys(database), Offers([DEMO, real]))
        epoch, _ = await PostgresLeadership(database).take_epoch("c-0")
        await ring.make_missing(epoch)
        loading = asyncio.create_task(ring.run())
        await eventually(lambda: ring.current(DEMO, SPEC) is not None)
        assert ring.current(real, SPEC) is None
        assert [(pool, key.insecure) for pool, key in ring.in_use()] == [("demo", True)]
        loading.cancel()


async def test_a_damaged_key_is_refused_and_the_others_load(dsn: str) -> None:
    await migrate(dsn)
    tree = CircuitSpec("merkle", size=2)
    pool = Pool("demo", (SPEC, tree), insecure_setup=True)
    async with Database(dsn) as database:
        ring = KeyRing(PostgresKeys(database), Offers([pool]))
        epoch, _ = await PostgresLeadership(database).take_epoch("c-0")
        await ring.make_missing(epoch)
        await database.fetch(
            "UPDATE proving_keys SET verifying_key = $2 WHERE key_id = $1", SPEC.key_id, b"x"
        )
        loading = asyncio.create_task(ring.run())
        await eventually(lambda: ring.current(pool, tree) is not None)
        assert ring.missing() == [f"demo/{SPEC.key_id}"]
        loading.cancel()


async def test_the_queue_names_the_keys_in_use(dsn: str, tmp_path: Path) -> None:
    async with serving(dsn, settings(), tmp_path) as replica:
        stored = await rows(dsn, "SELECT key_id, version FROM proving_keys")
        assert len(stored) == 1
        assert (await replica.ops.get("/queue")).json()["keys"] == [
            {"pool": "demo", "key_id": key_id, "version": version} for key_id, version in stored
        ]
