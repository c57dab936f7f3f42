"""What a store that has healed holds, against what its clients were told."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from e2e.jepsen.checks import lost_or_back, missing_elements, not_recognised, wrong_totals
from e2e.jepsen.cluster import Store
from e2e.jepsen.history import Read
from e2e.jepsen.verdict import COUNTERS, REGISTERS, SETS
from e2e.jepsen.workloads import COUNTER, SET, Workload, members, total
from muster_testing.waiting import eventually

_HEALING_SECONDS = 120.0


async def unlike(made: Store, forgotten: Callable[[int], None]) -> list[str]:
    """What replicas do not have alike, however often they bring it to each other.

    Hints may still be on their way at first.

    Args:
        forgotten: is told how many records each round forgot.
    """
    differing: list[str] = []

    async def alike() -> bool:
        records = await made.anti_entropy()
        assert records is not None, "a node does not answer"
        forgotten(records)
        differing[:] = await made.differing()
        return not differing

    try:
        await eventually(alike, deadline=_HEALING_SECONDS, every=0.1, what="replicas are alike")
    except AssertionError as error:
        return [str(error), *differing]
    return []


async def faults(work: Workload) -> dict[str, list[str]]:
    """By workload, what a tenant's clients were told that is not so."""
    history = work.history
    registers = sorted({write.key for write in history.writes})
    final = await _final(work, [*registers, SET, COUNTER])
    now = time.monotonic()
    last = [Read(key, final[key], now, now) for key in registers]
    additions = {
        key: [addition for addition in history.additions if addition.key == key]
        for key in (SET, COUNTER)
    }
    return {
        REGISTERS: lost_or_back(history.writes, [*history.reads, *last]),
        SETS: missing_elements(additions[SET], {SET: members(final[SET])}),
        COUNTERS: wrong_totals(additions[COUNTER], {COUNTER: total(final[COUNTER])}),
    }


def repeated(work: Workload) -> list[str]:
    """Writes that were asked for once more, and happened once more."""
    return not_recognised(work.history.agains)


async def _final(work: Workload, keys: list[str]) -> dict[str, frozenset[str]]:
    """What all replicas together hold; those that were behind are repaired by this."""
    connection = work.connection(0)

    async def read(key: str) -> frozenset[str]:
        async def seen() -> tuple[frozenset[str]] | None:
            found = await connection.read(key, "all")
            return None if found is None else (found.values,)

        what = f"{key} is read from all"
        (values,) = await eventually(seen, deadline=_HEALING_SECONDS, what=what)
        return values

    reads: list[Awaitable[frozenset[str]]] = [read(key) for key in keys]
    return dict(zip(keys, await asyncio.gather(*reads), strict=True))
