"""The command `muster-coordinator`."""

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import asyncpg

from muster_broker.access import Access
from muster_coordinator import keys_command
from muster_coordinator.app import Coordinator
from muster_coordinator.config import CoordinatorConfig
from muster_coordinator.engine.errors import Unavailable
from muster_coordinator.store.database import Database
from muster_coordinator.store.witnesses import (
    ALLOWED,
    Witnesses,
    WitnessKeysError,
    read_witness_keys,
)
from muster_coordinator.store.workers import PostgresWorkers
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
    parser.add_argument(
        "--lift-quarantine",
        metavar="WORKER",
        help="trust a worker again that reported a wrong proof, and end",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {own_version}")
    keys_command.add_parser(parser.add_subparsers(dest="command", metavar="keys"))
    arguments = parser.parse_args(argv)
    logs.configure("coordinator")
    try:
        config = load(CoordinatorConfig, arguments.config, os.environ)
        dsn = read_dsn(config.database.dsn_file)
        witnesses = read_witnesses(config.database.witness_key_file)
        if config.broker.enabled:
            Access(config.broker)
        identity = config.coordinator.identity(os.environ)
        traces = tracer("muster-coordinator", own_version, identity, os.environ)
    except ConfigError as error:
        print(error, file=sys.stderr)  # noqa: T201 - for whoever started it by hand
        return _BAD_CONFIGURATION
    if arguments.command == "keys":
        return asyncio.run(keys_command.run(arguments, dsn))
    if arguments.lift_quarantine:
        return asyncio.run(lift_quarantine(dsn, arguments.lift_quarantine))
    if not witnesses.sealing:
        log.warning("witnesses are stored in plain text: database.witness_key_file is not set")
    coordinator = Coordinator(config, dsn, os.environ, traces, witnesses)

    async def run(stop: asyncio.Event) -> int:
        return await coordinator.run(stop, own_version)

    try:
        return run_until_signalled(run)
    except Exception:
        log.exception("stopped by an error")
        return 1
    finally:
        traces.close()


async def lift_quarantine(dsn: str, worker_id: str) -> int:
    """Trust a worker again; the exit status, 1 where it is not in quarantine."""
    try:
        async with Database(dsn) as database:
            lifted = await PostgresWorkers(database).lift_quarantine(worker_id)
    except (Unavailable, OSError, TimeoutError, asyncpg.PostgresError) as error:
        print(f"the database is away: {type(error).__name__}", file=sys.stderr)  # noqa: T201
        return 1
    if not lifted:
        print(f"worker {worker_id} is not in quarantine", file=sys.stderr)  # noqa: T201
        return 1
    print(f"worker {worker_id} is trusted again")  # noqa: T201
    return 0


def read_witnesses(path: Path | None) -> Witnesses:
    """The keys that inputs are sealed with at rest; none where no file is named.

    Raises:
        ConfigError: the file can't be used; the text shows nothing of what it says.
    """
    if path is None:
        return Witnesses()
    try:
        return read_witness_keys(path)
    except WitnessKeysError as error:
        raise ConfigError(
            [f"database.witness_key_file: got {error}; allowed: {ALLOWED}"]
        ) from error


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
