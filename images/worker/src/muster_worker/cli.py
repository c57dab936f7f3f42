"""The command `muster-worker`."""

import argparse
import asyncio
import logging
import os
import platform
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from muster_broker.access import Access
from muster_runtime import logs
from muster_runtime.config import ConfigError
from muster_runtime.process import run_until_signalled
from muster_runtime.tracing import Tracer, tracer
from muster_worker import __version__
from muster_worker.cgroup import available_cpus
from muster_worker.config import WorkerConfig, load_config
from muster_worker.coordinator import Coordinator
from muster_worker.grpc_coordinator import GrpcCoordinator
from muster_worker.metrics import Metrics
from muster_worker.nats_coordinator import NatsCoordinator
from muster_worker.worker import Worker

log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a worker until it is told to leave.

    Returns:
        0 after an orderly end, 1 after a failure, 2 for a wrong configuration.
    """
    parser = argparse.ArgumentParser(
        prog="muster-worker",
        description="Executes Muster's tasks.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", "-config", type=Path, help="path of worker.yaml")
    parser.add_argument("--version", "-version", action="version", version=version_text())
    options = parser.parse_args(argv)
    try:
        config = load_config(options.config, os.environ)
        traces = tracer("muster-worker", __version__, config.worker.id, os.environ)
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    logs.configure("worker")

    async def serve(stop: asyncio.Event) -> int:
        return await _serve(config, traces, stop)

    try:
        return run_until_signalled(serve)
    finally:
        traces.close()


def version_text() -> str:
    """What `--version` writes: version, Python, system and CPUs, one a line."""
    return "\n".join(
        (
            f"Muster worker {__version__}",
            f"Python {platform.python_version()}",
            f"OS/Arch: {platform.system().lower()}/{platform.machine()}",
            f"CPUs: {available_cpus()}",
        )
    )


def _coordinator(config: WorkerConfig, metrics: Metrics) -> Coordinator:
    if config.broker.enabled:
        return NatsCoordinator(Access(config.broker), config.worker.id, metrics)
    link = config.link
    if link.token_file is not None and link.tls is None:
        log.warning("the token is sent without TLS: whoever sees the traffic can use it")
    return GrpcCoordinator(link, config.worker.id, metrics)


async def _serve(config: WorkerConfig, traces: Tracer, stop: asyncio.Event) -> int:
    now = asyncio.Event()

    def signalled() -> None:
        (now if stop.is_set() else stop).set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, signalled)
    worker = Worker(config, lambda metrics: _coordinator(config, metrics), traces)
    try:
        await worker.run(stop, now)
    except Exception:
        log.exception("worker failed")
        return 1
    return 0
