"""Which backups may go from a volume.

Those that storage nodes make in one run, one after the other, bear its name after their own:
`<node>.<run>`. A store is put back from all of a run.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from muster_storage import backup
from muster_storage.backup import BackupError


@dataclass(frozen=True, slots=True, order=True)
class Part:
    """A storage node's backup; in order of age, the oldest first."""

    created_at: str
    name: str
    node: str

    @property
    def run(self) -> str:
        """What it has in common with those of other nodes that were made in the same run."""
        return self.name.removeprefix(f"{self.node}.")

    @property
    def place(self) -> tuple[str, int]:
        """The name that its node shares with others, and its number among them; -1 without one."""
        stem, _, number = self.node.rpartition("-")
        return (stem, int(number)) if stem and number.isdecimal() else (self.node, -1)


def prune(made: Path, keep: int, nodes: int | None = None) -> list[str]:
    """Remove the backups beside `made`, of the same cluster, that are needed no more.

    Those go too that were given up unfinished, of the same nodes by their names.

    Args:
        keep: how many of a node are left.
        nodes: how many storage nodes there are, numbered from 0; None removes only those of the
            node of `made`.

    Returns:
        The names of those that are gone; `made` is never among them.

    Raises:
        BackupError: `made` is no backup, one can't be read or removed, or its node is not among
            the `nodes`.
    """
    origin = backup.read_manifest(made).origin
    parts = {
        path.name: Part(manifest.created_at, path.name, manifest.origin.node_id)
        for path, manifest in backup.finished(made.parent)
        if manifest.origin.cluster == origin.cluster
    }
    own = parts[made.name]
    if nodes is not None and not 0 <= own.place[1] < nodes:
        raise BackupError(f"--nodes: got {nodes}, and {own.node} is not among so many from 0")
    gone = superseded(own, list(parts.values()), keep, nodes)
    for part in gone:
        backup.remove(made.parent / part.name)
    unfinished = [
        path for path in backup.given_up(made.parent, made) if _is_of(path.name, own, nodes)
    ]
    for path in unfinished:
        backup.clear(path)
    return [*(part.name for part in gone), *(path.name for path in unfinished)]


def _is_of(name: str, own: Part, nodes: int | None) -> bool:
    """Whether an unfinished backup, of which only the name is known, is of one of these nodes.

    Those that have left are among them. What the node's command names itself has the time after
    the node, what a run names, the run.
    """
    stem = f"{re.escape(own.place[0])}-[0-9]+" if nodes is not None else re.escape(own.node)
    return re.match(rf"{stem}(\.|-[0-9]{{8}}T)", name) is not None


def superseded(made: Part, parts: Sequence[Part], keep: int, nodes: int | None) -> list[Part]:
    """The backups that may go, the oldest first; pure.

    Of each node those beyond `keep`, but not what is of the last run that has all nodes: without
    it the store could not be put back. Of nodes that have left, which make none to take the place
    of theirs, those of runs that are gone elsewhere.

    Args:
        parts: all of the cluster, `made` among them.
        nodes: see `prune`.
    """
    if nodes is None:
        return _beyond([part for part in parts if part.node == made.node], made, keep)
    there: dict[str, list[Part]] = {}
    left: list[Part] = []
    for part in parts:
        stem, number = part.place
        if stem == made.place[0] and number >= nodes:
            left.append(part)
        elif stem == made.place[0] and number >= 0:
            there.setdefault(part.node, []).append(part)
    held = [part for each in there.values() for part in each]
    beyond = {part for each in there.values() for part in _beyond(each, made, keep)}
    kept = [part for part in held if part not in beyond]
    whole = _last_whole(held)
    gone = [part for part in beyond if part.run != whole]
    if any(len(each) >= keep for each in there.values()):
        # What is older than all that is kept can't be put back together with others any more.
        runs, oldest = {whole, *(part.run for part in kept)}, min(kept).created_at
        gone += [part for part in left if part.run not in runs and part.created_at < oldest]
    return sorted(gone)


def _beyond(parts: Sequence[Part], made: Part, keep: int) -> list[Part]:
    """Of one node all but so many; the one just made counts as the newest whatever the clock."""
    return sorted(parts, key=lambda part: (part == made, part))[:-keep]


def _last_whole(parts: Sequence[Part]) -> str:
    """The last run with all nodes, or with all that there were then: with most of the first ones.

    More nodes than in any run before may be too new to be in one.
    """
    runs: dict[str, list[Part]] = {}
    for part in parts:
        runs.setdefault(part.run, []).append(part)
    return max(runs, key=lambda run: (_unbroken(runs[run]), min(runs[run])))


def _unbroken(run: Sequence[Part]) -> int:
    """How many nodes it has from the first one on, up to one that is missing."""
    numbers = {part.place[1] for part in run}
    return next(number for number in count() if number not in numbers)
