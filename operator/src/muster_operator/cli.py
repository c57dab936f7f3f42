"""The command `muster-operator`."""

import argparse
import asyncio
import os
import socket
import sys
from importlib.metadata import version
from pathlib import Path

from muster_operator.config import OperatorConfig
from muster_operator.operator import Identity, Operator
from muster_operator.watching import quiet_kopf
from muster_runtime.config import ConfigError, load
from muster_runtime.logs import configure
from muster_runtime.process import run_until_signalled


def main() -> int:
    """Run the command line; the exit status is 2 where the configuration is wrong."""
    parser = argparse.ArgumentParser(prog="muster-operator", description=__doc__)
    parser.add_argument("--config", type=Path, help="YAML file; MUSTER_* variables go over it")
    parser.add_argument("--version", action="version", version=version("muster-operator"))
    options = parser.parse_args()
    try:
        config = load(OperatorConfig, options.config, os.environ)
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    configure("operator", config.muster.log_level)
    quiet_kopf()
    identity = Identity(
        os.environ.get("POD_NAME") or socket.gethostname(),
        os.environ.get("POD_NAMESPACE") or "default",
    )

    async def run(stop: asyncio.Event) -> int:
        await Operator(config, identity).run(stop)
        return 0

    return run_until_signalled(run)
