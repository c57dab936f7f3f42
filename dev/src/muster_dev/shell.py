"""Run other programs: quietly into a log file, or for their output."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import subprocess
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, BinaryIO, Callable, cast

from muster_dev.errors import SetupError

if TYPE_CHECKING:
    from pathlib import Path


_SYSTEM = ("/usr/local/sbin", "/usr/sbin", "/sbin")


class CommandError(SetupError):
    """A program ended with an error or did not end in time."""

    def __init__(self, argv: Sequence[str], reason: str, output: str, log: Path | None) -> None:
        self.argv = list(argv)
        self.output = output
        last = output.strip().splitlines()[-1] if output.strip() else ""
        detail = f": {last}" if last and log is None else ""
        super().__init__(f"`{shlex.join(argv[:4])}` {reason}{detail}", log=log)


def run(
    argv: Sequence[str],
    *,
    log: Path | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: str | None = None,
    timeout: float | None = None,
) -> None:
    """Run a program to its end; its output goes to the end of ``log``.

    Without ``stdin`` it gets an empty input: a child that waits for the terminal would hang.

    Raises CommandError when it does not end with 0 within ``timeout`` seconds.
    """
    if log is None:
        output(argv, env=env, cwd=cwd, stdin=stdin, timeout=timeout)
        return
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as out:
        out.write(f"$ {shlex.join(argv)}\n")
        out.flush()
        try:
            done = subprocess.run(
                argv,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=merged(env),
                cwd=cwd,
                timeout=timeout,
                check=False,
                text=True,
                input=stdin or "",
            )
        except FileNotFoundError as error:
            raise CommandError(argv, f"cannot start ({error})", "", None) from error
        except subprocess.TimeoutExpired as error:
            raise CommandError(argv, f"did not end in {timeout:.0f} s", "", log) from error
    if done.returncode != 0:
        raise CommandError(argv, f"ended with {done.returncode}", tail(log), log)


def output(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: str | None = None,
    timeout: float | None = 60,
) -> str:
    """Run a program to its end and return what it wrote to its standard output.

    Raises CommandError when it does not end with 0 within ``timeout`` seconds.
    """
    try:
        done = subprocess.run(
            argv,
            capture_output=True,
            env=merged(env),
            cwd=cwd,
            timeout=timeout,
            check=False,
            text=True,
            input=stdin or "",
        )
    except FileNotFoundError as error:
        raise CommandError(argv, f"cannot start ({error})", "", None) from error
    except subprocess.TimeoutExpired as error:
        raise CommandError(argv, f"did not end in {timeout:.0f} s", "", None) from error
    if done.returncode != 0:
        raise CommandError(argv, f"ended with {done.returncode}", done.stderr or done.stdout, None)
    return done.stdout


def attend(
    argv: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> int:
    """Run a program whose output the user watches; return its exit code."""
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, env=merged(env), cwd=cwd, check=False)
    return done.returncode


def capture(
    argv: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> tuple[int, str]:
    """Run a program to its end; return its exit code and all that it wrote."""
    done = subprocess.run(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=merged(env),
        cwd=cwd,
        check=False,
        text=True,
        errors="replace",
    )
    return done.returncode, done.stdout


def feed(
    argv: Sequence[str],
    write: Callable[[BinaryIO], None],
    *,
    log: Path,
    env: Mapping[str, str] | None = None,
    timeout: float,
) -> None:
    """Run a program to its end with an input that ``write`` writes; its output goes to ``log``.

    Raises CommandError when it does not end with 0 within ``timeout`` seconds.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as out:
        out.write(f"$ {shlex.join(argv)}\n")
        out.flush()
        program = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=out, stderr=subprocess.STDOUT, env=merged(env)
        )
        late = threading.Timer(timeout, program.kill)
        late.start()
        try:
            # What ends early has said why; its exit code is looked at below.
            with contextlib.suppress(BrokenPipeError), cast("BinaryIO", program.stdin) as given:
                write(given)
        finally:
            code = program.wait()
            late.cancel()
    if code != 0:
        raise CommandError(argv, f"ended with {code}", tail(log), log)


def succeeds(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    timeout: float = 60,
) -> bool:
    """Tell whether a program ends with 0 within ``timeout`` seconds."""
    try:
        output(argv, env=env, timeout=timeout)
    except CommandError:
        return False
    return True


def merged(env: Mapping[str, str] | None) -> dict[str, str]:
    """Return the environment of this process with some variables set anew.

    Its PATH has the system's folders, which that of a user may lack.
    """
    wanted = {**os.environ, **(env or {})}
    return {**wanted, "PATH": os.pathsep.join([wanted.get("PATH", ""), *_SYSTEM])}


def which(program: str) -> str | None:
    """Find a program as it would be found when it is run."""
    return shutil.which(program, path=merged(None)["PATH"])


def tail(log: Path, lines: int = 15) -> str:
    """Return the last lines of a file."""
    try:
        text = log.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-lines:])
