"""Workload types that do on command what real ones do by accident; found on PYTHONPATH."""

import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from muster_worker.workloads import Context, Result, Task, Workload


class _Scripted(Workload):
    def __init__(self, context: Context) -> None:
        self.context = context

    def execute(self, task: Task) -> Result:
        return Result(self.act(json.loads(task.payload)), {"pid": os.getpid()})

    def act(self, script: Mapping[str, str]) -> bytes:
        raise NotImplementedError


class Gate(_Scripted):
    """Writes its process id to `<gate>.pid`, and ends when the file `gate` is there."""

    def act(self, script: Mapping[str, str]) -> bytes:
        gate = Path(script["gate"])
        gate.with_suffix(".pid").write_text(str(os.getpid()))
        while not gate.exists():
            time.sleep(0.005)
        return b"passed"


class Allocate(_Scripted):
    """Takes memory until there is none."""

    def act(self, script: Mapping[str, str]) -> bytes:
        taken = []
        while True:
            taken.append(bytearray(2**20))


class Crash(_Scripted):
    """Dies of a segmentation fault."""

    def act(self, script: Mapping[str, str]) -> bytes:
        os.kill(os.getpid(), signal.SIGSEGV)
        return b""


class Exit(_Scripted):
    """Ends its process as if that were its own."""

    def act(self, script: Mapping[str, str]) -> bytes:
        sys.exit(3)


class Raise(_Scripted):
    """Fails with an error that quotes its input."""

    def act(self, script: Mapping[str, str]) -> bytes:
        raise RuntimeError(f"can't bear {script['witness']}")
