"""What a record need not keep any longer: a pure function of the record and the time."""

from collections.abc import Collection
from dataclasses import dataclass

from muster_kv.record import Record, Version
from muster_kv.tombstones import purge

SKEW_US = 3_600_000_000
"""A value is emptied so long after its end that no clock still shows it: an hour."""


@dataclass(frozen=True, slots=True)
class Swept:
    """What is left of a record (None: nothing), and how many parts of which kind went."""

    record: Record | None
    changed: bool
    expired: int = 0
    purged: int = 0
    forgotten: int = 0


def sweep(record: Record, now_us: int, before_us: int, actors: Collection[str] | None) -> Swept:
    """Drop what died before `before_us`, and the bytes of values whose time is over.

    A value that ended is kept, empty, as a tombstone would be: an older one that it replaced may
    still be somewhere.

    Args:
        actors: whose entries a long context has to keep; None keeps all.
    """
    left = purge(record, before_us, record.context if actors is None else actors)
    if left is None:
        return Swept(None, True, purged=len(record.versions), forgotten=len(record.applied))
    purged = len(record.versions) - len(left.versions)
    forgotten = len(record.applied) - len(left.applied)
    ended = [_ended(version, now_us) for version in left.versions]
    expired = sum(ended)
    if expired:
        versions = tuple(
            _emptied(version) if over else version
            for version, over in zip(left.versions, ended, strict=True)
        )
        left = Record(versions, left.context, left.applied, left.dead)
    return Swept(left, left != record, expired, purged, forgotten)


def _ended(version: Version, now_us: int) -> bool:
    return bool(version.value) and 0 < version.expires_at_us <= now_us - SKEW_US


def _emptied(version: Version) -> Version:
    return Version(version.dot, b"", version.timestamp_us, version.op, version.expires_at_us)
