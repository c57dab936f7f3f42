"""What the worker asks of a coordinator, whatever carries it."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from muster_worker.notes import Notes
from muster_worker.reports import Completion, Failure, Halted
from muster_worker.tasks import Command, Ticket


class CoordinatorError(Exception):
    """A call did not succeed."""


class Unavailable(CoordinatorError):  # noqa: N818 - named after the cause
    """No answer, or none that is final: worth another try later."""


class Fenced(CoordinatorError):  # noqa: N818 - likewise
    """The task is not this worker's any more: a later assignment exists, or it has ended."""


class NotKnown(CoordinatorError):  # noqa: N818 - likewise
    """The coordinator knows no such worker, task or key."""


class Refused(CoordinatorError):  # noqa: N818 - likewise
    """The coordinator will never accept this."""


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """A proving key of the pool, as the coordinator announces it.

    Attributes:
        key_id: circuit and curve, as in `merkle-20-poseidon@bn254`.
        version: digest that the circuit and its verifying key have in common.
        sha256: of the proving key's bytes, lower-case hex.
        size_bytes: of the proving key.
    """

    key_id: str
    version: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Registration:
    """How a worker introduces itself.

    Attributes:
        pool: name of the pool that it works for.
        concurrency: tasks that it executes at once.
        version: of its software.
        instance: differs between two processes of one name.
        capabilities: `circuits` and `keys`, comma-separated.
        types: workload types beside the circuits.
        tags: what affinity rules may name.
        holding: what it works on already.
    """

    pool: str
    concurrency: int
    version: str
    instance: str
    capabilities: Mapping[str, str]
    types: Sequence[str] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    holding: Sequence[Ticket] = ()


class Coordinator(Protocol):
    """The calls; each may raise any `CoordinatorError`, and each has a deadline of its own."""

    def reconnect(self) -> None:
        """Drop the connection and make a fresh one."""
        ...

    async def list_keys(self, pool: str) -> Sequence[KeyInfo]:
        """All proving keys of the pool."""
        ...

    def proving_key(self, key: KeyInfo) -> AsyncIterator[bytes]:
        """The bytes of a proving key, in pieces."""
        ...

    async def register(self, registration: Registration) -> float | None:
        """Make this worker known; the seconds between heartbeats, if the coordinator says."""
        ...

    async def heartbeat(self, active_tasks: int) -> bool:
        """Tell that this worker lives; whether the coordinator knows it."""
        ...

    def commands(self) -> AsyncIterator[Command]:
        """The stream of tasks for this worker and what becomes of them; open as long as it is read.

        A coordinator of the first contract only assigns.
        """
        ...

    async def start(self, ticket: Ticket) -> None:
        """The task began to run."""
        ...

    async def tell(self, ticket: Ticket, notes: Notes) -> None:
        """How the running task goes. A coordinator of the first contract does not hear of it."""
        ...

    async def complete(self, report: Completion) -> None:
        """The task has a result. Raises `Refused` if the coordinator finds the proof wrong."""
        ...

    async def halted(self, report: Halted) -> None:
        """The task stopped, as the coordinator had asked."""
        ...

    async def fail(self, report: Failure) -> None:
        """The task failed here."""
        ...

    async def release(self, ticket: Ticket, reason: str) -> None:
        """Hand a task back unfinished."""
        ...

    async def deregister(self) -> None:
        """This worker leaves."""
        ...

    async def close(self) -> None:
        """Drop the connection for good."""
        ...
