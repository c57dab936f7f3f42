"""One run: clients at work, a nemesis among them, and what the checker says in the end."""

import asyncio
import time
from collections import Counter
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from e2e.jepsen.checks import lost_or_back, missing_elements, not_recognised, wrong_totals
from e2e.jepsen.cluster import LAST_WINS, SIBLINGS, Store, store
from e2e.jepsen.history import Outcome, Read
from e2e.jepsen.logs import complaints
from e2e.jepsen.nemeses.all import Nemeses
from e2e.jepsen.plan import Plan
from e2e.jepsen.workloads import (
    Workload,
    adding_up,
    increments,
    members,
    registers,
    sets,
    total,
)
from muster_testing.waiting import eventually

_SET, _COUNTER = "set", "counter"
_HEALING_SECONDS = 120.0


@dataclass(slots=True)
class Verdict:
    """What a run showed.

    Args:
        faults: what is wrong; none in a store that keeps its promises.
        control: what is wrong where the last write wins, under the same faults at the same time.
        requests: how many ended how.
        nemesis: what was done to the store.
        complaints: errors that its processes have logged; some are what was to be expected.
    """

    plan: Plan
    faults: list[str] = field(default_factory=list)
    control: list[str] = field(default_factory=list)
    requests: Counter[str] = field(default_factory=Counter)
    nemesis: Counter[str] = field(default_factory=Counter)
    complaints: Counter[str] = field(default_factory=Counter)

    @property
    def blind(self) -> bool:
        """Whether it shows nothing: the checker did not find what it must find."""
        return not self.control

    def text(self) -> str:
        """A few lines for people."""
        counts = ", ".join(f"{count} {name}" for name, count in sorted(self.requests.items()))
        done = ", ".join(f"{name} {count}" for name, count in sorted(self.nemesis.items()))
        seed, against = self.plan.seed, self.plan.names
        lines = [f"seed {seed} ({against}): {len(self.faults)} faults; {counts}"]
        lines += [f"  nemeses: {done}"]
        lines += [f"  logged {count} times: {error}" for error, count in self.complaints.items()]
        lines += [f"  FAULT {fault}" for fault in self.faults]
        must = "none, so this run shows nothing" if self.blind else "as it must have"
        return "\n".join([*lines, f"  control: {len(self.control)} losses, {must}"])


async def run(plan: Plan, home: Path) -> Verdict:
    """Bring a store up, break it as planned while clients use it, let it heal, and judge.

    What processes logged is left in `home`, and what clients wrote down in `history`.
    """
    async with store(plan, home) as made:
        safe = Workload(made.fronts, SIBLINGS, plan.seed)
        control = Workload(made.fronts, LAST_WINS, plan.seed)
        nemeses = Nemeses(made, plan)
        over = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            breaking = group.create_task(nemeses.run(over))
            clients = [registers(safe, n) for n in range(4)]
            for work in (*clients, *_shared(safe), *_shared(control)):
                group.create_task(work)
            await asyncio.sleep(plan.seconds)
            over.set()
            # Whole again, so that whoever waits for an answer gets one.
            await breaking
            safe.stop.set()
            control.stop.set()
        verdict = Verdict(plan, nemesis=nemeses.done)
        (home / "history").write_text(safe.history.text())
        await _judge(made, safe, control, verdict)
    # Processes have told all when they have ended.
    verdict.complaints = complaints(home)
    return verdict


def _shared(work: Workload) -> Iterable[Coroutine[Any, Any, None]]:
    yield from (sets(work, n, _SET) for n in range(3))
    yield from (increments(work, n, _COUNTER) for n in range(2))
    yield adding_up(work, _COUNTER)


async def _judge(made: Store, safe: Workload, control: Workload, verdict: Verdict) -> None:
    verdict.faults += await _unlike(made, verdict)
    history = safe.history
    last = [
        Read(key, await _final(safe, key), *_now())
        for key in sorted({write.key for write in history.writes})
    ]
    verdict.faults += lost_or_back(history.writes, [*history.reads, *last])
    verdict.faults += not_recognised(history.agains)
    verdict.faults += await _shared_faults(safe)
    verdict.control += await _shared_faults(control)
    outcomes = [write.outcome for write in history.writes]
    outcomes += [addition.outcome for addition in history.additions]
    verdict.requests.update(f"writes {outcome.value}" for outcome in outcomes)
    verdict.requests["reads done"] = len(history.reads)
    verdict.requests["writes asked for again"] = len(history.agains)
    # A run in which nothing was done shows nothing.
    if not verdict.requests[f"writes {Outcome.DONE.value}"]:
        verdict.faults.append("no write was acknowledged")


async def _unlike(made: Store, verdict: Verdict) -> list[str]:
    """What replicas do not have alike, however often they bring it to each other.

    Hints may still be on their way at first.
    """
    differing: list[str] = []

    async def alike() -> bool:
        forgotten = await made.anti_entropy()
        assert forgotten is not None, "a node does not answer"
        verdict.nemesis["records forgotten"] += forgotten
        differing[:] = await made.differing()
        return not differing

    try:
        await eventually(alike, deadline=_HEALING_SECONDS, every=0.5, what="replicas are alike")
    except AssertionError as error:
        return [str(error), *differing]
    return []


async def _shared_faults(work: Workload) -> list[str]:
    additions = work.history.additions
    elements = {_SET: members(await _final(work, _SET))}
    totals = {_COUNTER: total(await _final(work, _COUNTER))}
    to_set = [addition for addition in additions if addition.key == _SET]
    to_counter = [addition for addition in additions if addition.key == _COUNTER]
    return missing_elements(to_set, elements) + wrong_totals(to_counter, totals)


async def _final(work: Workload, key: str) -> frozenset[str]:
    """What all replicas together hold; those that were behind are repaired by this."""
    connection = work.connection(0)

    async def seen() -> tuple[frozenset[str]] | None:
        found = await connection.read(key, "all")
        return None if found is None else (found.values,)

    (values,) = await eventually(seen, deadline=_HEALING_SECONDS, what=f"{key} is read from all")
    return values


def _now() -> tuple[float, float]:
    return time.monotonic(), time.monotonic()
