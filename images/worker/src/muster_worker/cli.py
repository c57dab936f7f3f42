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

from muster_runtime import logs
from muster_runtime.config import ConfigError
from muster_runtime.process import run_until_signalled
from muster_runtime.tracing import Tracer, tracer
from muster_worker import __version__
from muster_worker.cgroup import available_cpus
from muster_worker.config import WorkerConfig, load_config
from muster_worker.grpc_coordinator import GrpcCoordinator
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


async def _serve(config: WorkerConfig, traces: Tracer, stop: asyncio.Event) -> int:
    now = asyncio.Event()

    def signalled() -> None:
        (now if stop.is_set() else stop).set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, signalled)
    link = config.link
    if link.token_file is not None and link.tls is None:
        log.warning("the token is sent without TLS: whoever sees the traffic can use it")
    worker = Worker(
        config, lambda metrics: GrpcCoordinator(link, config.worker.id, metrics), traces
    )
    try:
        await worker.run(stop, now)
    except Exception:
        log.exception("worker failed")
        return 1
    return 0
