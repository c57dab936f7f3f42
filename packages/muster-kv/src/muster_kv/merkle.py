"""Hash trees over ranges of tokens, by which two replicas find what differs (Merkle 1987).

A tree of depth d cuts its range into 2^d leaves of equal width. A leaf is the XOR of its records'
hashes, so that one record can be changed without the others; nodes above hash their two children.
Nodes are numbered as in a binary heap: the root is 1, the children of n are 2n and 2n + 1.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence

from muster_kv.ranges import TokenRange
from muster_kv.slots import token_of

HASH_BYTES = 16
MAX_DEPTH = 20
ROOT = 1
_EMPTY = bytes(HASH_BYTES)


class Tree:
    """The hash tree of one range at one replica. Keeps its leaves; hashes above are made when read.

    Raises ValueError where the depth is not from 0 to MAX_DEPTH.
    """

    def __init__(self, span: TokenRange, depth: int) -> None:
        if not 0 <= depth <= MAX_DEPTH:
            raise ValueError(f"depth: {depth}; allowed: 0 to {MAX_DEPTH}")
        self.range, self.depth = span, depth
        self._leaves = [0] * (1 << depth)
        self._above: dict[int, bytes] = {}

    def add(self, slot: bytes, fingerprint: bytes) -> None:
        """Take a record in."""
        self.change(slot, b"", fingerprint)

    def change(self, slot: bytes, before: bytes, after: bytes) -> None:
        """Take in that a record's fingerprint became another; empty is no record.

        Raises ValueError where the slot's token is outside the range.
        """
        if before == after:
            return
        leaf = leaf_of(self.range, self.depth, token_of(slot))
        self._leaves[leaf] ^= _hash_record(slot, before) ^ _hash_record(slot, after)
        node = (1 << self.depth) + leaf
        # Above a node that has not been read since its last change nothing has been either.
        while node and self._above.pop(node, None) is not None:
            node >>= 1

    def hash(self, node: int) -> bytes:
        """Return a node's hash; all zero where it holds no record.

        Raises ValueError where there is no such node.
        """
        if not ROOT <= node < 2 << self.depth:
            raise ValueError(f"node: {node}; allowed: {ROOT} to {(2 << self.depth) - 1}")
        known = self._above.get(node)
        if known is None:
            known = self._above[node] = self._make(node)
        return known

    def hashes(self, nodes: Iterable[int]) -> tuple[bytes, ...]:
        """Return the hashes of many nodes."""
        return tuple(self.hash(node) for node in nodes)

    def _make(self, node: int) -> bytes:
        first_leaf = 1 << self.depth
        if node >= first_leaf:
            return self._leaves[node - first_leaf].to_bytes(HASH_BYTES, "big")
        left, right = self.hash(2 * node), self.hash(2 * node + 1)
        if left == _EMPTY and right == _EMPTY:
            return _EMPTY
        return hashlib.blake2b(left + right, digest_size=HASH_BYTES).digest()


class Descent:
    """Finds the leaves in which replicas differ, level by level; the caller does the asking.

    While there are `nodes` to ask for, ask all replicas and give what they say to `compare`.
    `differing` are then ranges of tokens.
    """

    def __init__(self, span: TokenRange, depth: int) -> None:
        self.range, self.depth = span, depth
        self.nodes: tuple[int, ...] = (ROOT,)
        self._leaves: list[int] = []

    def compare(self, answers: Mapping[str, Sequence[bytes]]) -> None:
        """Take in each replica's hashes of `nodes`.

        Raises ValueError where one answered for more or fewer.
        """
        for replica, hashes in answers.items():
            if len(hashes) != len(self.nodes):
                raise ValueError(
                    f"{replica}: {len(hashes)} hashes; allowed: one for each of {len(self.nodes)}"
                )
        differ = [
            node
            for at, node in enumerate(self.nodes)
            if len({hashes[at] for hashes in answers.values()}) > 1
        ]
        first_leaf = 1 << self.depth
        self._leaves += [node - first_leaf for node in differ if node >= first_leaf]
        self.nodes = tuple(
            child for node in differ if node < first_leaf for child in (2 * node, 2 * node + 1)
        )

    @property
    def differing(self) -> list[TokenRange]:
        """The ranges of leaves that differ, as far as is known."""
        return [leaf_range(self.range, self.depth, leaf) for leaf in sorted(self._leaves)]


def diff(one: Tree, other: Tree) -> list[TokenRange]:
    """Return the ranges of leaves in which two trees of one shape differ.

    Raises ValueError where they have not one shape.
    """
    if (one.range, one.depth) != (other.range, other.depth):
        raise ValueError("trees: different ranges or depths; allowed: the same")
    descent = Descent(one.range, one.depth)
    while descent.nodes:
        descent.compare({"one": one.hashes(descent.nodes), "other": other.hashes(descent.nodes)})
    return descent.differing


def leaf_of(span: TokenRange, depth: int, token: int) -> int:
    """Return the number of the leaf of a token; raises ValueError where it is not in the range."""
    if token not in span:
        raise ValueError(f"token: {token}; allowed: {span.first} to {span.last}")
    return ((token - span.first) << depth) // (span.last - span.first + 1)


def leaf_range(span: TokenRange, depth: int, leaf: int) -> TokenRange:
    """Return the tokens of a leaf; a range narrower than its leaves has leaves without tokens.

    Raises ValueError for such a leaf.
    """
    width = span.last - span.first + 1
    first = span.first + -((-leaf * width) >> depth)
    last = span.first + -((-(leaf + 1) * width) >> depth) - 1
    return TokenRange(first, last)


def _hash_record(slot: bytes, fingerprint: bytes) -> int:
    if not fingerprint:
        return 0
    digest = hashlib.blake2b(slot, key=fingerprint, digest_size=HASH_BYTES).digest()
    return int.from_bytes(digest, "big")
