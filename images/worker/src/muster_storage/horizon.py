"""Up to when a node has forgotten what died, for each part of the ring.

It rises only when a `Purge` says that all replicas have what died before, and is on disk before
anything is forgotten. Time alone forgets nothing: a replica that was away could bring back what
nobody here knows as deleted any more.
"""

from bisect import bisect_right
from operator import itemgetter

import msgspec

from muster_kv.ranges import TokenRange
from muster_kv.slots import TOKENS


class Horizon(msgspec.Struct, frozen=True, array_like=True):
    """What died before its moment (Unix µs) may be forgotten, and is not taken in again.

    `steps` are pairs of a token and the moment that holds from there to the next pair's token; the
    first token is 0. A moment of 0 forgets nothing.
    """

    steps: tuple[tuple[int, int], ...] = ((0, 0),)

    def at(self, token: int) -> int:
        """Return the moment for a token."""
        return self.steps[bisect_right(self.steps, token, key=itemgetter(0)) - 1][1]

    def raised(self, tokens: TokenRange, before_us: int) -> "Horizon":
        """Return the horizon with at least this moment for a range."""
        edges = {first for first, _ in self.steps} | {tokens.first}
        if tokens.last + 1 < TOKENS:
            edges.add(tokens.last + 1)
        steps: list[tuple[int, int]] = []
        for edge in sorted(edges):
            moment = max(self.at(edge), before_us) if edge in tokens else self.at(edge)
            if not steps or steps[-1][1] != moment:
                steps.append((edge, moment))
        return Horizon(tuple(steps))

    @property
    def least(self) -> int:
        """The moment that holds for the whole ring."""
        return min(moment for _, moment in self.steps)


NOTHING_FORGOTTEN = Horizon()


def pack(horizon: Horizon) -> bytes:
    """Return its bytes on disk."""
    return msgspec.msgpack.encode(horizon)


def unpack(data: bytes | None) -> Horizon:
    """Return what `pack` packed; nothing is a horizon that forgets nothing."""
    return NOTHING_FORGOTTEN if data is None else msgspec.msgpack.decode(data, type=Horizon)
