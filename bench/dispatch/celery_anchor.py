"""The contender that is Celery: Redis, a worker process with many threads, the client here."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

from bench.dispatch.anchors import redis_server
from bench.dispatch.free_port import free_port

_SECONDS = 120.0


@contextlib.contextmanager
def _process(command: list[str]) -> Iterator[None]:
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.kill()


def _run(work: Any, tasks: int) -> float:
    """Seconds from the first submission to the last result."""
    from celery import group  # noqa: PLC0415 - reads the address of the broker

    begun = time.monotonic()
    results = group(work.s(number) for number in range(tasks)).apply_async()
    found = results.join_native(timeout=_SECONDS, interval=0.005)
    seconds = time.monotonic() - begun
    assert len(found) == tasks
    return seconds


def _idle(work: Any, times: int) -> list[float]:
    latencies = []
    for number in range(times):
        begun = time.monotonic()
        started, _ = work.delay(number).get(timeout=_SECONDS, interval=0.005)
        latencies.append(started - begun)
        time.sleep(0.05)
    return latencies


def _serve() -> None:
    from bench.dispatch.celery_tasks import work  # noqa: PLC0415 - reads the address of the broker

    with contextlib.ExitStack() as stack:
        for line in sys.stdin:
            request = json.loads(line)
            answer: dict[str, Any] = {}
            match request["do"]:
                case "open":
                    command = [sys.executable, "-m", "celery", "-A", "bench.dispatch.celery_tasks"]
                    options = ["worker", "--pool=threads", f"--concurrency={request['workers']}"]
                    stack.enter_context(_process([*command, *options]))
                    _run(work, 1)
                case "run":
                    answer = {"seconds": _run(work, request["tasks"])}
                case "idle":
                    answer = {"seconds": _idle(work, request["times"])}
                case what:
                    raise ValueError(f"cannot {what}")
            print(json.dumps(answer), flush=True)


def main() -> None:
    """Answer requests until standard input ends."""
    port = free_port()
    os.environ["BENCH_REDIS"] = f"redis://127.0.0.1:{port}/0"
    command = [redis_server(), "--bind", "127.0.0.1", "--port", str(port), "--save", ""]
    with _process(command):
        _serve()


if __name__ == "__main__":
    main()
