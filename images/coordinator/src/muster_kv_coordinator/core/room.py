"""Whether the storage nodes that stay have room for what one holds that leaves; pure."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Disk:
    """A storage node's disk, as the node tells of it.

    Args:
        virtual_nodes: its share of what is moved.
        data_bytes: of the records that it holds.
        disk_bytes: of its file system; 0 where it does not say.
        used_percent: of that.
    """

    node_id: str
    virtual_nodes: int
    data_bytes: int
    disk_bytes: int
    used_percent: float

    def percent_with(self, more: float) -> float:
        """How full it is with so many bytes more."""
        return self.used_percent + (100.0 * more / self.disk_bytes if self.disk_bytes else 0.0)


def too_full(leaving: Disk, rest: Sequence[Disk], limit: float) -> str:
    """Which disk would be too full when one has left; empty where none would.

    Args:
        limit: how full, in percent, a disk may become.
    """
    parts = sum(disk.virtual_nodes for disk in rest)
    for disk in rest:
        share = leaving.data_bytes * disk.virtual_nodes / parts
        percent = disk.percent_with(share)
        if percent > limit:
            return (
                f"the disk of {disk.node_id} would be {percent:.0f}% full with its part of what "
                f"{leaving.node_id} holds; allowed: {limit:g}%"
            )
    return ""
