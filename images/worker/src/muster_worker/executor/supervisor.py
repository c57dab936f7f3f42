"""An executor: an executing process that is replaced whenever it dies."""

import asyncio
import logging
from collections.abc import Callable, Sequence

from muster_sdk import Wish
from muster_worker.executor import messages
from muster_worker.executor.process import Died, Hear, Process, Settings
from muster_worker.tasks import Assignment, Reason, TaskFailed
from muster_worker.workloads import Key

log = logging.getLogger(__name__)

LOAD_SECONDS = 300.0


class LoadFailed(Exception):  # noqa: N818 - named after the cause
    """The executing process could not load its workload types, or the pool's keys."""


class Executor:
    """Runs one task at a time in a process of its own, within its limits.

    Calls of `load` and `execute` must not overlap.
    """

    def __init__(self, settings: Settings, on_replaced: Callable[[], None]) -> None:
        self._settings = settings
        self._on_replaced = on_replaced
        self._process: Process | None = None
        self._loaded: Sequence[Key] | None = None

    @property
    def keys(self) -> Sequence[Key] | None:
        """The keys that are loaded in a living process; None without one."""
        return self._loaded if self._process is not None and self._process.alive else None

    async def died(self) -> None:
        """Wait for the end of the process."""
        if self._process is not None:
            await self._process.ended()

    async def load(self, keys: Sequence[Key]) -> None:
        """Have `keys`, and no others, loaded in a living process.

        Raises:
            LoadFailed: the process can't be started, died, or refused a key.
        """
        if self.keys == keys:
            return
        files = tuple((key.key_id, key.version, str(key.path)) for key in keys)
        try:
            async with asyncio.timeout(LOAD_SECONDS):
                reply = await self._ask(self._load(files), _unheard)
        except TimeoutError:
            raise LoadFailed(f"keys not loaded within {LOAD_SECONDS:g} s") from None
        except OSError as error:
            raise LoadFailed(f"the executing process can't be started: {error}") from error
        except Died as death:
            raise LoadFailed(f"while loading keys: {death.message}") from death
        if not isinstance(reply, messages.Loaded):
            self._loaded = None
            raise LoadFailed(getattr(reply, "message", f"unexpected {type(reply).__name__}"))
        self._loaded = keys

    async def execute(
        self, assignment: Assignment, limit: float, hear: Hear
    ) -> messages.Executed | messages.Stopped:
        """Execute a task for at most `limit` seconds; beyond them its process is killed.

        Args:
            hear: told what the task says meanwhile.

        Raises:
            TaskFailed: it failed, ran out of time or memory, or its process died.
        """
        try:
            async with asyncio.timeout(limit):
                reply = await self._ask(_request(assignment), hear)
        except TimeoutError:
            raise TaskFailed(Reason.TIMEOUT, f"time limit of {limit:g} s exceeded") from None
        except OSError as error:
            raise TaskFailed(Reason.CRASHED, f"no executing process: {error}") from error
        except Died as death:
            raise TaskFailed(death.reason, death.message) from death
        match reply:
            case messages.Executed() | messages.Stopped():
                return reply
            case messages.Failed(reason=reason, message=message, permanent=permanent):
                raise TaskFailed(Reason(reason), message, permanent=permanent)
            case _:
                await self.kill()
                raise TaskFailed(Reason.INTERNAL, f"unexpected reply {type(reply).__name__}")

    def stop(self, wish: Wish) -> None:
        """Wish that the task which runs stops."""
        if self._process is not None:
            self._process.stop(wish)

    async def kill(self) -> None:
        """End the process; what it is executing fails."""
        if self._process is not None:
            await self._process.kill()

    def _load(self, keys: tuple[tuple[str, str, str], ...]) -> messages.Load:
        settings = self._settings
        return messages.Load(settings.types, keys, settings.options, settings.checkpoint_seconds)

    async def _ask(self, request: messages.Request, hear: Hear) -> messages.Reply:
        process = await self._living()
        try:
            return await process.ask(request, hear)
        except asyncio.CancelledError:
            # Its reply would be taken for that of the next request.
            await process.kill()
            raise

    async def _living(self) -> Process:
        if self._process is None or not self._process.alive:
            if self._process is not None:
                log.warning("executing process replaced")
                self._on_replaced()
            self._loaded = None
            self._process = await Process.start(self._settings)
        return self._process


def _request(assignment: Assignment) -> messages.Execute:
    checkpoint = assignment.checkpoint
    return messages.Execute(
        task_type=assignment.task_type,
        task_id=assignment.ticket.task_id,
        key_id=assignment.key_id,
        key_version=assignment.key_version,
        customer_id=assignment.customer_id,
        attempt=assignment.attempt,
        checkpoint_size=None if checkpoint is None else len(checkpoint),
        blob=assignment.payload + (checkpoint or b""),
    )


def _unheard(_event: messages.Event) -> None:
    """While nothing runs, nothing is said."""
