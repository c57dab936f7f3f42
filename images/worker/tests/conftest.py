"""A worker under test, in this process or in one of its own, and the coordinator that it meets."""

import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
import yaml

from muster_proving import CircuitSpec, Curve, KeyMaterial, generate_insecure_key
from muster_testing.ports import free_port
from muster_testing.waiting import eventually
from muster_worker.config import WorkerConfig
from muster_worker.grpc_coordinator import GrpcCoordinator
from muster_worker.worker import Worker

from .recording import RecordingCoordinator

PLUGINS = Path(__file__).parent / "plugins"

TYPES = [
    *("prove.merkle", "prove.range", "prove.addition"),
    *("test.gate", "test.allocate", "test.crash", "test.exit", "test.raise", "test.talk"),
    *("sleep", "command", "http"),
]


@pytest.fixture(scope="session")
def keys() -> list[KeyMaterial]:
    """Small keys of every circuit."""
    specs = [("merkle", 3), ("range", 8), ("addition", 0)]
    return [generate_insecure_key(CircuitSpec(name, Curve.BN254, size)) for name, size in specs]


@pytest.fixture(scope="session", autouse=True)
def _plugins() -> Iterator[None]:
    """This process and the executing ones find the workload types of these tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(PLUGINS))
        patch.syspath_prepend(str(PLUGINS))
        yield


@contextlib.asynccontextmanager
async def running_coordinator(keys: list[KeyMaterial]) -> AsyncIterator[RecordingCoordinator]:
    recording = RecordingCoordinator(keys)
    await recording.start()
    yield recording
    await recording.stop()


@pytest_asyncio.fixture
async def coordinator(keys: list[KeyMaterial]) -> AsyncIterator[RecordingCoordinator]:
    """A running coordinator whose pool proves ranges only, as those keys load fastest."""
    async with running_coordinator([key for key in keys if key.spec.name == "range"]) as recording:
        yield recording


def settings(
    coordinator: RecordingCoordinator,
    root: Path,
    *,
    keys: Any = (),
    options: Any = None,
    **worker: Any,
) -> dict[str, Any]:
    """The content of a worker.yaml."""
    return {
        "keys": list(keys),
        "options": options or {},
        "worker": {
            "id": "worker-1",
            "coordinator_address": coordinator.address,
            "pool": "demo",
            "heartbeat_interval": "1s",
            "shutdown_timeout": "10s",
            "ops_port": free_port(),
            "cache_dir": str(root / "cache"),
            "spool_dir": str(root / "spool"),
            "workloads": TYPES,
            **worker,
        },
    }


class Ops:
    """The operations endpoints of a worker; an assertion fails as long as nobody listens."""

    def __init__(self, port: int) -> None:
        self._base = f"http://127.0.0.1:{port}"

    async def ready(self) -> tuple[int, dict[str, Any]]:
        status, text = await self._get("/ready")
        return status, json.loads(text)

    async def health(self) -> dict[str, Any]:
        status, text = await self._get("/health")
        assert status == 200
        body: dict[str, Any] = json.loads(text)
        return body

    async def metric(self, name: str, **labels: str) -> float | None:
        """The value of one sample, such as `worker_tasks_failed_total`."""
        _, text = await self._get("/metrics")
        for line in text.splitlines():
            sample, _, value = line.rpartition(" ")
            if sample.partition("{")[0] == name and all(
                f'{label}="{wanted}"' in sample for label, wanted in labels.items()
            ):
                return float(value)
        return None

    async def until_metric(self, value: float, name: str, **labels: str) -> None:
        async def reached() -> bool:
            return await self.metric(name, **labels) == value

        await eventually(reached, what=f"{name} {labels} is {value}")

    async def until_ready(self) -> None:
        async def ready() -> bool:
            status, body = await self.ready()
            assert status == 200, body
            return True

        # Two processes may have to start one after the other.
        await eventually(ready, deadline=120, what="worker ready")

    async def until_problem(self, words: str) -> dict[str, Any]:
        """Wait until the worker is not ready and says why."""

        async def problem() -> dict[str, Any]:
            status, body = await self.ready()
            assert status == 503
            assert words in body["problem"], body
            return body

        return await eventually(problem, what=f"unready because of {words}")

    async def _get(self, path: str) -> tuple[int, str]:
        try:
            async with aiohttp.ClientSession() as http, http.get(self._base + path) as answer:
                return answer.status, await answer.text()
        except aiohttp.ClientConnectionError as error:
            raise AssertionError(str(error)) from error


async def streaming(coordinator: RecordingCoordinator, ops: Ops) -> None:
    """Wait until a worker is ready, and its stream has reached the coordinator."""
    await ops.until_ready()
    await eventually(lambda: coordinator.streams, what="stream open")


class LocalWorker:
    """A worker in this process; its executing processes are real."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        config = WorkerConfig.model_validate(document)
        self.ops = Ops(config.worker.ops_port)
        worker = Worker(
            config, lambda metrics: GrpcCoordinator(config.link, config.worker.id, metrics)
        )
        self._stop, self.now = asyncio.Event(), asyncio.Event()
        self.run = asyncio.create_task(worker.run(self._stop, self.now))

    async def leave(self) -> None:
        self._stop.set()
        await self.run

    async def abort(self) -> None:
        self.run.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.run


