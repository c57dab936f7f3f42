"""Workload types: what a worker can execute.

A workload type is a plug-in: an entry point of the group `muster.workloads`, named after the type
(as in `prove.merkle`), that points to a callable which takes a `Context` and returns a `Workload`.
It lives in the executing processes, so it may block, crash, or use all memory it is given.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

ENTRY_POINTS = "muster.workloads"


@dataclass(frozen=True, slots=True)
class Context:
    """What a workload may know about where it runs.

    Attributes:
        task_type: the name under which it was found.
        curve: of tasks that name no key, `BN254` or `BLS12-381`.
    """

    task_type: str
    curve: str


@dataclass(frozen=True, slots=True)
class Key:
    """A proving key, checked against its announced digest, in a file."""

    key_id: str
    version: str
    path: Path


@dataclass(frozen=True, slots=True)
class Task:
    """One task to execute; its payload is secret."""

    task_id: str
    payload: bytes = field(repr=False)
    key_id: str = ""
    key_version: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """What executing a task gave.

    Attributes:
        output: the result itself, such as the bytes of a proof.
        metadata: JSON-able, told to the coordinator beside the output.
        merkle_root: of a merkle proof, else empty.
    """

    output: bytes
    metadata: Mapping[str, Any]
    merkle_root: str = ""


class InvalidTask(Exception):  # noqa: N818 - named after the cause
    """The task is at fault and fails everywhere; the text goes to whoever submitted it."""


class KeyMissing(Exception):  # noqa: N818 - likewise
    """The key that the task needs is not loaded here."""


class Workload(ABC):
    """A workload type in one executing process, which runs one task at a time."""

    def load(self, keys: Sequence[Key]) -> None:  # noqa: B027 - a type without keys need not care
        """Take over the pool's keys; called before the first task, and again when they change.

        Raises:
            Exception: a key is wrong; this worker then takes no tasks.
        """

    @abstractmethod
    def execute(self, task: Task) -> Result:
        """Execute one task.

        Raises:
            InvalidTask: the task can't be executed anywhere.
            KeyMissing: the key that it needs is not loaded here.
            Exception: anything else fails this task; another worker may try it.
        """


def installed() -> Mapping[str, EntryPoint]:
    """The workload types that this worker can execute, by name; nothing is imported yet."""
    return {entry.name: entry for entry in entry_points(group=ENTRY_POINTS)}


def create(entry: EntryPoint, curve: str) -> Workload:
    """Import a workload type and make one.

    Raises:
        TypeError: the entry point gives something else than a `Workload`.
    """
    factory: Callable[[Context], Workload] = entry.load()
    workload = factory(Context(entry.name, curve))
    if not isinstance(workload, Workload):
        raise TypeError(f"entry point {entry.name} of {ENTRY_POINTS} gives no Workload")
    return workload
