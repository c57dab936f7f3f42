"""A short run on real processes; `make jepsen` makes many long ones."""

import secrets
import sys
from pathlib import Path

import pytest

from e2e.jepsen.plan import plan
from e2e.jepsen.run import run

pytestmark = pytest.mark.integration

SECONDS = 12.0


async def test_nothing_acknowledged_is_lost_whatever_a_seed_has_against_it(
    tmp_path: Path,
) -> None:
    one = plan(secrets.randbelow(10**6), SECONDS)
    verdict = await run(one, tmp_path)
    sys.stdout.write(verdict.text())
    assert not verdict.faults, verdict.text()
    # The same checker under the same faults finds what is lost where the last write wins.
    assert not verdict.blind, verdict.text()
