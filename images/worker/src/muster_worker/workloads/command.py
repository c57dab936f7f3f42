"""The workload type `command`: runs a program, without a shell."""

import contextlib
import os
import select
import selectors
import signal
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import IO, Any

from muster_sdk import Context, Environment, Failed, Fields, InvalidInput, Level, Task, Workload
from muster_worker.processes import kill_descendants

_STEP_SECONDS = 0.1
_CHUNK = 65536
_WORDS = 200


@dataclass
class _Output:
    """What came out of one pipe: the beginning of it, and a line that is not whole yet."""

    level: Level
    kept: bytearray = field(default_factory=bytearray)
    dropped: int = 0
    line: bytes = b""

    def take(self, data: bytes, limit: int, context: Context) -> None:
        room = max(0, limit - len(self.kept))
        self.kept += data[:room]
        self.dropped += max(0, len(data) - room)
        # As lines of the log, for as long as there is room.
        *lines, self.line = (self.line + data[:room]).split(b"\n")
        for line in lines:
            context.log(line.decode(errors="replace"), self.level)

    def end(self, context: Context) -> None:
        if self.line:
            context.log(self.line.decode(errors="replace"), self.level)

    @property
    def text(self) -> str:
        return self.kept.decode(errors="replace")


class _Feed:
    """What is still to be written to a program."""

    def __init__(self, given: bytes) -> None:
        self._waiting = memoryview(given)

    def go_on(self, descriptor: int) -> bool:
        """Write some; False where that was all, or the program reads no more."""
        try:
            # So much never blocks where the pipe is ready.
            written = os.write(descriptor, self._waiting[: select.PIPE_BUF])
        except BrokenPipeError:
            return False
        self._waiting = self._waiting[written:]
        return bool(self._waiting)


class Command(Workload):
    """Runs the program `argv`, with `stdin` as its input.

    Options: `allow_env`, the variables that a program may have, from the worker's environment and
    over that from the task's `env`; `output_limit`, bytes that are kept of each of its outputs.

    Result: `{"exit_status", "stdout", "stderr", "dropped_bytes"}`. The lines of both outputs are
    lines of the task's log, too. A status that is not in `expected_status` fails the task.
    """

    def __init__(self) -> None:
        self._allowed: tuple[str, ...] = ()
        self._limit = 0

    def init(self, environment: Environment) -> None:
        """See `Workload`."""
        options = Fields(environment.options)
        self._allowed = options.texts("allow_env", ("LANG", "LC_ALL", "PATH", "TZ"))
        self._limit = options.whole("output_limit", 65536, least=0, most=2**18)
        options.end()

    def execute(self, task: Task, context: Context) -> object:
        """See `Workload`."""
        fields = Fields(task.input)
        argv = fields.texts("argv", least=1, most=1024)
        if not argv[0]:
            raise InvalidInput("argv[0]", '""', "the name or path of a program")
        given = fields.text("stdin", "", most=2**20)
        env = self._environment(fields.table("env"))
        expected = _statuses(fields)
        fields.end()
        with _started(argv, env) as process:
            outputs = self._attend(process, given.encode(), context)
            status = process.wait()
        if status not in expected:
            raise Failed(_failure(argv[0], status, outputs["stderr"].text))
        return {
            "exit_status": status,
            "stdout": outputs["stdout"].text,
            "stderr": outputs["stderr"].text,
            "dropped_bytes": sum(one.dropped for one in outputs.values()),
        }

    def _environment(self, asked: Mapping[str, str]) -> dict[str, str]:
        for name in asked:
            if name not in self._allowed:
                allowed = ", ".join(self._allowed) or "none here"
                raise InvalidInput(f"env.{name[:64]}", "not allowed", allowed)
        own = {name: os.environ[name] for name in self._allowed if name in os.environ}
        return own | dict(asked)

    def _attend(
        self, process: "subprocess.Popen[bytes]", given: bytes, context: Context
    ) -> dict[str, _Output]:
        """Feed the program and read what it writes, until it has ended or is to stop.

        Raises:
            Stopped: it is to stop; by then it is dead.
        """
        outputs = {"stdout": _Output("info"), "stderr": _Output("warning")}
        with selectors.DefaultSelector() as ready:
            for name, output in outputs.items():
                take = partial(self._take, output, context)
                ready.register(_pipe(process, name), selectors.EVENT_READ, take)
            if given:
                feed = _Feed(given).go_on
                ready.register(_pipe(process, "stdin"), selectors.EVENT_WRITE, feed)
            else:
                _pipe(process, "stdin").close()
            _speak(process, ready, context)
        for one in outputs.values():
            one.end(context)
        # It may have closed its outputs, and work on.
        while process.poll() is None:
            context.stop_if_wished()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_STEP_SECONDS)
        return outputs

    def _take(self, output: _Output, context: Context, descriptor: int) -> bool:
        data = os.read(descriptor, _CHUNK)
        output.take(data, self._limit, context)
        return bool(data)


def _speak(
    process: "subprocess.Popen[bytes]", ready: selectors.BaseSelector, context: Context
) -> None:
    """Serve the pipes of a program until all are at their end, or it is."""
    while ready.get_map():
        context.stop_if_wished()
        found = ready.select(_STEP_SECONDS)
        if not found and process.poll() is not None:
            # What it has left running may hold its outputs for ever.
            return
        for key, _ in found:
            if not key.data(key.fd):
                _let_go(ready, key.fileobj)


@contextlib.contextmanager
def _started(argv: tuple[str, ...], env: Mapping[str, str]) -> "Iterator[subprocess.Popen[bytes]]":
    """A running program; at the end, whatever it has left running is killed."""
    try:
        process = subprocess.Popen(
            argv,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    except OSError as error:
        raise Failed(f"{argv[0][:_WORDS]} can't be started here: {error.strerror}") from None
    with process:
        try:
            yield process
        finally:
            # All that this process has started, it has started for this task.
            kill_descendants(os.getpid())


def _pipe(process: "subprocess.Popen[bytes]", name: str) -> IO[bytes]:
    pipe: IO[bytes] = getattr(process, name)
    return pipe


def _let_go(ready: selectors.BaseSelector, pipe: Any) -> None:
    ready.unregister(pipe)
    pipe.close()


def _statuses(fields: Fields) -> tuple[int, ...]:
    allowed = "a list of 1 to 256 whole numbers from 0 to 255"
    listed = fields.anything("expected_status", [0])
    if not isinstance(listed, list) or not 1 <= len(listed) <= 256:
        raise fields.wrong("expected_status", allowed, listed)
    for status in listed:
        if isinstance(status, bool) or not isinstance(status, int) or not 0 <= status <= 255:
            raise fields.wrong("expected_status", allowed, listed)
    return tuple(listed)


def _failure(program: str, status: int, errors: str) -> str:
    how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with {status}"
    last = errors.strip().rpartition("\n")[2][:_WORDS]
    return f"{program[:_WORDS]} {how}" + (f": {last}" if last else "")
