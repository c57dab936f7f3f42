"""The executing process: reads requests, executes, replies, until its worker is gone."""

import argparse
import json
import logging
import os
import resource
import socket
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path

from muster_runtime import logs
from muster_worker.executor import confinement, messages
from muster_worker.executor.causes import OUT_OF_MEMORY_STATUS
from muster_worker.tasks import Reason
from muster_worker.workloads import (
    InvalidTask,
    Key,
    KeyMissing,
    Task,
    Workload,
    create,
    installed,
)

log = logging.getLogger(__name__)


def main(argv: Sequence[str]) -> None:
    """Serve the worker at the other end of the socket with the given file descriptor."""
    parser = argparse.ArgumentParser(prog="muster_worker.executor")
    parser.add_argument("--socket", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--curve", required=True)
    parser.add_argument("--memory-limit", type=int)
    options = parser.parse_args(argv)

    confinement.die_with(options.parent)
    confinement.volunteer_for_oom()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump would hold witnesses
    if options.memory_limit is not None:
        confinement.limit_memory(options.memory_limit)
    logs.configure("worker-executor")

    with socket.socket(fileno=options.socket) as connection:
        try:
            _serve(connection, Workloads(options.curve))
        except MemoryError:
            os._exit(OUT_OF_MEMORY_STATUS)


def _serve(connection: socket.socket, workloads: "Workloads") -> None:
    with connection.makefile("rb") as stream:
        while (message := messages.receive(stream.read)) is not None:
            connection.sendall(messages.frame(_answer(message, workloads)))


def _answer(message: messages.Request | messages.Reply, workloads: "Workloads") -> messages.Reply:
    match message:
        case messages.Load():
            return workloads.load(message)
        case messages.Execute():
            return workloads.execute(message)
        case _:
            raise TypeError(f"{type(message).__name__} is no request")


class Workloads:
    """The workload types of this process."""

    def __init__(self, curve: str) -> None:
        self._curve = curve
        self._types: Mapping[str, Workload] = {}

    def load(self, request: messages.Load) -> messages.Loaded | messages.LoadRefused:
        """Hand the keys to all workload types."""
        keys = [Key(key_id, version, Path(path)) for key_id, version, path in request.keys]
        try:
            types = self._types or {
                name: create(entry, self._curve) for name, entry in installed().items()
            }
            for workload in types.values():
                workload.load(keys)
        except MemoryError:
            raise
        except Exception as error:
            log.exception("keys can't be loaded")
            return messages.LoadRefused(f"{type(error).__name__}: {error}")
        self._types = types
        return messages.Loaded()

    def execute(self, request: messages.Execute) -> messages.Executed | messages.Failed:
        """Execute one task and time it."""
        workload = self._types.get(request.task_type)
        if workload is None:
            return messages.failed(
                Reason.UNKNOWN_CIRCUIT,
                f"unknown circuit type {request.task_type!r}; "
                f"known here: {', '.join(sorted(self._types))}",
            )
        task = Task(request.task_id, request.blob, request.key_id, request.key_version)
        started = time.perf_counter()
        try:
            result = workload.execute(task)
            metadata = json.dumps(dict(result.metadata))
        except InvalidTask as error:
            return messages.failed(Reason.INVALID_INPUT, str(error))
        except KeyMissing as error:
            return messages.failed(Reason.KEY_UNAVAILABLE, str(error))
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a plug-in raises fails its task only
            return _broken(request, error)
        return messages.Executed(
            metadata_json=metadata,
            merkle_root=result.merkle_root,
            seconds=time.perf_counter() - started,
            blob=result.output,
        )


def _broken(request: messages.Execute, error: Exception) -> messages.Failed:
    # The error's own text may quote a witness, so neither the log nor the report repeats it.
    name = type(error).__name__
    where = "".join(traceback.format_tb(error.__traceback__))
    log.error("workload failed", extra={"task_id": request.task_id, "error": name, "stack": where})
    return messages.failed(Reason.INTERNAL, f"{request.task_type} failed with {name}")
