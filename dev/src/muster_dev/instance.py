"""The names that this tool's things have on the machine.

Everything that outlives a run (network, bridge, firewall table, control groups) carries a name
made from the place of the state folder, so two state folders never touch each other's things, and
all of it can be removed by name.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from muster_dev import shell
from muster_dev.errors import SetupError

if TYPE_CHECKING:
    from muster_dev.paths import Paths

# Of the private ranges those that are least often in use; each becomes one network of nodes.
_CANDIDATES = tuple(f"172.{second}.0.0/24" for second in (29, 30, 31, 28, 27, 26, 25, 24))


@dataclass(frozen=True)
class Instance:
    """Names and addresses of one state folder's things."""

    name: str
    subnet: str

    @property
    def network(self) -> str:
        """Docker's network for the nodes."""
        return self.name

    @property
    def bridge(self) -> str:
        """The interface of that network; at most 15 characters."""
        return self.name

    @property
    def table(self) -> str:
        """The table of firewall rules."""
        return self.name.replace("-", "_")

    @property
    def control_group(self) -> str:
        """The control group above those of all containers."""
        return self.name


def load(paths: Paths) -> Instance:
    """Return the names of a state folder, choosing a free subnet the first time."""
    record = paths.state / "instance.json"
    name = name_for(paths)
    if record.exists():
        kept = Instance(**json.loads(record.read_text(encoding="utf-8")))
        if kept.name == name:
            return kept
    return _choose(paths)


def renew(paths: Paths) -> Instance:
    """Return the names, with another subnet if somebody else has begun to use ours.

    Only for a moment when there is no network of ours yet.
    """
    kept = load(paths)
    if _overlaps(kept.subnet, _networks_in_use()):
        return _choose(paths)
    return kept


def _choose(paths: Paths) -> Instance:
    record = paths.state / "instance.json"
    name = name_for(paths)
    instance = Instance(name, choose_subnet(name, _networks_in_use()))
    record.parent.mkdir(parents=True, exist_ok=True)
    partial = record.with_suffix(".new")
    partial.write_text(json.dumps(asdict(instance)), encoding="utf-8")
    partial.rename(record)
    return instance


def name_for(paths: Paths) -> str:
    """Return the name that belongs to a state folder."""
    return f"muster-{hashlib.sha256(str(paths.state).encode()).hexdigest()[:6]}"


def choose_subnet(name: str, in_use: Iterable[str]) -> str:
    """Return a candidate that overlaps no network in use.

    Two names that choose at the same moment seldom choose the same.
    Raises SetupError when every candidate is in use.
    """
    taken = list(in_use)
    first = int(hashlib.sha256(name.encode()).hexdigest(), 16) % len(_CANDIDATES)
    for candidate in (*_CANDIDATES[first:], *_CANDIDATES[:first]):
        if not _overlaps(candidate, taken):
            return candidate
    raise SetupError(f"Every network of {', '.join(_CANDIDATES)} is in use on this machine.")


def _overlaps(subnet: str, networks: Iterable[str]) -> bool:
    network = ipaddress.ip_network(subnet)
    return any(network.overlaps(ipaddress.ip_network(each, strict=False)) for each in networks)


def _networks_in_use() -> list[str]:
    program = shell.which("ip")
    if program is None:
        return []
    routes = json.loads(shell.output([program, "-4", "-json", "route", "show", "table", "all"]))
    return [route["dst"] for route in routes if route["dst"] != "default"]
