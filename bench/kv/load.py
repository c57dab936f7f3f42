"""The generator at work on one store: what it saw, and what the store's processes used for it."""

import contextlib
import os
import signal
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bench import cpu_time
from bench.kv.deployment import Deployment
from bench.proving.contender import Contender

GENERATOR = Path(__file__).parent / "generator"

_GRACE_SECONDS = 120.0
"""What a request may take beyond its own length."""

_MOST_FAILURES = 0.01


@dataclass(frozen=True, slots=True)
class Sample:
    """One run of one operation.

    Attributes:
        operations: that succeeded.
        seconds: from the first to the end of the last.
        p50, p95, p99: time of an operation, ms.
        server_cpu, client_cpu: µs of CPU for each operation.
        load_average: of the machine, over the minute before the end.
        others_cores: what the other stores used meanwhile, cores.
    """

    operations: int
    failures: int
    seconds: float
    p50: float
    p95: float
    p99: float
    server_cpu: float
    client_cpu: float
    load_average: float
    others_cores: float = 0.0

    @property
    def rate(self) -> float:
        """Operations a second."""
        return self.operations / self.seconds


class Load:
    """A generator with its connections to one store.

    Args:
        program: the compiled generator.
        plan: keys, tenants, value_bytes, concurrency, zipf, connections: as the generator's plan.
    """

    def __init__(self, program: Path, deployment: Deployment, plan: Mapping[str, Any]) -> None:
        self.deployment = deployment
        self._plan = dict(plan)
        self._connections = self._plan.pop("connections")
        self._contender = Contender(deployment.name, [str(program)], dict(os.environ))

    def __enter__(self) -> Self:
        try:
            self._ask(0.0, do="open", connections=self._connections, **self.deployment.opening)
        except BaseException:
            self._kill()
            self._contender.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            # It may be at work still, and nobody waits for that any more.
            self._kill()
        self._contender.__exit__(kind, error, trace)

    def fill(self) -> None:
        """Write every key once."""
        self._ask(_GRACE_SECONDS, do="fill", **self._plan)

    def run(self, operation: str, seconds: float, rate: float = 0.0) -> Sample:
        """Reads or writes for a time, so many a second, or as many as go.

        Raises:
            RuntimeError: one of a hundred failed.
        """
        before = cpu_time.seconds(self.deployment.pids)
        found = self._ask(
            seconds, do="run", operation=operation, seconds=seconds, rate=rate, **self._plan
        )
        used = cpu_time.seconds(self.deployment.pids) - before
        done, failed = found["operations"], found["failures"]
        if failed > _MOST_FAILURES * done:
            first = found["first_error"]
            name = self.deployment.name
            raise RuntimeError(f"{name}: {failed} of {done + failed} {operation}s failed: {first}")
        return Sample(
            operations=done,
            failures=failed,
            seconds=found["seconds"],
            p50=found["p50_ms"],
            p95=found["p95_ms"],
            p99=found["p99_ms"],
            server_cpu=used / done * 1e6,
            client_cpu=found["client_cpu_seconds"] / done * 1e6,
            load_average=os.getloadavg()[0],
        )

    def _ask(self, length: float, **request: Any) -> dict[str, Any]:
        # A generator that hangs must not hang the bench.
        watch = threading.Timer(length + _GRACE_SECONDS, self._kill)
        watch.start()
        try:
            return self._contender.ask(**request)
        finally:
            watch.cancel()

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._contender.pid, signal.SIGKILL)
