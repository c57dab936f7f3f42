"""Joining records is a join, and taking a write keeps what its writer did not know of."""

from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muster_kv.clock import EMPTY, Dot, VectorClock, descends
from muster_kv.merging import (
    DEAD_LIMIT,
    Intent,
    Outcome,
    OverclaimError,
    clock_of,
    knows,
    lww_record,
    merge,
    take,
)
from muster_kv.ops import fresh_op, op_of
from muster_kv.reading import shown, siblings
from muster_kv.record import ABSENT, Record, Version, value_digest

HOUR_US = 3600 * 1_000_000


def fresh(number: int) -> bytes:
    return fresh_op(number.to_bytes(16, "big"))


def write(number: int, value: bytes | None = b"v", **rest: object) -> Intent:
    return Intent(fresh(number), value, number, **rest)  # type: ignore[arg-type]


def idempotent(
    key: str, value: bytes | None, at: int = 1, context: VectorClock | None = None
) -> Intent:
    digest, until = value_digest(value), at + 24 * HOUR_US
    return Intent(op_of("t", "k", key), value, at, context, 0, digest, until)


# A history of three replicas: each step takes an operation (again, perhaps) or joins another's.
Step = tuple[int, int, int, int]
histories = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 7), st.integers(0, 3)),
    max_size=25,
)


def replay(history: list[Step]) -> list[Record]:
    replicas = [ABSENT, ABSENT, ABSENT]
    for step, (one, other, number, kind) in enumerate(history, 1):
        # No two have the same microsecond, nor one right after another's.
        at = 1000 * step
        if kind == 0:
            replicas[one] = merge(replicas[one], replicas[other])
            continue
        keyed = number % 2 == 0
        value = None if number == 5 else b"%d" % number
        context = None if kind == 1 else replicas[other].context if kind == 2 else EMPTY
        intent = Intent(
            op_of("t", "k", str(number)) if keyed else fresh(number),
            value,
            at,
            context,
            0,
            value_digest(value) if keyed else b"",
            at + HOUR_US if keyed or kind == 2 else 0,
        )
        try:
            replicas[one] = take(replicas[one], intent, f"n{one}").record
        except OverclaimError:
            continue
    return replicas


@settings(max_examples=400, deadline=None)
@given(histories)
def test_merge_is_commutative_associative_and_idempotent(history: list[Step]) -> None:
    a, b, c = replay(history)
    for record in (a, b, c):
        assert merge(record, record) == record
        assert merge(record, ABSENT) == merge(ABSENT, record) == record
    expected = merge(merge(a, b), c)
    for x, y, z in permutations((a, b, c)):
        assert merge(merge(x, y), z) == expected
        assert merge(x, merge(y, z)) == expected
    assert merge(expected, a) == expected


@settings(max_examples=300, deadline=None)
@given(histories)
def test_a_context_knows_every_version_beside_it(history: list[Step]) -> None:
    for record in replay(history):
        dots = [version.dot for version in record.versions]
        assert dots == sorted(set(dots))
        for version in record.versions:
            assert record.context[version.dot.actor] >= version.dot.counter


timed = st.lists(st.tuples(st.integers(1, 4), st.integers(0, 5)), min_size=1, max_size=4)


@given(timed, timed, timed)
def test_the_last_write_wins_in_any_order(
    one: list[tuple[int, int]], other: list[tuple[int, int]], third: list[tuple[int, int]]
) -> None:
    def join(writes: list[tuple[int, int]]) -> Record:
        joined = ABSENT
        for at, number in writes:
            intent = Intent(fresh(number), b"%d" % number, at)
            joined = merge(joined, lww_record(intent))
        return joined

    a, b, c = join(one), join(other), join(third)
    assert merge(merge(a, b), c) == merge(c, merge(b, a)) == join([*third, *one, *other])
    at, number = max(one + other + third)
    value = shown(merge(merge(a, b), c), 0, last_write_wins=True)
    assert value is not None
    assert (value.timestamp_us, value.value) == (at, b"%d" % number)


