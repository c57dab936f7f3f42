"""The ring: where replicas are, and what moves when members change."""

import hashlib
from itertools import combinations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muster_kv.consistency import Level, required
from muster_kv.moves import Move, Side, losses, moves
from muster_kv.ranges import WHOLE_RING, TokenRange, between, coalesce
from muster_kv.ring import Member, MemberState, Phase, Placement, Ring, Walk
from muster_kv.slots import TOKENS, parse, slot, tenant_of, token, token_of

tokens = st.integers(0, TOKENS - 1)


def member(name: str, state: MemberState = MemberState.NORMAL, zone: str = "") -> Member:
    return Member(name, "host", 50052, 16, zone, state)


def members(names: str, zones: str = "") -> tuple[Member, ...]:
    return tuple(member(name, zone=zones[at] if zones else "") for at, name in enumerate(names))


FOUR = Ring(1, members("abcd"))
JOINING = Ring(2, (*members("abcd"), member("e", MemberState.BOOTSTRAPPING)), Phase.MOVING)
JOINED = Ring(4, members("abcde"))
LEAVING = Ring(2, (*members("abc"), member("d", MemberState.LEAVING)), Phase.MOVING)


def owner_by_definition(names: str, at: int) -> str:
    """The first virtual node at or after the token, by looking at all of them."""
    points = []
    for name in names:
        for number in range(16):
            digest = hashlib.sha256(f"{name}-vnode-{number}".encode()).digest()
            points.append((int.from_bytes(digest[:8], "big"), name))
    after = [point for point in points if point[0] >= at]
    return min(after or points)[1]


@given(tokens)
def test_the_first_replica_is_the_owner_by_definition(at: int) -> None:
    assert FOUR.placement(at, 3).natural[0] == owner_by_definition("abcd", at)


def test_token_is_the_hash_of_tenant_and_key() -> None:
    digest = hashlib.sha256(b"acme:user:1").digest()
    assert token("acme", "user:1") == int.from_bytes(digest[:8], "big")
    place = slot("acme", "user:1")
    assert token_of(place) == token("acme", "user:1")
    assert parse(place) == ("acme", "user:1")
    assert tenant_of(place) == b"acme"
    with pytest.raises(ValueError, match="slot has no tenant and key"):
        parse(b"12345678nothing")


@given(tokens, st.integers(1, 6))
def test_replicas_are_distinct_and_as_many_as_there_can_be(at: int, rf: int) -> None:
    replicas = FOUR.placement(at, rf).natural
    assert len(replicas) == len(set(replicas)) == min(rf, 4)


@given(tokens, st.integers(1, 5))
def test_more_replicas_begin_with_those_there_were(at: int, rf: int) -> None:
    assert FOUR.placement(at, rf + 1).natural[:rf] == FOUR.placement(at, rf).natural


@given(tokens)
def test_replicas_are_in_distinct_zones_as_far_as_there_are_zones(at: int) -> None:
    zones = dict(zip("abcdef", "xxxyyz", strict=True))
    ring = Ring(1, members("abcdef", "xxxyyz"))
    three = ring.placement(at, 3).natural
    assert {zones[node] for node in three} == {"x", "y", "z"}
    five = ring.placement(at, 5).natural
    assert len(set(five)) == 5


def test_the_load_is_even() -> None:
    ring = Ring(1, tuple(Member(name, "host", 1) for name in "abcde"))
    held = {
        name: sum(each.last - each.first + 1 for each in ring.ranges(name, 1)) / TOKENS
        for name in "abcde"
    }
    assert sum(held.values()) == pytest.approx(1)
    assert 0.1 < min(held.values()) <= max(held.values()) < 0.3


@settings(deadline=None)
@given(tokens)
def test_ranges_of_a_node_are_the_tokens_that_it_holds(at: int) -> None:
    for node in "abcde":
        holds = any(at in each for each in JOINING.ranges(node, 3))
        assert holds == (node in JOINING.placement(at, 3).writers)


def test_an_empty_ring_places_nothing() -> None:
    assert Ring(1).placement(5, 3) == Placement(())


