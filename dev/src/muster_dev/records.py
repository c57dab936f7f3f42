"""What is remembered of each cluster between runs."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from muster_dev.errors import SetupError

if TYPE_CHECKING:
    from muster_dev.paths import Paths

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")


@dataclass(frozen=True)
class Record:
    """A cluster that was brought up, or adopted, to its end.

    ``registry`` is set for a cluster that the user named; ``image`` is the node image of one that
    we made; ``published`` are pairs of (port of this machine, port of the nodes); ``addresses`` are
    those of the nodes.
    """

    name: str
    nodes: int = 0
    image: str = ""
    published: tuple[tuple[int, int], ...] = ()
    addresses: dict[str, str] = field(default_factory=dict)
    context: str = ""
    registry: str = ""

    @property
    def adopted(self) -> bool:
        """Whether the user named this cluster; it is never made or removed by us."""
        return bool(self.context)


def check_name(name: str) -> None:
    """Raise SetupError when a cluster cannot have a name."""
    if not _NAME.fullmatch(name):
        raise SetupError(
            f"The cluster name {name!r} is not possible: up to 40 lower-case letters, digits and "
            "dashes, beginning and ending with a letter or digit."
        )


def load(paths: Paths, name: str) -> Record | None:
    """Return what is remembered of a cluster, or None if this version never completed it."""
    file = paths.cluster(name) / "cluster.json"
    if not file.exists():
        return None
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
        kept["published"] = tuple((here, there) for here, there in kept["published"])
        return Record(**kept)
    except (ValueError, TypeError, KeyError):
        # Written by another version, whose cluster is not what this one makes either.
        return None


def load_all(paths: Paths) -> list[Record]:
    """Return all clusters that are remembered."""
    folders = sorted((paths.state / "clusters").glob("*"))
    found = (load(paths, folder.name) for folder in folders)
    return [record for record in found if record is not None]


def save(paths: Paths, record: Record) -> None:
    """Remember a cluster."""
    file = paths.cluster(record.name) / "cluster.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".new")
    partial.write_text(json.dumps(asdict(record), indent=2), encoding="utf-8")
    partial.rename(file)


def forget_completion(paths: Paths, name: str) -> None:
    """Remember that a cluster is being made anew, so that a killed run is seen as such."""
    (paths.cluster(name) / "cluster.json").unlink(missing_ok=True)


def forget(paths: Paths, name: str) -> None:
    """Remove all that is kept about a cluster."""
    shutil.rmtree(paths.cluster(name), ignore_errors=True)


def forget_unfinished(paths: Paths) -> None:
    """Remove what is kept about clusters that were never completed."""
    home = paths.state / "clusters"
    for folder in home.glob("*"):
        if load(paths, folder.name) is None:
            shutil.rmtree(folder, ignore_errors=True)
    if home.exists() and not any(home.iterdir()):
        home.rmdir()
