"""Workload types, and what they see of the world."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from muster_sdk.errors import Stopped
from muster_sdk.wish import Wish

ENTRY_POINTS = "muster.workloads"
"""The group of entry points by which workload types are found, each named after its type."""

Level = Literal["debug", "info", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Environment:
    """Where a workload type runs.

    Attributes:
        task_type: the name under which it was found.
        options: what the worker's configuration says about this type.
    """

    task_type: str
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Task:
    """One task to execute.

    Attributes:
        input: as it was submitted, a JSON object.
        checkpoint: what an earlier run of the task saved last, on whichever worker; None where
            there is nothing to go on from.
        attempt: 1, and one more with each try and each worker that was lost.
        customer_id: whose task it is.
    """

    task_id: str
    input: Mapping[str, Any] = field(repr=False)
    checkpoint: bytes | None = field(default=None, repr=False)
    attempt: int = 1
    customer_id: str = "default"


class Context(ABC):
    """What a running task can say and hear. Its methods may be called from any thread."""

    @property
    @abstractmethod
    def wish(self) -> Wish:
        """What is wished of this run now."""

    @abstractmethod
    def progress(self, percent: float, message: str = "") -> None:
        """Tell how far the task has come, 0 to 100; what is beyond is cut.

        A task that runs long has to say something now and then: one that is silent for as long as
        the coordinator waits counts as stuck, and goes elsewhere.
        """

    @abstractmethod
    def log(self, message: str, level: Level = "info") -> None:
        """Add a line to the log of the task, which its owner can read."""

    @abstractmethod
    def save(self, checkpoint: bytes) -> None:
        """Keep this as what to go on from, should this run come to nothing."""

    @abstractmethod
    def safe_point(self) -> None:
        """Say that the state is whole: `Workload.checkpoint` is asked for it where that is due.

        Raises:
            Stopped: the task is to pause or to end; let it pass.
        """

    def stop_if_wished(self) -> None:
        """Leave where the task is to pause or to end.

        Raises:
            Stopped: it is; let it pass.
        """
        if self.wish is not Wish.NONE:
            raise Stopped(self.wish)


class Workload(ABC):
    """A workload type in one process, which executes one task at a time.

    The process is its own: it may block, crash, or use all memory it is given, and fails one task
    by that. Made without arguments, then `init` is called once, `execute` for each task, and
    `close` at an orderly end; a process that is killed closes nothing.
    """

    def init(self, environment: Environment) -> None:  # noqa: B027 - a type may need nothing
        """Prepare, before the first task.

        Raises:
            InvalidInput: an option is wrong; this worker then takes no tasks and says why.
        """

    @abstractmethod
    def execute(self, task: Task, context: Context) -> object:
        """Execute one task and return its result: anything that JSON can hold.

        Raises:
            InvalidInput: the task can't be executed anywhere.
            Failed: it failed for a reason that can be told.
            Stopped: it was asked to.
            Exception: anything else fails the task too, and is told by its name only, as its text
                may quote the input; another worker may try it.
        """

    def checkpoint(self) -> bytes | None:
        """What to go on from: the state of the task that runs, or has just been stopped.

        Called where `execute` is at a safe point or has ended by `Stopped`, so never beside it.
        None where there is nothing to go on from; the task then begins anew.
        """
        return None

    def close(self) -> None:  # noqa: B027 - a type may hold nothing
        """Let go of what `init` took."""
