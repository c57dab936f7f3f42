"""Hash trees find what differs, and only that."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster_kv.merkle import MAX_DEPTH, ROOT, Descent, Tree, diff, leaf_of, leaf_range
from muster_kv.ranges import WHOLE_RING, TokenRange
from muster_kv.slots import TOKENS

NARROW = TokenRange(100, 355)
contents = st.dictionaries(
    st.integers(NARROW.first, NARROW.last), st.binary(min_size=1, max_size=4), max_size=12
)


def place(token: int) -> bytes:
    return token.to_bytes(8, "big") + b"t\0k"


def tree(records: dict[int, bytes], depth: int = 4) -> Tree:
    made = Tree(NARROW, depth)
    for token, fingerprint in records.items():
        made.add(place(token), fingerprint)
    return made


@given(contents, contents, st.integers(0, 6))
def test_the_difference_holds_what_differs_and_no_leaf_more(
    one: dict[int, bytes], other: dict[int, bytes], depth: int
) -> None:
    differing = {token for token in one.keys() | other.keys() if one.get(token) != other.get(token)}
    found = diff(tree(one, depth), tree(other, depth))
    leaves = {leaf_of(NARROW, depth, token) for token in differing}
    assert found == [leaf_range(NARROW, depth, leaf) for leaf in sorted(leaves)]


@given(contents, contents)
def test_a_changed_tree_is_the_tree_made_anew(
    before: dict[int, bytes], after: dict[int, bytes]
) -> None:
    changed = tree(before)
    changed.hash(ROOT)
    for token in before.keys() | after.keys():
        changed.change(place(token), before.get(token, b""), after.get(token, b""))
        changed.hash(ROOT)
    assert changed.hash(ROOT) == tree(after).hash(ROOT)


@given(st.integers(0, TOKENS - 1), st.integers(0, 20))
def test_a_token_is_in_its_leaf(token: int, depth: int) -> None:
    assert token in leaf_range(WHOLE_RING, depth, leaf_of(WHOLE_RING, depth, token))


@given(st.integers(1, 300), st.integers(0, 6))
def test_leaves_cover_the_range_without_overlap(width: int, depth: int) -> None:
    span = TokenRange(7, 6 + width)
    by_leaf: dict[int, list[int]] = {}
    for token in range(span.first, span.last + 1):
        by_leaf.setdefault(leaf_of(span, depth, token), []).append(token)
    for leaf, tokens in by_leaf.items():
        assert leaf_range(span, depth, leaf) == TokenRange(tokens[0], tokens[-1])


def test_many_replicas_are_compared_at_once() -> None:
    trees = {"a": tree({100: b"1"}), "b": tree({100: b"1"}), "c": tree({100: b"2"})}
    descent = Descent(NARROW, 4)
    levels = 0
    while descent.nodes:
        levels += 1
        asked = descent.nodes
        descent.compare({name: each.hashes(asked) for name, each in trees.items()})
    assert levels == 5
    assert descent.differing == [leaf_range(NARROW, 4, 0)]


def test_equal_trees_cost_one_question() -> None:
    descent = Descent(NARROW, 4)
    descent.compare({"a": tree({}).hashes((ROOT,)), "b": tree({}).hashes((ROOT,))})
    assert (descent.nodes, descent.differing) == ((), [])


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match=f"depth: 21; allowed: 0 to {MAX_DEPTH}"):
        Tree(NARROW, 21)
    with pytest.raises(ValueError, match="token: 99; allowed: 100 to 355"):
        tree({}).add(place(99), b"1")
    with pytest.raises(ValueError, match="node: 32; allowed: 1 to 31"):
        tree({}).hash(32)
    with pytest.raises(ValueError, match="allowed: the same"):
        diff(tree({}, 3), tree({}, 4))
    with pytest.raises(ValueError, match="a: 2 hashes; allowed: one for each of 1"):
        Descent(NARROW, 4).compare({"a": [b"", b""]})