StartWorker = Callable[..., Any]


@pytest_asyncio.fixture
async def local_worker(
    coordinator: RecordingCoordinator, tmp_path: Path
) -> AsyncIterator[StartWorker]:
    """Starts workers in this process: `await local_worker(concurrency=2)`."""
    workers: list[LocalWorker] = []

    async def start(*, ready: bool = True, **worker: Any) -> LocalWorker:
        workers.append(LocalWorker(settings(coordinator, tmp_path, **worker)))
        if ready:
            await streaming(coordinator, workers[-1].ops)
        return workers[-1]

    yield start
    for worker in workers:
        await worker.abort()


class WorkerProcess:
    """A worker in a process of its own, as in a pod."""

    def __init__(self, process: asyncio.subprocess.Process, ops: Ops) -> None:
        self._process = process
        self.ops = ops
        self.pid = process.pid

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    @property
    def running(self) -> bool:
        return self._process.returncode is None

    async def ended(self) -> int:
        async with asyncio.timeout(60):
            return await self._process.wait()


@contextlib.asynccontextmanager
async def started_worker(
    coordinator: RecordingCoordinator, root: Path, **worker: Any
) -> AsyncIterator[WorkerProcess]:
    """A worker process while the context is open."""
    document = settings(coordinator, root, **worker)
    config = root / f"worker-{document['worker']['ops_port']}.yaml"
    config.write_text(yaml.safe_dump(document))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "muster_worker", "--config", str(config)
    )
    started = WorkerProcess(process, Ops(document["worker"]["ops_port"]))
    try:
        yield started
    finally:
        if started.running:
            started.send(signal.SIGKILL)
            await started.ended()


@pytest_asyncio.fixture
async def worker_process(
    coordinator: RecordingCoordinator, tmp_path: Path
) -> AsyncIterator[StartWorker]:
    """Starts real workers: `await worker_process(shutdown_timeout="1s")`."""
    async with contextlib.AsyncExitStack() as workers:

        async def start(*, ready: bool = True, **worker: Any) -> WorkerProcess:
            one = await workers.enter_async_context(started_worker(coordinator, tmp_path, **worker))
            if ready:
                await streaming(coordinator, one.ops)
            return one

        yield start


@pytest.fixture
def gate(tmp_path: Path) -> Iterator["GateFile"]:
    """Holds tasks of the type `test.gate` until it opens; it opens at the latest after the test."""
    opened = GateFile(tmp_path / "gate")
    yield opened
    opened.open()


class GateFile:
    """Two files: by `.pid` the task says who runs it, by the gate it may end."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def script(self) -> bytes:
        return json.dumps({"gate": str(self._path)}).encode()

    async def reached(self) -> int:
        """The process that holds the task."""
        pid_file = self._path.with_suffix(".pid")

        def held() -> str:
            return pid_file.read_text() if pid_file.exists() else ""

        pid = int(await eventually(held, what="task at the gate"))
        pid_file.unlink()
        return pid

    def open(self) -> None:
        self._path.touch()


def alive(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def children(pid: int) -> list[int]:
    """The processes that `pid` started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
