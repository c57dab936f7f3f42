"""One run: clients at work, a nemesis among them, and what the checker says in the end."""

import asyncio
import time
from collections.abc import Coroutine, Iterable
from pathlib import Path
from typing import Any

from e2e.jepsen.cluster import LAST_WINS, SIBLINGS, store
from e2e.jepsen.history import History, Outcome
from e2e.jepsen.judging import faults, repeated, unlike
from e2e.jepsen.logs import complaints
from e2e.jepsen.nemeses.all import Nemeses
from e2e.jepsen.nemeses.forgetting import FORGOTTEN
from e2e.jepsen.plan import Plan
from e2e.jepsen.verdict import COUNTERS, REGISTERS, SETS, Event, Verdict, broken, counted, during
from e2e.jepsen.workloads import (
    COUNTER,
    SET,
    Workload,
    adding_up,
    deletions,
    increments,
    registers,
    sets,
)


class _Stages:
    """What the stages of a run take."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._begun = time.monotonic()

    def over(self, stage: str) -> None:
        """One has ended, and the next begins."""
        now = time.monotonic()
        self.seconds[stage], self._begun = now - self._begun, now


async def run(plan: Plan, home: Path, dsn: str) -> Verdict:
    """Bring a store up, break it as planned while clients use it, let it heal, and judge.

    What processes logged is left in `home`, and what clients wrote down in `history`.

    Args:
        dsn: of an empty database.
    """
    stages = _Stages()
    async with store(plan, home, dsn) as made:
        stages.over("start")
        safe = Workload(made.fronts, SIBLINGS, plan.seed)
        control = Workload(made.fronts, LAST_WINS, plan.seed)
        nemeses = Nemeses(made, plan)
        over = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            breaking = group.create_task(nemeses.run(over))
            for work in (*_clients(safe), *_clients(control)):
                group.create_task(work)
            await asyncio.sleep(plan.seconds)
            over.set()
            # Whole again, so that whoever waits for an answer gets one.
            await breaking
            stages.over("trouble")
            safe.stop.set()
            control.stop.set()
        (home / "history").write_text(safe.history.text())
        noted = nemeses.noted
        verdict = Verdict(plan, seconds=stages.seconds)
        verdict.faults += await unlike(made, lambda records: noted.update({FORGOTTEN: records}))
        verdict.noted = dict(noted)
        stages.over("healing")
        await _judge(safe, control, verdict)
        _count(safe.history, nemeses, verdict)
        stages.over("judging")
    # Processes have told all when they have ended.
    verdict.complaints = dict(complaints(home))
    stages.over("end")
    return verdict


def _clients(work: Workload) -> Iterable[Coroutine[Any, Any, None]]:
    yield from (registers(work, n) for n in range(4))
    yield deletions(work)
    yield from (sets(work, n, SET) for n in range(3))
    yield from (increments(work, n, COUNTER) for n in range(2))
    yield adding_up(work, COUNTER)


async def _judge(safe: Workload, control: Workload, verdict: Verdict) -> None:
    by_workload = await faults(safe)
    verdict.faults += [fault for found in by_workload.values() for fault in found]
    verdict.faults += repeated(safe)
    # Each once, however many reads show it.
    verdict.control = {
        workload: len({fault.partition(": ")[2] for fault in found})
        for workload, found in (await faults(control)).items()
    }


def _count(history: History, nemeses: Nemeses, verdict: Verdict) -> None:
    events = _events(history)
    verdict.asked = {workload: counted(made) for workload, made in events.items()}
    # A run in which nothing was done shows nothing.
    verdict.faults += [
        f"no write was acknowledged: {workload}"
        for workload, counts in verdict.asked.items()
        if not counts[Outcome.DONE.value]
    ]
    verdict.checked = {"reads": len(history.reads), "repeats": len(history.agains)}
    verdict.broken = broken(nemeses.faults, nemeses.spans)
    verdict.meanwhile = during(nemeses.spans, events)


def _events(history: History) -> dict[str, list[Event]]:
    return {
        REGISTERS: list(history.writes),
        SETS: [addition for addition in history.additions if addition.key == SET],
        COUNTERS: [addition for addition in history.additions if addition.key == COUNTER],
    }
