"""Workload types: what a worker can execute.

A workload type is a plug-in written with `muster_sdk`: an entry point of the group
`muster.workloads`, named after the type (as in `prove.merkle`), that points to a class derived from
`muster_sdk.Workload`. It lives in the executing processes, so it may block, crash, or use all
memory it is given.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from muster_sdk import ENTRY_POINTS, Environment, Workload

PROOFS = "prove."
"""What the names of the types begin with whose tasks need a key of the pool."""


@dataclass(frozen=True, slots=True)
class Key:
    """A proving key, checked against its announced digest, in a file."""

    key_id: str
    version: str
    path: Path


@dataclass(frozen=True, slots=True)
class Proof:
    """What executing a proof task gave.

    Attributes:
        proof: its bytes.
        metadata: JSON-able, told to the coordinator beside it.
        merkle_root: of a merkle proof, else empty.
    """

    proof: bytes
    metadata: Mapping[str, Any]
    merkle_root: str = ""


class KeyMissing(Exception):  # noqa: N818 - named after the cause
    """The key that the task needs is not loaded here."""


class Keyed(Workload):
    """A workload type whose tasks need a key of the pool."""

    @abstractmethod
    def load(self, keys: Sequence[Key]) -> None:
        """Take over the pool's keys; called before the first task, and again when they change.

        Raises:
            Exception: a key is wrong; this worker then takes no tasks.
        """

    @abstractmethod
    def choose(self, key_id: str, version: str) -> None:
        """Use this key for the next task.

        Raises:
            KeyMissing: it is not loaded here.
        """


def installed() -> Mapping[str, EntryPoint]:
    """The workload types that are installed here, by name; nothing is imported yet."""
    return {entry.name: entry for entry in entry_points(group=ENTRY_POINTS)}


def create(entry: EntryPoint, options: Mapping[str, Any]) -> Workload:
    """Import a workload type, make one and prepare it.

    Raises:
        TypeError: the entry point gives something else than a `Workload`.
        InvalidInput: an option is wrong.
    """
    factory: Callable[[], object] = entry.load()
    workload = factory()
    if not isinstance(workload, Workload):
        raise TypeError(f"entry point {entry.name} of {ENTRY_POINTS} gives no Workload")
    workload.init(Environment(entry.name, options))
    return workload
