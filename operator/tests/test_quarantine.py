"""Workers that lied: who is said to be in quarantine, and which Events tell of it."""

from typing import Any

import pytest

from muster_api.conditions import EventReason
from muster_api.proverpool import Quarantine
from muster_operator.reconcile.quarantine import quarantined, told_of_quarantine
from muster_operator.resources import EVENTS, PROVER_POOLS, Key
from muster_operator.telemetry.report import Report, Worker
from muster_testing.waiting import eventually

from .conftest import Operators, Space
from .coordinators import FakeCoordinator, pool_numbers

UNTIL = "2026-01-01T01:00:00+00:00"
LATER = "2026-01-01T03:00:00+00:00"
LIAR = Quarantine(worker="w-1", reason="a wrong proof", until=UNTIL)


def report(**workers: Worker) -> Report:
    return Report(workers={name.replace("_", "-"): workers[name] for name in workers})


def liar(pool: str = "demo", until: str = UNTIL) -> Worker:
    return Worker(pool, "QUARANTINED", "a wrong proof", until)


def test_only_the_pools_own_liars_are_named() -> None:
    said = report(w_1=liar(), w_2=Worker("demo"), w_3=liar("another"))
    assert quarantined("demo", said, []) == [LIAR]


def test_while_nobody_knows_it_stays_as_it_was() -> None:
    assert quarantined("demo", None, [LIAR]) == [LIAR]
    assert told_of_quarantine([LIAR], [LIAR], None) == []


def test_each_change_is_told_once() -> None:
    said = report(w_1=liar())
    assert told_of_quarantine([], [LIAR], said) == [
        (EventReason.WORKER_QUARANTINED, f"w-1: a wrong proof, until {UNTIL}")
    ]
    assert told_of_quarantine([LIAR], [LIAR], said) == []
    freed = report(w_1=Worker("demo"))
    assert told_of_quarantine([LIAR], [], freed) == [
        (EventReason.WORKER_RELEASED, "w-1 gets tasks again")
    ]


def test_one_who_lies_again_is_told_again() -> None:
    again = LIAR.model_copy(update={"until": LATER})
    ((reason, note),) = told_of_quarantine([LIAR], [again], report(w_1=liar(until=LATER)))
    assert reason is EventReason.WORKER_QUARANTINED
    assert LATER in note


def test_one_who_is_gone_was_not_released() -> None:
    assert told_of_quarantine([LIAR], [], report()) == []


@pytest.mark.integration
@pytest.mark.usefixtures("operator")
async def test_a_quarantine_and_its_end_are_events(space: Space, operators: Operators) -> None:
    async with FakeCoordinator(pool_numbers("demo")).serving() as coordinator:
        worker: dict[str, Any] = {
            "worker_id": "w-1",
            "pool": "demo",
            "active_tasks": 0,
            "status": "QUARANTINED",
            "reason": "a wrong proof",
            "quarantined_until": UNTIL,
        }
        coordinator.workers = [worker]
        operators.urls[Key("Coordinator", space.name, "demo")] = coordinator.url
        await space.pool()

        async def told(reason: str, *workers: str) -> bool:
            status = (await space.the(PROVER_POOLS, "demo")).get("status", {})
            named = [each["worker"] for each in status.get("quarantined", [])]
            assert named == [*workers]
            events = await space.cluster.list(EVENTS, space.name)
            found = [each for each in events if each["reason"] == reason]
            assert [(each.get("series"), each["regarding"]["name"]) for each in found] == [
                (None, "demo")
            ]
            return True

        await eventually(lambda: told("WorkerQuarantined", "w-1"), what="it is told")
        coordinator.workers = [{**worker, "status": "ACTIVE", "quarantined_until": None}]
        await eventually(lambda: told("WorkerReleased"), what="its end is told")
        assert await told("WorkerReleased")
