"""A short run on real processes; `make jepsen` makes many long ones."""

import secrets
import sys

import pytest

from e2e.jepsen.campaign import Ended, campaign
from e2e.jepsen.plan import plan

pytestmark = pytest.mark.integration

SECONDS = 12.0


async def test_nothing_acknowledged_is_lost_whatever_a_seed_has_against_it() -> None:
    one = plan(secrets.randbelow(10**6), SECONDS)
    sys.stdout.write(f"seed {one.seed}\n")
    runs: list[Ended] = []
    await campaign([one], 1, runs.append)
    (ended,) = runs
    assert ended.verdict is not None, ended.said
    sys.stdout.write(ended.verdict.line())
    # The same checker under the same faults finds what is lost where the last write wins.
    assert ended.good, [ended.verdict.line(), *ended.verdict.wrong(), str(ended.home)]
    assert not ended.home.exists()
