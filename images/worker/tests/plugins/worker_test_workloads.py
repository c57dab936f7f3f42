"""Workload types that do on command what real ones do by accident; found on PYTHONPATH."""

import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from muster_sdk import Context, Environment, Failed, Task, Workload


class _Scripted(Workload):
    def execute(self, task: Task, context: Context) -> object:
        return {"said": self.act(task.input), "pid": os.getpid()}

    def act(self, script: Mapping[str, Any]) -> str:
        raise NotImplementedError


class Gate(_Scripted):
    """Writes its process id to `<gate>.pid`, and ends when the file `gate` is there."""

    def act(self, script: Mapping[str, Any]) -> str:
        gate = Path(script["gate"])
        gate.with_suffix(".pid").write_text(str(os.getpid()))
        while not gate.exists():
            time.sleep(0.005)
        return "passed"


class Allocate(_Scripted):
    """Takes memory until there is none."""

    def act(self, script: Mapping[str, Any]) -> str:
        taken = []
        while True:
            taken.append(bytearray(2**20))


class Crash(_Scripted):
    """Dies of a segmentation fault."""

    def act(self, script: Mapping[str, Any]) -> str:
        os.kill(os.getpid(), signal.SIGSEGV)
        return ""


class Exit(_Scripted):
    """Ends its process as if that were its own."""

    def act(self, script: Mapping[str, Any]) -> str:
        sys.exit(3)


class Raise(_Scripted):
    """Fails with an error that quotes its input."""

    def act(self, script: Mapping[str, Any]) -> str:
        raise RuntimeError(f"can't bear {script['witness']}")


class Talk(Workload):
    """Says what it is told to say, then does as it is told to end."""

    def __init__(self) -> None:
        self._greeting = ""
        self._state = b""

    def init(self, environment: Environment) -> None:
        self._greeting = str(environment.options.get("greeting", ""))

    def execute(self, task: Task, context: Context) -> object:
        script = task.input
        for number in range(script.get("lines", 0)):
            context.log(f"line {number}", "warning" if number == 1 else "info")
        if "percent" in script:
            context.progress(script["percent"], "on the way")
        if "save" in script:
            self._state = script["save"].encode()
            context.save(self._state)
        if script.get("end") == "fail":
            raise Failed("it was told to fail", transient=script["transient"])
        if script.get("end") == "wait":
            while True:
                context.safe_point()
                time.sleep(0.005)
        if script.get("end") == "large":
            return "x" * 2**21
        if script.get("end") == "unheard":
            return {1, 2}
        return {
            "greeting": self._greeting,
            "resumed": None if task.checkpoint is None else task.checkpoint.decode(),
            "attempt": task.attempt,
            "customer": task.customer_id,
        }

    def checkpoint(self) -> bytes | None:
        return self._state or None


def no_workload() -> str:
    """An entry point that gives something else."""
    return json.dumps("nothing")
