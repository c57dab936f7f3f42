"""The command `muster-coordinator`."""

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from muster_coordinator.app import Coordinator
from muster_coordinator.config import CoordinatorConfig
from muster_runtime import logs
from muster_runtime.config import ConfigError, load
from muster_runtime.process import run_until_signalled
from muster_runtime.tracing import tracer

log = logging.getLogger(__name__)

_BAD_CONFIGURATION = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run a coordinator until SIGTERM; the exit status.

    0 after an orderly stop, 1 where it can't serve, 2 for a wrong configuration.
    """
    own_version = version("muster-coordinator")
    parser = argparse.ArgumentParser(
        prog="muster-coordinator", description="The control plane of a fleet."
    )
    parser.add_argument(
        "--config",
        type=Path,
        default=Path("/etc/muster/coordinator.yaml"),
        help="configuration file (%(default)s); environment variables go over it",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {own_version}")
    arguments = parser.parse_args(argv)
    logs.configure("coordinator")
    try:
        config = load(CoordinatorConfig, arguments.config, os.environ)
        dsn = read_dsn(config.database.dsn_file)
        identity = config.coordinator.identity(os.environ)
        traces = tracer("muster-coordinator", own_version, identity, os.environ)
    except ConfigError as error:
        print(error, file=sys.stderr)  # noqa: T201 - for whoever started it by hand
        return _BAD_CONFIGURATION
    coordinator = Coordinator(config, dsn, os.environ, traces)

    async def run(stop: asyncio.Event) -> int:
        return await coordinator.run(stop, own_version)

    try:
        return run_until_signalled(run)
    except Exception:
        log.exception("stopped by an error")
        return 1
    finally:
        traces.close()


def read_dsn(path: Path) -> str:
    """The connection string in a file.

    Raises:
        ConfigError: there is none; the text does not show what the file says, which is a secret.
    """
    allowed = "a file with one line such as postgresql://user:password@host:5432/database"
    try:
        dsn = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigError(
            [f"database.dsn_file: got {str(path)!r} ({error.strerror}); allowed: {allowed}"]
        ) from error
    if not dsn.startswith(("postgresql://", "postgres://")):
        raise ConfigError(
            [f"database.dsn_file: {str(path)!r} has no connection string; allowed: {allowed}"]
        )
    return dsn
