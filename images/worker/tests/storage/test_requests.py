"""What a storage node answers, over its real port."""

import asyncio

import pytest
from msgspec.structs import replace

from muster_kv.errors import FailureCode
from muster_kv.limits import SIBLING_BYTES, SIBLINGS, VALUE_BYTES
from muster_kv.merging import Intent, Outcome, lww_record
from muster_kv.ops import op_of
from muster_kv.ranges import WHOLE_RING, TokenRange
from muster_kv.record import decode, encode, fingerprint, value_digest
from muster_kv.ring import Member, Ring
from muster_kv.slots import TOKEN_BYTES, parse, slot
from muster_kv.wire.messages import (
    Cause,
    Digest,
    Done,
    DropRange,
    Found,
    Get,
    GetDigest,
    Item,
    Known,
    Lookup,
    Merge,
    Merged,
    MergeMany,
    NodeState,
    Page,
    Purged,
    ScanRange,
    SetRing,
    SetState,
    Stat,
    Status,
    Take,
    Tenants,
)
from muster_testing.storage import StorageNodes
from muster_testing.waiting import eventually

from .conftest import TENANT, Talk, intent, now_us, talking

pytestmark = pytest.mark.integration


async def _scanned(talk: Talk, **more: object) -> list[Item]:
    items: list[Item] = []
    after = b""
    while True:
        page = await talk.ask(ScanRange(WHOLE_RING, after, **more))  # type: ignore[arg-type]
        assert isinstance(page, Page), page
        items += page.items
        if not page.more:
            return items
        assert page.last > after
        after = page.last


async def _status(talk: Talk) -> Status:
    status = await talk.ask(Stat())
    assert isinstance(status, Status)
    return status


async def test_a_write_is_read_as_it_was_taken(storage_node: StorageNodes) -> None:
    node = await storage_node("s1").start()
    async with talking(node) as talk:
        taken = await talk.put("k", b"v")
        assert await talk.record("k") == taken
        (version,) = taken.versions
        assert (version.value, version.dot.counter) == (b"v", 1)
        assert version.dot.actor.startswith("s1#")
        assert await talk.bytes_of("other") == b""
        empty = await talk.put("empty", b"")
        assert [version.value for version in empty.versions] == [b""]


async def test_writes_to_one_key_in_one_batch_follow_each_other(
    storage_node: StorageNodes,
) -> None:
    node = await storage_node("s1").start()
    async with talking(node) as talk:
        await asyncio.gather(*(talk.put("k", b"%d" % number) for number in range(200)))
        record = await talk.record("k")
        # Each replaced the one before it, and made a dot of its own.
        assert [version.value for version in record.versions] == [b"199"]
        assert list(record.context.values()) == [200]


async def test_writers_that_know_of_nothing_make_siblings(storage_node: StorageNodes) -> None:
    node = await storage_node("s1").start()
    async with talking(node) as talk:
        await asyncio.gather(*(talk.put("k", b"%d" % number, {}) for number in range(3)))
        assert sorted(filter(None, await talk.values("k"))) == [b"0", b"1", b"2"]
        seen = (await talk.record("k")).context
        assert await talk.put("k", b"all", seen) == await talk.record("k")
        assert await talk.values("k") == [b"all"]


async def test_a_retried_operation_happens_once(storage_node: StorageNodes) -> None:
    node = await storage_node("s1").start()
    async with talking(node) as talk:
        day = now_us() + 86_400_000_000
        op, value = op_of(TENANT, "k", "pay-7"), b"7"
        first = Intent(op, value, now_us(), digest=value_digest(value), remember_until_us=day)
        took = await talk.write("k", first)
        again = await talk.write("k", first)
        assert (took.outcome, again.outcome) == (Outcome.NEW, Outcome.DUPLICATE)
        assert (again.clock, again.record) == (took.clock, took.record)
        other = Intent(op, b"8", now_us(), digest=value_digest(b"8"), remember_until_us=day)
        assert (await talk.write("k", other)).outcome is Outcome.CONFLICT
        known = await talk.ask(Lookup(slot(TENANT, "k"), op, value_digest(value), now_us()))
        assert known == Known(Outcome.DUPLICATE, took.clock, (await talk.record("k")).context)
        unknown = await talk.ask(Lookup(slot(TENANT, "no"), op, value_digest(value), now_us()))
        assert unknown == Known(Outcome.NEW, {}, {})


async def test_records_of_other_replicas_are_joined(storage_node: StorageNodes) -> None:
    one, two = [await storage_node(name).start() for name in ("s1", "s2")]
    async with talking(one) as first, talking(two) as second:
        mine, theirs = await first.put("k", b"mine"), await second.put("k", b"theirs")
        at = slot(TENANT, "k")
        assert await first.ask(Merge(at, encode(theirs, at))) == Merged(1)
        assert await first.ask(Merge(at, encode(theirs, at))) == Merged(0)
        both = MergeMany(((at, encode(mine, at)),), Cause.REPAIR)
        assert await second.ask(both) == Merged(1)
        assert await first.record("k") == await second.record("k")
        assert sorted(filter(None, await first.values("k"))) == [b"mine", b"theirs"]
        digest = await first.ask(GetDigest(at))
        data = await second.bytes_of("k")
        assert digest == Digest(fingerprint(decode(data, at)), len(data))


