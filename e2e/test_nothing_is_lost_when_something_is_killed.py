"""Kill what can be killed while proofs are made; every task completes, and exactly once."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from e2e.fleet import Client, Fleet, client, fixed
from muster_testing.waiting import eventually

pytestmark = pytest.mark.e2e

TASKS = 40
READY = Callable[..., Fleet]


def _inputs(index: int) -> dict[str, Any]:
    return {"leaves": [hex(n + 1) for n in range(8)], "leaf_index": index % 8}


async def _some_completed(fleet: Fleet) -> bool:
    sql = "SELECT count(*) FROM workloads WHERE state = 'COMPLETED'"
    (row,) = await asyncio.to_thread(fleet.query, sql)
    return int(row[0]) >= 3


async def _completed_once(fleet: Fleet, api: Client, ids: list[str]) -> None:
    tasks = await api.all_ended(ids, deadline=900)
    assert {task["status"] for task in tasks} == {"completed"}
    assert all(task["verified"] for task in tasks)
    sql = """SELECT count(*), count(DISTINCT workload_id)
             FROM audit WHERE after = 'COMPLETED'"""
    (row,) = await asyncio.to_thread(fleet.query, sql)
    completions, distinct = map(int, row)
    assert completions == distinct
    assert completions >= TASKS


async def _while_proving(fleet: Fleet, kill: Callable[[], None]) -> None:
    async with client(fleet) as api:
        ids = await asyncio.gather(*(api.submit("merkle", _inputs(n)) for n in range(TASKS)))
        await eventually(lambda: _some_completed(fleet), deadline=300, what="proofs flow")
        await asyncio.to_thread(kill)
        await _completed_once(fleet, api, list(ids))


async def test_a_worker_pod_is_killed(ready: READY) -> None:
    fleet = ready(**fixed(2))
    victim = fleet.pods("worker")[0]["metadata"]["name"]
    await _while_proving(fleet, lambda: fleet.kill(victim))


async def test_the_leading_coordinator_is_killed(ready: READY) -> None:
    fleet = ready(**fixed(2))
    before = await eventually(
        lambda: asyncio.to_thread(fleet.leader), deadline=180, what="a coordinator leads"
    )
    await _while_proving(fleet, lambda: fleet.kill(before))

    async def another_leads() -> bool:
        return await asyncio.to_thread(fleet.leader) not in {"", before}

    await eventually(another_leads, deadline=240, what="another coordinator leads")


@pytest.mark.alone
async def test_the_operator_is_killed(ready: READY, muster: str) -> None:
    fleet = ready(**fixed(2))

    def kill_operator() -> None:
        fleet.cluster.kubectl(
            *("delete", "pods", "-n", muster, "-l", "app.kubernetes.io/component=operator"),
            *("--grace-period=0", "--force", "--wait=false"),
        )

    await _while_proving(fleet, kill_operator)
    # A change made while no operator ran is seen by the next one.
    fleet.cluster.apply(fleet.manifest(**fixed(1)), fleet.namespace)
    await eventually(
        lambda: asyncio.to_thread(lambda: len(fleet.pods("worker")) == 1),
        deadline=300,
        what="the pool has shrunk to one worker",
    )