class TestTake:
    def test_a_blind_write_replaces_what_is_there(self) -> None:
        first = take(ABSENT, write(1, b"1"), "a").record
        second = take(first, write(2, b"2"), "a")
        assert [version.value for version in second.record.versions] == [b"2"]
        assert second.clock == second.record.context == {"a": 2}

    def test_a_writer_that_knows_nothing_makes_a_sibling(self) -> None:
        first = take(ABSENT, write(1, b"1"), "a").record
        second = take(first, write(2, b"2", context=EMPTY), "a").record
        assert [version.value for version in siblings(second, 0)] == [b"2", b"1"]

    def test_a_writer_that_saw_all_siblings_replaces_them(self) -> None:
        one = take(ABSENT, write(1, b"1"), "a").record
        both = merge(one, take(ABSENT, write(2, b"2"), "b").record)
        joined = take(both, write(3, b"3", context=both.context), "c").record
        assert [version.value for version in joined.versions] == [b"3"]
        assert merge(joined, both) == joined

    def test_a_write_is_stamped_later_than_all_it_replaces(self) -> None:
        ahead = take(ABSENT, write(1_000_000), "a").record
        behind = take(ahead, write(5), "b").record
        assert behind.versions[0].timestamp_us == 1_000_001

    def test_the_same_operation_happens_once(self) -> None:
        first = take(ABSENT, write(1), "a")
        again = take(first.record, write(1), "a")
        assert (again.outcome, again.record) == (Outcome.DUPLICATE, first.record)
        later = take(first.record, write(2), "a").record
        assert take(later, write(1), "a").outcome is Outcome.DUPLICATE

    def test_an_idempotency_key_with_another_value_is_a_conflict(self) -> None:
        first = take(ABSENT, idempotent("x", b"1"), "a")
        assert take(first.record, idempotent("x", b"1"), "a").clock == first.clock
        other = take(first.record, idempotent("x", b"2"), "a")
        assert (other.outcome, other.record) == (Outcome.CONFLICT, first.record)
        deleted = take(first.record, idempotent("x", None), "a")
        assert deleted.outcome is Outcome.CONFLICT

    def test_an_idempotency_key_is_free_again_when_it_has_expired(self) -> None:
        first = take(ABSENT, idempotent("x", b"1"), "a").record
        assert knows(first, idempotent("x", b"2", 24 * HOUR_US)) is Outcome.CONFLICT
        later = idempotent("x", b"2", 1 + 24 * HOUR_US)
        second = take(first, later, "b").record
        assert [version.value for version in second.versions] == [b"2"]
        assert merge(first, second) == second

    def test_an_operation_taken_twice_is_shown_once(self) -> None:
        one = take(ABSENT, write(1), "a").record
        again = write(1, context=EMPTY, remember_until_us=HOUR_US)
        both = merge(one, take(ABSENT, again, "b").record)
        assert len(both.versions) == 2
        assert len(siblings(both, 0)) == 1

    @pytest.mark.parametrize("keyed", [True, False])
    def test_who_replaces_one_copy_replaces_the_operation(self, *, keyed: bool) -> None:
        intent = idempotent("x", b"1") if keyed else write(1)
        one = take(ABSENT, intent, "a").record
        other = take(ABSENT, intent, "b").record
        deleted = take(one, write(2, None), "a").record
        assert siblings(merge(deleted, other), 0) == ()
        assert siblings(merge(other, deleted), 0) == ()

    def test_who_replaces_what_the_taker_never_had_replaces_the_operation(self) -> None:
        one = take(ABSENT, write(1), "a").record
        other = take(ABSENT, write(1), "b").record
        deleted = take(ABSENT, write(2, None, context={"a": 1}), "c").record
        for order in permutations((one, other, deleted)):
            joined = merge(merge(order[0], order[1]), order[2])
            assert siblings(joined, 0) == ()

    def test_a_later_copy_that_saw_nothing_goes_with_the_one_that_was_replaced(self) -> None:
        one = take(ABSENT, idempotent("x", b"1", 1, EMPTY), "a").record
        other = take(ABSENT, idempotent("x", b"1", 9, EMPTY), "b").record
        # By a taker that has the first copy, and by one that has never had any.
        for taker in (one, ABSENT):
            summed = take(taker, write(2, b"sum", context={"a": 1}), "c").record
            for order in permutations((one, other, summed)):
                joined = merge(merge(order[0], order[1]), order[2])
                assert [version.value for version in joined.versions] == [b"sum"]

    def test_of_two_that_replaced_each_others_copies_the_later_stays(self) -> None:
        one = take(ABSENT, idempotent("x", b"1", 1, EMPTY), "a").record
        replacer = take(one, write(2, b"2", context={"a": 1}), "a").record
        again = write(2, b"2", context={"a": 1}, remember_until_us=HOUR_US)
        copy = take(ABSENT, again, "b").record
        other = take(copy, idempotent("x", b"1", 9, copy.context), "b").record
        for joined in (merge(replacer, other), merge(other, replacer)):
            assert [version.value for version in joined.versions] == [b"1"]

    def test_two_whose_copies_replaced_each_other_unseen_do_not_both_go(self) -> None:
        # Each was asked for twice, and neither second copy saw the first of its own operation.
        one = take(ABSENT, idempotent("x", b"1", 1, EMPTY), "a").record
        other = take(ABSENT, idempotent("y", b"2", 2, EMPTY), "b").record
        again = take(other, idempotent("x", b"1", 9, {"b": 1}), "c").record
        back = take(one, idempotent("y", b"2", 8, {"a": 1}), "a").record
        for order in permutations((one, other, again, back)):
            joined = merge(merge(order[0], order[1]), merge(order[2], order[3]))
            assert [version.value for version in joined.versions] == [b"1"]

    def test_counters_go_on_above_what_was_forgotten(self) -> None:
        assert take(ABSENT, write(1), "a", floor=7).record.context == {"a": 8}

    def test_a_context_from_the_future_is_refused(self) -> None:
        with pytest.raises(OverclaimError, match=r"context: a has counter 9; allowed: at most 7"):
            take(ABSENT, write(1, context={"a": 9}), "a", floor=7)

    def test_only_so_many_replaced_operations_are_remembered(self) -> None:
        record = ABSENT
        for number in range(1, 100):
            record = take(record, write(number), "a").record
        assert len(record.dead) == 24 * DEAD_LIMIT
        assert knows(record, write(98)) is Outcome.DUPLICATE
        assert knows(record, write(2)) is Outcome.NEW


