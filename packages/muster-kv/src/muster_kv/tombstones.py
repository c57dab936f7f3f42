"""Forgetting: what may go from a record, and when.

A tombstone may go only when every replica has it, or what it deleted comes back from one that was
away. So `before_us` is the start of the last anti-entropy round that all replicas of the range took
part in, and never later than now minus the grace. The rules are those of `muster_records`.
"""

from collections.abc import Collection

import muster_records
from muster_kv.record import Record, pack, unpack
from muster_records import CLOCK_LIMIT

__all__ = ["CLOCK_LIMIT", "is_dead", "purge"]


def is_dead(record: Record, before_us: int) -> bool:
    """Tell whether all of the record died before `before_us`, so that it may go whole.

    A tombstone died when it was made, and a value with an end dies then, also where that is in the
    future. A replica that has purged up to `before_us` need not take such a record in again.
    """
    return muster_records.is_dead(pack(record), before_us)


def purge(record: Record, before_us: int, actors: Collection[str]) -> Record | None:
    """Return the record without what died before `before_us`; None where nothing is left.

    `actors` are the incarnations of all members since before that time; a context with more than
    CLOCK_LIMIT entries loses others, whose writes every replica has seen by now. The caller raises
    its counter floor to its own entry of a context that goes.
    """
    left = muster_records.purge(pack(record), before_us, list(actors))
    return None if left is None else unpack(left)
