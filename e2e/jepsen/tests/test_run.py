"""A short run on real processes; `make jepsen` makes many long ones."""

import secrets
import sys
from pathlib import Path

import pytest

from e2e.jepsen.run import run

pytestmark = pytest.mark.integration

SECONDS = 12.0


async def test_nothing_acknowledged_is_lost_while_processes_are_killed_and_stopped(
    tmp_path: Path,
) -> None:
    seed = secrets.randbelow(10**6)
    verdict = await run(seed, SECONDS, tmp_path)
    sys.stdout.write(verdict.text())
    assert not verdict.faults, verdict.text()
    # The same checker under the same faults finds what is lost where the last write wins.
    assert verdict.control, f"seed {seed}: the checker is blind"