class TestWrittenClock:
    def test_it_hides_no_sibling_that_the_writer_has_not_seen(self) -> None:
        first = take(ABSENT, write(1), "a").record
        second = take(first, write(2, context=EMPTY), "a")
        assert second.clock == {}
        next_write = write(3, context=second.clock)
        assert len(take(second.record, next_write, "b").record.versions) == 3

    def test_it_names_the_write_where_nothing_hides_below(self) -> None:
        other = take(ABSENT, write(1), "b").record
        second = take(other, write(2, context=EMPTY), "a")
        assert second.clock == {"a": 1}

    @given(histories)
    def test_replacing_by_it_never_drops_what_was_not_seen(self, history: list[Step]) -> None:
        for record in replay(history):
            for version in record.versions:
                told = clock_of(Record(record.versions, record.context), version.op)
                assert descends(record.context, told)
                others = [other for other in record.versions if other.op != version.op]
                kept = take(record, write(10**9, context=told), "new").record
                if others:
                    assert {o.dot for o in others} <= {v.dot for v in kept.versions}


def test_shown_is_the_latest_value_and_tombstones_hide() -> None:
    def version(actor: str, value: bytes | None, at: int) -> Version:
        return Version(Dot(actor, 1), value, at, fresh(at))

    record = Record(
        (version("a", b"1", 1), version("b", None, 3), version("c", b"2", 2)),
        {"a": 1, "b": 1, "c": 1},
    )
    latest = shown(record, 0)
    assert latest is not None
    assert latest.value == b"2"
    assert shown(record, 0, last_write_wins=True) is None