async def test_where_the_last_write_wins_the_order_of_arrival_does_not_matter(
    storage_node: StorageNodes,
) -> None:
    node = await storage_node("s1").start()
    async with talking(node) as talk:
        at, late = slot(TENANT, "k"), now_us()
        for value, stamp in ((b"late", late), (b"early", late - 5)):
            record = lww_record(Intent(bytes(16), value, stamp))
            assert isinstance(await talk.ask(Merge(at, encode(record, at))), Merged)
        assert await talk.values("k") == [b"late"]


async def test_a_damaged_record_is_never_joined(storage_node: StorageNodes) -> None:
    node = await storage_node("s1").start()
    async with talking(node) as talk:
        at, good = slot(TENANT, "good"), slot(TENANT, "k")
        data = bytearray(encode(lww_record(Intent(bytes(16), b"v" * 99, 1)), at))
        whole = encode(lww_record(Intent(bytes(16), b"v", now_us())), good)
        data[50] ^= 1
        items = ((good, whole), (at, bytes(data)))
        failure = await talk.fail(MergeMany(items, Cause.STREAM))
        assert failure.code is FailureCode.CORRUPT
        assert await talk.bytes_of("good") == b""
        assert await talk.bytes_of("k") == b""


async def test_what_is_too_large_is_refused(storage_node: StorageNodes) -> None:
    node = await storage_node("s1").start()
    async with talking(node) as talk:
        large = await talk.fail(Take(slot(TENANT, "k"), intent(bytes(VALUE_BYTES + 1))))
        assert large.code is FailureCode.TOO_LARGE
        assert str(VALUE_BYTES) in large.detail
        for number in range(SIBLINGS):
            await talk.put("many", b"%d" % number, {})
        more = await talk.fail(Take(slot(TENANT, "many"), intent(b"one more", {})))
        assert more.code is FailureCode.TOO_LARGE
        assert len(await talk.values("many")) == SIBLINGS
        for _ in range(SIBLING_BYTES // VALUE_BYTES):
            await talk.put("heavy", bytes(VALUE_BYTES), {})
        more = await talk.fail(Take(slot(TENANT, "heavy"), intent(b"one more", {})))
        assert (more.code, str(SIBLING_BYTES) in more.detail) == (FailureCode.TOO_LARGE, True)
        await talk.put("heavy", b"instead")


async def test_a_context_that_names_dots_to_come_is_refused(storage_node: StorageNodes) -> None:
    node = await storage_node("s1").start()
    async with talking(node) as talk:
        ((actor, _),) = (await talk.put("k", b"v")).context.items()
        failure = await talk.fail(Take(slot(TENANT, "k"), intent(b"w", {actor: 99})))
        assert failure.code is FailureCode.INVALID


async def test_an_older_ring_is_refused_and_the_newest_survives_a_restart(
    storage_node: StorageNodes,
) -> None:
    node = await storage_node("s1").start()
    ring = Ring(7, (Member("s1", node.host, node.port),))
    async with talking(node) as talk:
        assert await talk.ask(SetRing(ring), ring_version=0) == Done()
        assert await talk.ask(SetRing(ring)) == Done()
        stale = await talk.fail(Get(slot(TENANT, "k")), ring_version=6)
        assert (stale.code, stale.ring_version) == (FailureCode.STALE_RING, 7)
        older = await talk.fail(SetRing(Ring(6, ring.members)))
        assert (older.code, older.ring_version) == (FailureCode.STALE_RING, 7)
        other = await talk.fail(SetRing(Ring(7)))
        assert other.code is FailureCode.INVALID
        assert await talk.ask(Get(slot(TENANT, "k")), ring_version=7) == Found(b"")
    assert await node.stop() == 0
    await node.start()
    async with talking(node) as talk:
        assert (await _status(talk)).ring_version == 7
        stale = await talk.fail(Take(slot(TENANT, "k"), intent(b"v")), ring_version=6)
        assert stale.code is FailureCode.STALE_RING


async def test_a_node_that_lost_its_disk_is_not_read_before_it_has_its_data(
    storage_node: StorageNodes,
) -> None:
    node = await storage_node("s1").start()
    get, take = Get(slot(TENANT, "k")), Take(slot(TENANT, "k"), intent(b"v"))
    async with talking(node) as talk:
        for body in (get, take, ScanRange(WHOLE_RING)):
            assert (await talk.fail(body, ring_version=1)).code is FailureCode.NOT_READY
        record = await talk.put("k", b"v")
        folder = (await _status(talk)).folder
        member = Member("s1", node.host, node.port, folder="another")
        assert await talk.ask(SetRing(Ring(1, (member,)))) == Done()
        for body in (get, take, ScanRange(WHOLE_RING)):
            assert (await talk.fail(body, ring_version=1)).code is FailureCode.NOT_READY
        merge = Merge(slot(TENANT, "k"), encode(record, slot(TENANT, "k")))
        assert isinstance(await talk.ask(merge, ring_version=1), Merged)
        assert node.ask("/ready")[0] == 503
        assert await talk.ask(SetRing(Ring(2, (replace(member, folder=folder),)))) == Done()
        assert isinstance(await talk.ask(get, ring_version=2), Found)
        assert node.ask("/ready")[0] == 200


async def test_a_decommissioned_node_serves_nothing_more(storage_node: StorageNodes) -> None:
    node = await storage_node("s1").start()
    async with talking(node) as talk:
        await talk.put("k", b"v")
        assert await talk.ask(SetState(NodeState.DRAINING)) == Done()
        await talk.put("k", b"w")
        assert await talk.ask(SetState(NodeState.DECOMMISSIONED)) == Done()
        for body in (Get(slot(TENANT, "k")), Take(slot(TENANT, "k"), intent(b"x"))):
            assert (await talk.fail(body)).code is FailureCode.NOT_READY
        back = await talk.fail(SetState(NodeState.NORMAL))
        assert back.code is FailureCode.INVALID
        assert (await _status(talk)).state is NodeState.DECOMMISSIONED
    assert node.ask("/ready")[0] == 503
    assert node.ask("/health")[0] == 200
    assert await node.stop() == 0
    node.spawn()
    await eventually(lambda: node.ask("/ready")[1].get("state") == "decommissioned", what="state")
    async with talking(node) as talk:
        assert (await talk.fail(Get(slot(TENANT, "k")))).code is FailureCode.NOT_READY


async def test_a_range_is_read_in_pages_in_the_order_of_the_ring(
    storage_node: StorageNodes,
) -> None:
    node = await storage_node("s1").start()
    async with talking(node) as talk:
        await asyncio.gather(*(talk.put(f"key-{number}", b"v" * 50) for number in range(100)))
        for tenant in ("a", "ac", "beta"):
            await talk.ask(Take(slot(tenant, "key-1"), intent(b"v")))
        every = await _scanned(talk, limit=7)
        assert len(every) == 103
        assert [at for at, _ in every] == sorted(at for at, _ in every)
        assert every == await _scanned(talk, max_bytes=1000)
        ours = await _scanned(talk, tenants=Tenants((TENANT,), exclude=False), key_prefix="key-1")
        assert sorted(parse(at) for at, _ in ours) == sorted(
            (TENANT, f"key-{number}") for number in (1, *range(10, 20))
        )
        rest = await _scanned(talk, tenants=Tenants((TENANT,)))
        assert {parse(at)[0] for at, _ in rest} == {"a", "ac", "beta"}
        assert await _scanned(talk, tenants=Tenants((TENANT,)), most_read=5) == rest
        some = await talk.ask(ScanRange(WHOLE_RING, tenants=Tenants(), most_read=5))
        none = await talk.ask(ScanRange(WHOLE_RING, tenants=Tenants((), False), most_read=5))
        # Where a page has ended tells nothing of a record that was not asked for.
        assert some == Page(tuple(every[:5]), True, every[5][0][:TOKEN_BYTES])
        assert none == Page((), True, every[5][0][:TOKEN_BYTES])
        wrong = await talk.fail(ScanRange(WHOLE_RING, limit=0))
        assert wrong.code is FailureCode.INVALID


async def test_a_dropped_range_is_gone_and_its_dots_are_not_made_again(
    storage_node: StorageNodes,
) -> None:
    node = await storage_node("s1").start()
    async with talking(node) as talk:
        for _ in range(5):
            before = await talk.put("k", b"v")
        await talk.ask(Take(slot("beta", "k"), intent(b"v")))
        gone = await talk.ask(DropRange(WHOLE_RING, Tenants((TENANT,), exclude=False)))
        assert gone == Purged(0, 1)
        assert await talk.bytes_of("k") == b""
        status = await _status(talk)
        assert (status.keys, status.counter_floor) == (1, 5)
        after = await talk.put("k", b"w")
        assert after.versions[0].dot.counter > before.versions[0].dot.counter
        nothing = await talk.ask(DropRange(TokenRange(0, 0)))
        assert nothing == Purged(0, 0)


async def test_a_stranger_is_not_talked_to(storage_node: StorageNodes) -> None:
    secret = storage_node.root / "token"
    secret.write_text("right\n")
    node = await storage_node("s1", token_file=str(secret)).start()
    async with talking(node, b"right") as talk:
        await talk.put("k", b"v")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(2), talking(node, b"wrong"):
            raise AssertionError("let in")
