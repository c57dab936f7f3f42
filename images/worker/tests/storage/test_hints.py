"""Writes that a node missed reach it when it is back."""

import pytest

from muster_kv.errors import FailureCode
from muster_kv.merging import Intent, lww_record
from muster_kv.record import encode
from muster_kv.ring import Member, Ring
from muster_kv.slots import slot
from muster_kv.wire.messages import Done, Hints, HintsWaiting, Item, SetRing, StoreHint
from muster_testing.storage import StorageNode, StorageNodes
from muster_testing.waiting import eventually

from .conftest import TENANT, Talk, now_us, talking

pytestmark = pytest.mark.integration

SOON = {"interval": "200ms"}


def _item(key: str, value: bytes, stamp: int = 0) -> Item:
    at = slot(TENANT, key)
    return at, encode(lww_record(Intent(bytes(16), value, stamp or now_us())), at)


def _ring(*nodes: StorageNode) -> SetRing:
    return SetRing(Ring(1, tuple(Member(node.node_id, node.host, node.port) for node in nodes)))


async def _waiting(talk: Talk) -> dict[str, int]:
    hints = await talk.ask(HintsWaiting())
    assert isinstance(hints, Hints)
    return hints.waiting


async def test_hints_are_brought_when_their_node_is_back(storage_node: StorageNodes) -> None:
    holder = await storage_node("holder", hints=SOON).start()
    away = storage_node("away")
    async with talking(holder) as talk:
        await talk.ask(_ring(holder, away))
        items = tuple(_item(f"k{number}", b"v") for number in range(600))
        assert await talk.ask(StoreHint("away", items)) == Done()
        assert await _waiting(talk) == {"away": 600}
        assert holder.metric("storage_hints_waiting") == 600
        # They outlive the node that holds them.
        holder.kill()
    await holder.start()
    await away.start()
    async with talking(holder) as talk, talking(away) as back:

        async def none() -> bool:
            return await _waiting(talk) == {}

        await eventually(none, what="hints brought")
        assert await back.values("k599") == [b"v"]
        # They are counted after they are gone.
        await eventually(
            lambda: holder.metric("storage_hints_total", outcome="delivered") == 600,
            what="hints counted",
        )
        assert away.metric("storage_records") == 600


async def test_a_node_that_does_not_answer_keeps_no_other_waiting(
    storage_node: StorageNodes,
) -> None:
    holder = await storage_node("holder", hints=SOON).start()
    frozen = await storage_node("frozen").start()
    dead, well = storage_node("dead"), await storage_node("well").start()
    frozen.freeze()
    async with talking(holder) as talk, talking(well) as other:
        await talk.ask(_ring(holder, frozen, dead, well))
        for node in ("frozen", "dead", "well"):
            assert await talk.ask(StoreHint(node, (_item("k", b"v"),))) == Done()

        async def brought() -> bool:
            return await _waiting(talk) == {"frozen": 1, "dead": 1}

        await eventually(brought, what="hint brought beside a frozen node")
        assert await other.values("k") == [b"v"]
        # Nor does the node itself stop.
        await talk.put("mine", b"v")


async def test_a_key_has_one_hint_which_holds_all_that_was_missed(
    storage_node: StorageNodes,
) -> None:
    holder = await storage_node("holder", hints=SOON).start()
    away = storage_node("away")
    async with talking(holder) as talk:
        now = now_us()
        for value, stamp in ((b"first", now), (b"last", now + 2), (b"between", now + 1)):
            await talk.ask(StoreHint("away", (_item("k", value, stamp),)))
        assert await _waiting(talk) == {"away": 1}
        assert holder.metric("storage_hints_total", outcome="superseded") == 2
        await away.start()
        await talk.ask(_ring(holder, away))
        async with talking(away) as back:

            async def arrived() -> bool:
                return await back.values("k") == [b"last"]

            await eventually(arrived, what="joined hint")


async def test_more_hints_than_the_limit_are_refused_and_counted(
    storage_node: StorageNodes,
) -> None:
    holder = await storage_node("holder", hints={"limit": 3}).start()
    async with talking(holder) as talk:
        items = tuple(_item(f"k{number}", b"v") for number in range(5))
        failure = await talk.fail(StoreHint("away", items))
        assert failure.code is FailureCode.OVERLOADED
        assert "2 of 5" in failure.detail
        assert await _waiting(talk) == {"away": 3}
        assert holder.metric("storage_hints_total", outcome="dropped") == 2
        # One that is there already is replaced, and another node has its own limit.
        assert await talk.ask(StoreHint("away", items[:1])) == Done()
        assert await talk.ask(StoreHint("other", items[:1])) == Done()
        own = await talk.fail(StoreHint("holder", items[:1]))
        assert own.code is FailureCode.INVALID


async def test_hints_that_are_too_old_go_also_while_their_node_is_away(
    storage_node: StorageNodes,
) -> None:
    holder = await storage_node("holder", hints={"ttl": "1s", **SOON}).start()
    away = storage_node("away")
    async with talking(holder) as talk:
        await talk.ask(_ring(holder, away))
        await talk.ask(StoreHint("away", (_item("k", b"v"),)))
        await talk.ask(StoreHint("unknown", (_item("k", b"v"),)))

        async def none() -> bool:
            return await _waiting(talk) == {}

        await eventually(none, what="hints expired")
        await eventually(
            lambda: holder.metric("storage_hints_total", outcome="expired") == 2,
            what="hints counted",
        )
        assert holder.metric("storage_hints_total", outcome="delivered") == 0