class TestChanges:
    @given(tokens)
    def test_while_moving_reads_go_to_the_old_and_writes_to_both(self, at: int) -> None:
        placement = JOINING.placement(at, 3)
        old, new = FOUR.placement(at, 3).natural, JOINED.placement(at, 3).natural
        assert placement.natural == old
        assert placement.next == (() if set(old) == set(new) else new)
        assert set(placement.writers) == set(old) | set(new)
        assert set(placement.pending) == set(new) - set(old)

    @given(tokens)
    def test_when_switched_reads_go_to_the_new(self, at: int) -> None:
        switched = msgspec.structs.replace(JOINING, phase=Phase.SWITCHED)
        placement = switched.placement(at, 3)
        assert placement.natural == JOINED.placement(at, 3).natural
        assert set(placement.writers) == set(JOINING.placement(at, 3).writers)

    @given(tokens)
    def test_a_leaving_node_gives_its_place_up(self, at: int) -> None:
        after = Ring(3, members("abc")).placement(at, 2).natural
        placement = LEAVING.placement(at, 2)
        assert set(placement.next or placement.natural) == set(after)

    @given(tokens, st.integers(1, 4), st.integers(1, 4))
    def test_a_replication_factor_changes_the_same_way(self, at: int, old: int, new: int) -> None:
        placement = FOUR.placement(at, old, moving_to=new)
        assert placement.natural == FOUR.placement(at, old).natural
        assert set(placement.next or placement.natural) == set(FOUR.placement(at, new).natural)

    def test_a_stable_ring_has_no_member_in_between(self) -> None:
        with pytest.raises(ValueError, match=r"members\[a\].state: leaving; allowed: normal"):
            Ring(1, (member("a", MemberState.LEAVING),))

    def test_a_member_is_there_once(self) -> None:
        with pytest.raises(ValueError, match="allowed: each node once"):
            Ring(1, members("aa"))

    def test_a_ring_travels(self) -> None:
        data = msgspec.msgpack.encode(JOINING)
        assert msgspec.msgpack.decode(data, type=Ring) == JOINING
        bad = {"version": 1, "members": [msgspec.to_builtins(each) for each in members("aa")]}
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(bad, Ring)


def walk(names: str) -> Walk:
    return Walk(members(names))


CHANGES = [
    (Side(walk("abcd"), 3), Side(walk("abcde"), 3)),
    (Side(walk("abcde"), 3), Side(walk("abcd"), 3)),
    (Side(walk("abcd"), 3), Side(walk("abce"), 3)),
    (Side(walk("abcde"), 1), Side(walk("abcde"), 3)),
    (Side(walk("abcde"), 3), Side(walk("abcde"), 5)),
    (Side(walk("abcde"), 5), Side(walk("abcde"), 3)),
    (Side(walk("abcde"), 3), Side(walk("abcde"), 1)),
    (Side(walk("ab"), 3), Side(walk("abc"), 3)),
]


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(CHANGES), tokens, st.data())
def test_what_a_quorum_had_a_quorum_of_the_new_owners_has(
    change: tuple[Side, Side], at: int, data: st.DataObject
) -> None:
    old, new = change
    before, after = old.walk.replicas(at, old.rf), new.walk.replicas(at, new.rf)
    here = [move for move in moves(old, new) if at in move.range]
    quorum = min(required(Level.QUORUM, old.rf), len(before))
    for acked in combinations(before, quorum):
        have = set(acked) & set(after)
        for move in here:
            have |= _streamed(move, set(acked), data)
        for readers in combinations(after, min(required(Level.QUORUM, new.rf), len(after))):
            assert have & set(readers), (before, after, acked, here)


def _streamed(move: Move, acked: set[str], data: st.DataObject) -> set[str]:
    if move.replaces:
        return {move.target} if move.replaces in acked else set()
    sources = data.draw(st.permutations(move.sources))[: move.quorum]
    return {move.target} if acked & {*sources, move.target} else set()


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(CHANGES), tokens)
def test_moves_and_losses_are_the_difference_of_the_owners(
    change: tuple[Side, Side], at: int
) -> None:
    old, new = change
    before, after = old.walk.replicas(at, old.rf), new.walk.replicas(at, new.rf)
    targets = {move.target for move in moves(old, new) if at in move.range}
    assert set(after) - set(before) <= targets <= set(after)
    lost = {loss.node_id for loss in losses(old, new) if at in loss.range}
    assert lost == set(before) - set(after)


def test_nothing_moves_where_nothing_changes() -> None:
    side = Side(walk("abc"), 3)
    assert moves(side, side) == []
    assert losses(side, side) == []


class TestRanges:
    @given(tokens, tokens, tokens)
    def test_between_is_clockwise_without_its_start(self, start: int, end: int, at: int) -> None:
        inside = any(at in each for each in between(start, end))
        if start < end:
            assert inside == (start < at <= end)
        elif start > end:
            assert inside == (at > start or at <= end)
        else:
            assert inside

    def test_ranges_that_touch_become_one(self) -> None:
        ranges = [TokenRange(5, 9), TokenRange(0, 4), TokenRange(11, 12)]
        assert coalesce(ranges) == [TokenRange(0, 9), TokenRange(11, 12)]

    @given(tokens, tokens, st.text(min_size=1, max_size=5))
    def test_slots_of_a_range_are_one_scan(self, one: int, other: int, key: str) -> None:
        span = TokenRange(min(one, other), max(one, other))
        first, end = span.slots()
        place = slot("t", key)
        assert (place >= first and (end is None or place < end)) == (token_of(place) in span)

    def test_the_last_range_has_no_end(self) -> None:
        assert WHOLE_RING.slots() == (bytes(8), None)

    def test_a_range_is_in_order(self) -> None:
        with pytest.raises(ValueError, match="token range: 5 to 4; allowed"):
            TokenRange(5, 4)
