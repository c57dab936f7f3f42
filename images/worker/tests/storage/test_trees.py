"""Replicas that hold the same have the same hash trees, and find what differs."""

import asyncio
import os

import pytest

from muster_kv.errors import FailureCode
from muster_kv.merging import Intent
from muster_kv.merkle import Descent
from muster_kv.ops import fresh_op
from muster_kv.ranges import WHOLE_RING, TokenRange
from muster_kv.slots import slot, token_of
from muster_kv.wire.messages import (
    ALL_TENANTS,
    Cause,
    Hashes,
    Item,
    Merge,
    Merged,
    MergeMany,
    MerkleNodes,
    Page,
    Purge,
    Purged,
    ScanRange,
    Take,
    Tenants,
)
from muster_storage.trees import EMPTY
from muster_testing.storage import StorageNodes
from muster_testing.waiting import eventually

from .conftest import TENANT, Talk, intent, now_us, talking

pytestmark = pytest.mark.integration

DEPTH = 6


async def _hashes(talk: Talk, nodes: tuple[int, ...], tenants: Tenants) -> tuple[bytes, ...]:
    answer = await talk.ask(MerkleNodes(WHOLE_RING, DEPTH, nodes, tenants))
    assert isinstance(answer, Hashes), answer
    return answer.hashes


async def _differing(one: Talk, two: Talk, tenants: Tenants = ALL_TENANTS) -> list[TokenRange]:
    descent = Descent(WHOLE_RING, DEPTH)
    while descent.nodes:
        asked = descent.nodes
        answers = [await _hashes(talk, asked, tenants) for talk in (one, two)]
        descent.compare({"one": answers[0], "two": answers[1]})
    return descent.differing


async def _all(talk: Talk, tokens: TokenRange = WHOLE_RING) -> tuple[Item, ...]:
    page = await talk.ask(ScanRange(tokens, limit=10_000))
    assert isinstance(page, Page)
    return page.items


async def test_differences_are_found_and_repaired(storage_node: StorageNodes) -> None:
    nodes = [await storage_node(name).start() for name in ("s1", "s2")]
    async with talking(nodes[0]) as one, talking(nodes[1]) as two:
        assert set(await _hashes(one, (1, 2, 127), ALL_TENANTS)) == {EMPTY}
        await asyncio.gather(*(one.put(f"k{number}", b"v") for number in range(500)))
        # In another order, and in other batches.
        for item in reversed(await _all(one)):
            await two.ask(Merge(*item))
        assert await _differing(one, two) == []
        await one.put("k7", b"other")
        await two.put("new", b"v")
        await one.ask(Take(slot("beta", "k"), intent(b"v")))
        differing = await _differing(one, two)
        changed = {token_of(slot(*at)) for at in ((TENANT, "k7"), (TENANT, "new"), ("beta", "k"))}
        assert len(differing) == len(changed)
        assert all(any(token in part for part in differing) for token in changed)
        ours = await _differing(one, two, Tenants((TENANT,), exclude=False))
        assert len(ours) == 2
        for part in differing:
            for source, target in ((one, two), (two, one)):
                await target.ask(MergeMany(await _all(source, part), Cause.REPAIR))
        assert await _differing(one, two) == []
        assert await one.record("new") == await two.record("new")


async def test_what_one_replica_has_purged_is_no_difference(storage_node: StorageNodes) -> None:
    nodes = [
        await storage_node(name, retention={"tombstone_grace": "1s"}).start()
        for name in ("s1", "s2")
    ]
    async with talking(nodes[0]) as one, talking(nodes[1]) as two:
        died = now_us()
        at = slot(TENANT, "k")
        await one.write("k", Intent(fresh_op(os.urandom(16)), None, died))
        await eventually(lambda: now_us() > died + 1_000_000, what="the grace is over")
        # As long as it is not forgotten, one that does not have it differs, and takes it.
        assert len(await _differing(one, two)) == 1
        assert await two.ask(Merge(at, await one.bytes_of("k"))) == Merged(1)
        assert await _differing(one, two) == []
        purge = Purge(WHOLE_RING, now_us(), ())
        assert [await talk.ask(purge) for talk in (one, two)] == [Purged(0, 1), Purged(0, 1)]
        # One has it still, as if it were slower; its next pass is an hour away.
        await one.write("k", Intent(fresh_op(os.urandom(16)), None, died))
        assert await one.bytes_of("k")
        assert await _differing(one, two) == []


async def test_a_tree_that_is_too_deep_or_has_no_such_node_is_refused(
    storage_node: StorageNodes,
) -> None:
    node = await storage_node("s1").start()
    async with talking(node) as talk:
        for depth, nodes in ((17, (1,)), (3, (0,)), (3, (16,))):
            failure = await talk.fail(MerkleNodes(WHOLE_RING, depth, nodes))
            assert failure.code is FailureCode.INVALID


async def test_narrow_ranges_have_trees_too(storage_node: StorageNodes) -> None:
    node = await storage_node("s1").start()
    async with talking(node) as talk:
        await talk.put("k", b"v")
        token = token_of(slot(TENANT, "k"))
        for tokens in (TokenRange(token, token), TokenRange(token - 1, token + 1)):
            answer = await talk.ask(MerkleNodes(tokens, 4, (1,)))
            assert isinstance(answer, Hashes)
            assert answer.hashes != (EMPTY,)
        answer = await talk.ask(MerkleNodes(TokenRange(token + 1, token + 9), 2, (1,)))
        assert answer == Hashes((EMPTY,))
