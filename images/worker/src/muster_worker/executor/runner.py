"""The workload types of an executing process: made, loaded with keys, asked to execute."""

import json
import logging
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from muster_sdk import Failed, InvalidInput, Stopped, Task, Wish, Workload
from muster_worker.executor import messages
from muster_worker.executor.run import Run, checked
from muster_worker.tasks import Reason
from muster_worker.workloads import Key, Keyed, KeyMissing, Proof, create, installed

log = logging.getLogger(__name__)

MOST_RESULT_BYTES = 2**20


class Runner:
    """Answers the requests of a worker.

    Args:
        send: hands a message to the worker, from any thread.
    """

    def __init__(self, send: Callable[[messages.Event], None]) -> None:
        self._send = send
        self._types: Mapping[str, Workload] = {}
        self._checkpoint_seconds = 30.0

    def answer(self, request: messages.Message, run: Run | None) -> messages.Reply:
        """The reply to a request.

        Args:
            run: of a request to execute, as `begin` made it.

        Raises:
            TypeError: it is no request.
        """
        match request:
            case messages.Load():
                return self._load(request)
            case messages.Execute():
                return self._execute(request, run)
            case _:
                raise TypeError(f"{type(request).__name__} is no request")

    def begin(self, request: messages.Execute) -> Run | None:
        """The run of a task that is about to be executed; None where its type is unknown."""
        workload = self._types.get(request.task_type)
        return None if workload is None else Run(workload, self._send, self._checkpoint_seconds)

    def close(self) -> None:
        """Let all types go."""
        for name, workload in self._types.items():
            try:
                workload.close()
            except Exception as error:  # noqa: BLE001 - the process ends anyhow
                log.warning("not closed", extra={"type": name, "error": type(error).__name__})

    def _load(self, request: messages.Load) -> messages.Loaded | messages.LoadRefused:
        keys = [Key(key_id, version, Path(path)) for key_id, version, path in request.keys]
        name = ""
        try:
            types = dict(self._types)
            if not types:
                entries = installed()
                for name in request.types:
                    types[name] = create(entries[name], request.options.get(name, {}))
            for workload in types.values():
                if isinstance(workload, Keyed):
                    workload.load(keys)
        except MemoryError:
            raise
        except InvalidInput as error:
            return messages.LoadRefused(f"options.{name}.{error}")
        except Exception as error:
            log.exception("types or keys can't be loaded")
            return messages.LoadRefused(f"{type(error).__name__}: {error}")
        self._types = types
        self._checkpoint_seconds = request.checkpoint_seconds
        return messages.Loaded()

    def _execute(self, request: messages.Execute, run: Run | None) -> messages.Reply:
        workload = self._types.get(request.task_type)
        if workload is None or run is None:
            return messages.failed(
                Reason.UNKNOWN_TYPE,
                f"unknown workload type {request.task_type[:64]!r}; "
                f"known here: {', '.join(sorted(self._types))}",
            )
        try:
            return _executed(workload, _task(request, workload), run)
        except Stopped:
            return _stopped(workload, run)
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a plug-in raises fails its task only
            return _failed(request, error)


def _failed(request: messages.Execute, error: Exception) -> messages.Failed:
    match error:
        case InvalidInput():
            return messages.failed(Reason.INVALID_INPUT, str(error))
        case Failed():
            return messages.failed(Reason.FAILED, error.message, permanent=not error.transient)
        case KeyMissing():
            return messages.failed(Reason.KEY_UNAVAILABLE, str(error))
        case _:
            return _broken(request, error)


def _task(request: messages.Execute, workload: Workload) -> Task:
    given = _mapping(request.payload)
    if isinstance(workload, Keyed):
        workload.choose(request.key_id, request.key_version)
    return Task(request.task_id, given, request.checkpoint, request.attempt, request.customer_id)


def _mapping(payload: bytes) -> Mapping[str, Any]:
    try:
        document = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise InvalidInput("input", f"not JSON: {error}", "a JSON object") from error
    if not isinstance(document, dict):
        raise InvalidInput("input", "not an object", "a JSON object, as in {...}")
    return document


def _executed(workload: Workload, task: Task, run: Run) -> messages.Executed:
    started = time.perf_counter()
    result = workload.execute(task, run)
    seconds = time.perf_counter() - started
    if isinstance(result, Proof):
        return messages.Executed(
            seconds, result.proof, True, json.dumps(dict(result.metadata)), result.merkle_root
        )
    output = json.dumps(result, separators=(",", ":"), allow_nan=False).encode()
    if len(output) > MOST_RESULT_BYTES:
        raise Failed(
            f"result is {len(output)} bytes of JSON; allowed: at most {MOST_RESULT_BYTES}",
            transient=False,
        )
    return messages.Executed(seconds, output)


def _stopped(workload: Workload, run: Run) -> messages.Reply:
    if run.wish is Wish.NONE:
        return messages.failed(Reason.INTERNAL, "it stopped, though nobody asked it to")
    if run.wish is Wish.CANCEL:
        return messages.Stopped(Wish.CANCEL)
    try:
        state = workload.checkpoint()
        if state is not None:
            return messages.Stopped(Wish.PAUSE, kept=True, blob=checked(state))
    except Exception as error:  # noqa: BLE001 - what was saved before is still there
        log.warning("no checkpoint", extra={"error": type(error).__name__})
    return messages.Stopped(Wish.PAUSE)


def _broken(request: messages.Execute, error: Exception) -> messages.Failed:
    # The error's own text may quote a witness, so neither the log nor the report repeats it.
    name = type(error).__name__
    where = "".join(traceback.format_tb(error.__traceback__))
    log.error("workload failed", extra={"task_id": request.task_id, "error": name, "stack": where})
    return messages.failed(Reason.INTERNAL, f"{request.task_type} failed with {name}")
