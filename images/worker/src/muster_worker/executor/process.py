"""The worker's side of an executing process: start, ask, limit, kill, find out why it died."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from asyncio import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from muster_worker import cgroup
from muster_worker.executor import messages
from muster_worker.executor.causes import ALLOCATION_FAILED, Remains, cause_of_death
from muster_worker.processes import kill_descendants
from muster_worker.tasks import Reason

Hear = Callable[[messages.Event], None]
"""Told what a running task says."""

_LAST_WORDS_SECONDS = 1.0
"""How long a process whose socket is closed may take to end by itself, with its own status."""


class Died(Exception):  # noqa: N818 - named after the cause
    """The executing process ended without a reply."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


@dataclass(frozen=True, slots=True)
class Settings:
    """How executing processes are made.

    Attributes:
        types: names of the workload types that they serve.
        options: of each type that has any.
        memory_limit: bytes of private memory for each; None is no limit.
        checkpoint_seconds: between two checkpoints that a running task is asked for.
    """

    types: tuple[str, ...]
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)
    memory_limit: int | None = None
    checkpoint_seconds: float = 30.0


class Process:
    """One executing process, from its start to its end; it answers one request at a time."""

    def __init__(
        self,
        child: subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        settings: Settings,
    ) -> None:
        self._child = child
        self._reader = reader
        self._writer = writer
        self._settings = settings
        self._oom_kills = cgroup.oom_kills()
        self._allocation_failed = False
        self._errors = asyncio.create_task(self._forward_errors())
        self._end = asyncio.create_task(child.wait())

    @classmethod
    async def start(cls, settings: Settings) -> "Process":
        """Start a process; it is ready for requests.

        Raises:
            OSError: the system can't start it.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            child = await asyncio.create_subprocess_exec(
                *_command(theirs.fileno(), settings),
                stdin=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
                env={**os.environ, "RAYON_NUM_THREADS": "1"},
            )
        reader, writer = await asyncio.open_connection(sock=ours)
        return cls(child, reader, writer, settings)

    @property
    def alive(self) -> bool:
        """Whether it has not ended yet."""
        return not self._end.done()

    async def ended(self) -> None:
        """Wait for its end."""
        await asyncio.shield(self._end)

    async def ask(self, request: messages.Request, hear: Hear) -> messages.Reply:
        """Send a request and wait for the reply. Whoever gives up waiting has to `kill`.

        Raises:
            Died: it ended first.
        """
        try:
            self._writer.write(messages.frame(request))
            await self._writer.drain()
            while isinstance(answer := await self._message(), messages.Event):
                hear(answer)
        except (asyncio.IncompleteReadError, OSError, ValueError):
            await asyncio.wait({self._end}, timeout=_LAST_WORDS_SECONDS)
            await self.kill()
            raise Died(*cause_of_death(self._remains())) from None
        return answer

    def stop(self, wish: str) -> None:
        """Wish that the task which runs stops; whether it does shows in its reply."""
        if self.alive:
            self._writer.write(messages.frame(messages.Stop(wish)))

    async def _message(self) -> messages.Event | messages.Reply:
        header = await self._reader.readexactly(messages.HEADER.size)
        body_length, blob_length = messages.HEADER.unpack(header)
        body = await self._reader.readexactly(body_length)
        message = messages.parse(body, await self._reader.readexactly(blob_length))
        if isinstance(message, messages.Request | messages.Stop):
            raise ValueError(f"{type(message).__name__} is no reply")  # noqa: TRY004 - as `parse`
        return message

    async def kill(self) -> None:
        """Kill it and whatever it started; returns when it has ended."""
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                # Stopped, it can start nothing more, and still knows all that it has started.
                os.kill(self._child.pid, signal.SIGSTOP)
                kill_descendants(self._child.pid)
                os.killpg(self._child.pid, signal.SIGKILL)
        await asyncio.shield(self._end)
        await asyncio.wait({self._errors}, timeout=_LAST_WORDS_SECONDS)
        self._errors.cancel()
        self._writer.close()

    def _remains(self) -> Remains:
        return Remains(
            returncode=self._end.result(),
            allocation_failed=self._allocation_failed,
            oom_killed=cgroup.oom_kills() > self._oom_kills,
            memory_limit=self._settings.memory_limit,
        )

    async def _forward_errors(self) -> None:
        """Pass its log on, and notice the words with which Rust dies for want of memory."""
        if self._child.stderr is None:
            return
        tail = b""
        while data := await self._child.stderr.read(65536):
            sys.stderr.buffer.write(data)
            sys.stderr.flush()
            tail = (tail + data)[-65536:]
            self._allocation_failed = self._allocation_failed or ALLOCATION_FAILED in tail


def _command(descriptor: int, settings: Settings) -> list[str]:
    command = [sys.executable, "-P", "-m", "muster_worker.executor"]
    command += ["--socket", str(descriptor), "--parent", str(os.getpid())]
    if settings.memory_limit is not None:
        command += ["--memory-limit", str(settings.memory_limit)]
    return command
