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

from .harness import Replica, process, rows, settings

pytestmark = pytest.mark.integration

SPEC = CircuitSpec("addition")
DEMO = Pool("demo", (SPEC,), insecure_setup=True)


async def test_two_new_replicas_agree_on_one_key(dsn: str, tmp_path: Path) -> None:
    with (
        process(dsn, settings(id="c-0"), tmp_path / "c-0") as one,
        process(dsn, settings(id="c-1"), tmp_path / "c-1") as other,
    ):
        replicas: list[Replica] = [await one.serving(), await other.serving()]
        keys = [
            (await replica.http.get("/api/v1/circuits/addition/verification-key")).json()
            for replica in replicas
        ]
        assert keys[0] == keys[1]
        for replica in replicas:
            await replica.close()
    assert await rows(dsn, "SELECT key_id, insecure FROM proving_keys") == [
        ("addition-poseidon@bn254", True)
    ]


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
