"""A short run on real processes; `make jepsen` makes many long ones."""

import secrets
import shutil
import sys

import pytest

from e2e.jepsen.campaign import Ended, campaign
from e2e.jepsen.plan import Plan, plan

pytestmark = pytest.mark.integration

SECONDS = 12.0
SEEDS = 3


async def _shows_something(one: Plan) -> bool:
    """Carry a plan out; whether what is lost where the last write wins was found."""
    sys.stdout.write(f"seed {one.seed}\n")
    runs: list[Ended] = []
    await campaign([one], 1, runs.append)
    (ended,) = runs
    assert ended.verdict is not None, ended.said
    sys.stdout.write(f"{ended.verdict.line()}\n")
    assert not ended.verdict.faults, [*ended.verdict.wrong(), str(ended.home)]
    if not ended.good:
        shutil.rmtree(ended.home)
    assert not ended.home.exists()
    return ended.good


async def test_nothing_acknowledged_is_lost_whatever_a_seed_has_against_it() -> None:
    # In so short a time little is written on a busy machine. A run in which the same checker finds
    # nothing of a workload under the same faults, where some of it must be lost, shows nothing.
    for _ in range(SEEDS):
        if await _shows_something(plan(secrets.randbelow(10**6), SECONDS)):
            return
    pytest.fail("no run showed anything")
