"""What must be copied, and what may go, when members or a replication factor change."""

import msgspec

from muster_kv.consistency import Level, required
from muster_kv.ranges import TokenRange, between, coalesce
from muster_kv.ring import Walk, arcs


class Move(msgspec.Struct, frozen=True):
    """A range that `target` must have before reads may go to the new owners.

    `replaces` is the node whose place it takes: its data suffice, for whatever a quorum of the old
    owners acknowledged a quorum of the new then has. Where it is empty, or that node is gone, the
    data of `quorum` of the `sources` must be joined.
    """

    range: TokenRange
    target: str
    sources: tuple[str, ...]
    quorum: int
    replaces: str = ""


class Loss(msgspec.Struct, frozen=True):
    """A range that a node no longer holds, so that it may be dropped there."""

    range: TokenRange
    node_id: str


class Side(msgspec.Struct, frozen=True):
    """Owners before or after a change."""

    walk: Walk
    rf: int


def moves(old: Side, new: Side) -> list[Move]:
    """Return what has to be copied where, in the order of the ring."""
    found: dict[Move, list[TokenRange]] = {}
    for previous, token in arcs(old.walk, new.walk):
        before = old.walk.replicas(token, old.rf)
        after = new.walk.replicas(token, new.rf)
        for target, replaces in _targets(before, after, old.rf, new.rf):
            sources = tuple(sorted(node for node in before if node != target))
            quorum = min(required(Level.QUORUM, old.rf), len(sources))
            move = Move(_ANY, target, sources, quorum, replaces)
            found.setdefault(move, []).extend(between(previous, token))
    return sorted(
        (
            msgspec.structs.replace(move, range=each)
            for move, ranges in found.items()
            for each in coalesce(ranges)
        ),
        key=lambda move: (move.range, move.target),
    )


def losses(old: Side, new: Side) -> list[Loss]:
    """Return what nodes no longer hold after the change, in the order of the ring."""
    found: dict[str, list[TokenRange]] = {}
    for previous, token in arcs(old.walk, new.walk):
        kept = new.walk.replicas(token, new.rf)
        for node in old.walk.replicas(token, old.rf):
            if node not in kept:
                found.setdefault(node, []).extend(between(previous, token))
    return sorted(
        (Loss(each, node) for node, ranges in found.items() for each in coalesce(ranges)),
        key=lambda loss: (loss.range, loss.node_id),
    )


_ANY = TokenRange(0, 0)


def _targets(
    before: tuple[str, ...], after: tuple[str, ...], old_rf: int, new_rf: int
) -> list[tuple[str, str]]:
    """Return the nodes that need data, each with the node whose place it takes."""
    gaining = [node for node in after if node not in before]
    losing = [node for node in before if node not in after]
    if old_rf == new_rf and len(gaining) == len(losing):
        return list(zip(gaining, losing, strict=True))
    targets = [(node, "") for node in gaining]
    # With fewer owners a quorum of the new may be without any of a quorum of the old.
    if required(Level.QUORUM, new_rf) <= len(before) - required(Level.QUORUM, old_rf):
        targets += [(node, "") for node in after if node in before]
    return targets
