"""The command `muster-kv-coordinator`."""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from muster_kv_coordinator.app import KvCoordinator
from muster_kv_coordinator.config import KvConfig, environment
from muster_runtime import logs
from muster_runtime.config import ConfigError, load
from muster_runtime.process import run_until_signalled

log = logging.getLogger(__name__)

_BAD_CONFIGURATION = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run a coordinator until SIGTERM; the exit status.

    0 after an orderly stop, 1 where it can't serve, 2 for a wrong configuration.
    """
    own_version = version("muster-coordinator")
    parser = argparse.ArgumentParser(
        prog="muster-kv-coordinator", description="The coordinator of the key-value store."
    )
    parser.add_argument(
        "--config",
        type=Path,
        default=Path("/etc/muster/kv-coordinator.yaml"),
        help="configuration file (%(default)s); environment variables go over it",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {own_version}")
    arguments = parser.parse_args(argv)
    logs.configure("kv-coordinator")
    try:
        config = load(KvConfig, arguments.config, environment(os.environ))
        coordinator = KvCoordinator(config, os.environ, own_version)
    except ConfigError as error:
        print(error, file=sys.stderr)  # noqa: T201 - for whoever started it by hand
        return _BAD_CONFIGURATION
    level = config.logging.level
    logs.configure("kv-coordinator", "warning" if level == "warn" else level)
    try:
        return run_until_signalled(coordinator.run)
    except Exception:
        log.exception("stopped by an error")
        return 1
