"""Other processes of this machine."""

from __future__ import annotations

import os
import signal
from pathlib import Path

_PROC = Path("/proc")


def send(process: int, number: signal.Signals) -> None:
    """Send a signal to a process, if it is still there."""
    try:
        os.kill(process, number)
    except ProcessLookupError:
        return


def command_line(process: int) -> str:
    """Return the command line of a process, words apart by NUL; empty if it is not there."""
    try:
        return (_PROC / str(process) / "cmdline").read_bytes().decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def everybody() -> list[int]:
    """Return all processes."""
    return [int(folder.name) for folder in _PROC.glob("[0-9]*")]


def end_children() -> None:
    """End what this process has started in its own session and that still runs."""
    for child in everybody():
        try:
            status = (_PROC / str(child) / "stat").read_text(encoding="utf-8")
        except (FileNotFoundError, ProcessLookupError):
            continue
        parent, session = parent_and_session(status)
        if parent == os.getpid() and session == os.getsid(0):
            send(child, signal.SIGTERM)


def parent_and_session(status: str) -> tuple[int, int]:
    """Return the parent and the session of a process, from the text of ``/proc/…/stat``."""
    # The name of the program, in parentheses, may itself have blanks and parentheses.
    fields = status.rpartition(")")[2].split()
    return int(fields[1]), int(fields[3])


def with_mark(mark: str) -> list[int]:
    """Return the processes, but this one, with a mark in their command line."""
    others = (process for process in everybody() if process != os.getpid())
    return [process for process in others if mark in command_line(process)]


def of_pid_file(file: Path, mark: str) -> int | None:
    """Return the live process of a pid file, if its command line has a mark of ours.

    After a crash the number may belong to another program by now.
    """
    try:
        process = int(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return process if mark in command_line(process) else None
