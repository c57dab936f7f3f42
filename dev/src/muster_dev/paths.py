"""Where the tool keeps things: the checkout, the cache, the state.

The cache can be rebuilt from the checkout and survives ``cluster down``; the state belongs to
clusters that exist now.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from muster_dev.errors import SetupError


@dataclass(frozen=True)
class Paths:
    """The three roots that every other path is below."""

    repo: Path
    cache: Path
    state: Path

    @property
    def dev(self) -> Path:
        """The tool's own folder in the checkout, with its data files."""
        return self.repo / "dev"

    @property
    def logs(self) -> Path:
        """One log file for each step, overwritten by the next run."""
        return self.state / "logs"

    @property
    def venv(self) -> Path:
        """The virtualenv of the checkout."""
        return self.repo / ".venv"

    def cluster(self, name: str) -> Path:
        """Everything that is kept about one cluster."""
        return self.state / "clusters" / name

    def kubeconfig(self, name: str) -> Path:
        """The credentials of one cluster; the user's own kubeconfig is never touched."""
        return self.cluster(name) / "kubeconfig"


def from_environment(environ: dict[str, str] | None = None) -> Paths:
    """Find the roots: ``MUSTER_CACHE`` and ``MUSTER_STATE``, else the XDG defaults."""
    env = dict(os.environ) if environ is None else environ
    home = Path(env.get("HOME") or Path.home())
    repo = Path(__file__).resolve().parents[3]
    cache = _root(env, "MUSTER_CACHE", home / ".cache" / "muster")
    state = _root(env, "MUSTER_STATE", home / ".local" / "state" / "muster")
    for variable, root in (("MUSTER_CACHE", cache), ("MUSTER_STATE", state)):
        if root == repo or repo in root.parents:
            raise SetupError(
                f"{variable} is {root}, inside the checkout; it must be a folder outside of {repo}."
            )
    return Paths(repo=repo, cache=cache, state=state)


def _root(env: dict[str, str], variable: str, default: Path) -> Path:
    value = env.get(variable)
    if not value:
        return default
    path = Path(value).expanduser()
    if not path.is_absolute():
        raise SetupError(f"{variable} is {value!r}; it must be an absolute path.")
    return path
