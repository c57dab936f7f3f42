"""What a reader is shown of a record."""

from muster_kv.record import Record, Version


def siblings(record: Record, now_us: int) -> tuple[Version, ...]:
    """Return the values that a reader gets, the one shown first; none where the key is deleted.

    An operation that two replicas took is one value. Tombstones hide behind values: a write that
    did not know of the delete survives it.
    """
    found: dict[bytes, Version] = {}
    for version in sorted(record.versions, key=_lateness, reverse=True):
        if version.shown(now_us):
            found.setdefault(version.op, version)
    return tuple(found.values())


def shown(record: Record, now_us: int, *, last_write_wins: bool = False) -> Version | None:
    """Return the version for a client that can't read siblings; None where there is no value.

    The latest by timestamp, then by op, the same at every replica. Where the last write wins, a
    tombstone wins like any other write.
    """
    if last_write_wins:
        latest = max(record.versions, key=_lateness, default=None)
        return latest if latest is not None and latest.shown(now_us) else None
    values = (version for version in record.versions if version.shown(now_us))
    return max(values, key=_lateness, default=None)


def _lateness(version: Version) -> tuple[int, bytes]:
    return version.timestamp_us, version.op
