import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from muster_operator.metrics import OperatorMetrics
from muster_operator.resources import Key
from muster_operator.telemetry import poll
from muster_operator.telemetry.poll import Telemetry, in_cluster
from muster_operator.telemetry.report import QueueNumbers, ReportError, parse_report
from muster_testing.waiting import eventually

from .coordinators import FakeCoordinator

DEMO = Key("Coordinator", "proofs", "demo")
POOL = {
    "pool": "demo",
    "pending": 3,
    "assigned": 1,
    "in_progress": 2,
    "oldest_pending_seconds": 7.9,
}
QUEUE: dict[str, Any] = {
    "pools": [POOL],
    "keys": [{"pool": "demo", "key_id": "k@bn254", "version": "sha256:1"}],
    "leader": "demo-coordinator-0",
    "epoch": 3,
}
WORKERS = {"workers": [{"worker_id": "w-1", "pool": "demo", "active_tasks": 2}]}


def test_a_report_is_read() -> None:
    report = parse_report(QUEUE, WORKERS)
    assert report.queue("demo") == QueueNumbers(3, 1, 2, 7)
    assert report.queue("demo").outstanding == 6
    assert report.queue("never-asked").outstanding == 0
    assert report.loads == {"w-1": 2}
    assert report.keys == {"demo": {"k@bn254": "sha256:1"}}
    assert report.leader == "demo-coordinator-0"


@pytest.mark.parametrize(
    ("queue", "workers"),
    [
        ({}, WORKERS),
        ({"pools": [{}]}, WORKERS),
        ({"pools": [POOL | {"pending": "many"}]}, WORKERS),
        ({"pools": ["demo"]}, WORKERS),
        (QUEUE, {}),
        (QUEUE, {"workers": [{"worker_id": "w"}]}),
    ],
)
def test_an_answer_of_another_form_is_refused(queue: Any, workers: Any) -> None:
    with pytest.raises(ReportError, match="not the agreed form"):
        parse_report(queue, workers)


def test_coordinators_are_asked_at_their_service() -> None:
    assert in_cluster(DEMO) == "http://demo-coordinator.proofs.svc:8090"


@contextlib.asynccontextmanager
async def polling(telemetry: Telemetry) -> AsyncIterator[None]:
    task = asyncio.create_task(telemetry.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def telemetry_of(known: list[Key], coordinator: FakeCoordinator, changes: list[Key]) -> Telemetry:
    telemetry = Telemetry(
        lambda: known, OperatorMetrics(), url=lambda _: coordinator.url, interval=0.01
    )
    telemetry.changed = changes.append
    return telemetry


async def test_a_changed_report_is_announced_once() -> None:
    changes: list[Key] = []
    async with FakeCoordinator(POOL).serving() as coordinator:
        telemetry = telemetry_of([DEMO], coordinator, changes)
        async with polling(telemetry):
            await eventually(lambda: coordinator.asked > 5, what="asked several times")
            assert changes == [DEMO]
            coordinator.queue = QUEUE | {"pools": [POOL | {"pending": 50}]}
            await eventually(lambda: len(changes) == 2, what="the change is announced")
            report = telemetry.fresh(DEMO)
            assert report is not None
            assert report.queue("demo").pending == 50


async def test_a_report_that_is_too_old_counts_for_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(poll, "STALE_SECONDS", 0.2)
    async with FakeCoordinator(POOL).serving() as coordinator:
        telemetry = telemetry_of([DEMO], coordinator, [])
        async with polling(telemetry):
            await eventually(lambda: telemetry.fresh(DEMO) is not None, what="a report")
            coordinator.status = 503
            await eventually(lambda: telemetry.fresh(DEMO) is None, what="it gets too old")
            coordinator.status = 200
            await eventually(lambda: telemetry.fresh(DEMO) is not None, what="a new report")


async def test_a_coordinator_that_is_gone_is_forgotten() -> None:
    known = [DEMO]
    async with FakeCoordinator(POOL).serving() as coordinator:
        telemetry = telemetry_of(known, coordinator, [])
        async with polling(telemetry):
            await eventually(lambda: telemetry.fresh(DEMO) is not None, what="a report")
            known.clear()
            await eventually(lambda: telemetry.fresh(DEMO) is None, what="it is forgotten")


async def test_one_that_does_not_answer_keeps_nobody_else_waiting() -> None:
    silent = Key("Coordinator", "proofs", "silent")
    async with FakeCoordinator(POOL).serving() as coordinator:
        # Nobody listens on port 1.
        urls = {DEMO: coordinator.url, silent: "http://127.0.0.1:1"}
        telemetry = Telemetry(
            lambda: [silent, DEMO], OperatorMetrics(), url=urls.__getitem__, interval=0.01
        )
        async with polling(telemetry):
            await eventually(lambda: telemetry.fresh(DEMO) is not None, what="a report")
            assert telemetry.fresh(silent) is None


async def test_many_that_hang_leave_time_to_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poll, "_DEADLINE_SECONDS", 1.0)
    hanging = [Key("Coordinator", "proofs", f"hanging-{number}") for number in range(100)]
    async with FakeCoordinator().serving() as silent, FakeCoordinator(POOL).serving() as other:
        silent.answering.clear()
        urls = {DEMO: other.url, **dict.fromkeys(hanging, silent.url)}
        telemetry = Telemetry(
            lambda: [*hanging, DEMO], OperatorMetrics(), url=urls.__getitem__, interval=0.01
        )
        async with polling(telemetry):
            await eventually(lambda: telemetry.fresh(DEMO) is not None, what="a report")
        silent.answering.set()
