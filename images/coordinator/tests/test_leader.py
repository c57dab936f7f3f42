"""When a leader stops leading by itself."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from muster_coordinator.engine.errors import StaleEpoch, Unavailable
from muster_coordinator.engine.leader import Leader, LeaderSettings
from muster_coordinator.engine.model import Moved, Worker
from muster_coordinator.engine.ports import LeaderStore, Meter, WorkerStore
from muster_coordinator.engine.retry import RetryPolicy
from muster_coordinator.engine.scheduling.strategies import LeastLoaded
from muster_testing.waiting import eventually


class Store:
    """A leader's store that fails in one way, from the n-th look at the queue on."""

    def __init__(self, error: Exception | None, after: int = 0) -> None:
        self.error = error
        self.after = after
        self.looks = 0
        self.traces: list[int] = []

    async def take_epoch(self, _holder: str) -> tuple[int, datetime]:
        return 7, datetime.now(UTC)

    async def now(self) -> datetime:
        return datetime.now(UTC)

    async def fenced(self, epoch: int, _holder: str) -> None:
        self.traces.append(epoch)

    async def assign_few(self, *_: Any) -> Sequence[Moved]:
        self.looks += 1
        if self.error is not None and self.looks > self.after:
            raise self.error
        return []

    async def amiss(self, *_: Any) -> bool:
        return True

    async def judge_workers(self, *_: Any) -> Sequence[Any]:
        return []

    async def recover(self, *_: Any) -> Sequence[Any]:
        return []

    async def expire(self, *_: Any) -> Sequence[Any]:
        return []

    async def release(self, *_: Any) -> Sequence[str]:
        return []

    async def retire(self, *_: Any) -> int:
        return 0

    async def maintain(self, *_: Any) -> None:
        return None


class Nobody:
    """A registry without workers."""

    async def workers(self) -> Sequence[Worker]:
        return []


class Counting:
    """Counts calls by their names."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *_: self.calls.append(name)


def _leader(store: Store, meter: Counting, **settings: float) -> Leader:
    return Leader(
        cast("LeaderStore", store),
        cast("WorkerStore", Nobody()),
        LeastLoaded(),
        RetryPolicy(),
        LeaderSettings(**{"poll": 0.01, "patience": 0.3, "cleanup": 0.01, **settings}),  # type: ignore[arg-type]
        cast("Meter", meter),
    )


async def test_one_that_was_followed_stops_at_once_and_leaves_a_trace() -> None:
    store, meter = Store(StaleEpoch("epoch 7 is over"), after=3), Counting()
    leader = _leader(store, meter)
    await leader.lead("c-0")
    assert store.traces == [7]
    assert meter.calls.count("fenced") == 1
    assert leader.epoch is None


async def test_one_that_is_cut_off_gives_up_after_its_patience() -> None:
    store, meter = Store(Unavailable("away")), Counting()
    await _leader(store, meter).lead("c-0")
    assert store.looks > 1
    assert meter.calls.count("assigning_failed") == store.looks
    assert store.traces == []


async def test_one_that_fails_in_another_way_leaves_the_lead(
    caplog: pytest.LogCaptureFixture,
) -> None:
    await _leader(Store(RuntimeError("a bug")), Counting()).lead("c-0")
    assert "leading failed" in caplog.text
    assert "a bug" in caplog.text


async def test_a_short_outage_is_borne() -> None:
    store, meter = Store(Unavailable("away"), after=1), Counting()
    leader = _leader(store, meter, patience=60.0)
    leading = asyncio.create_task(leader.lead("c-0"))
    await eventually(lambda: store.looks >= 3, every=0.01)
    store.error = None
    looks = store.looks
    await eventually(lambda: store.looks > looks + 3, every=0.01)
    assert leader.epoch == 7
    leading.cancel()
    await asyncio.wait({leading})
    assert leader.epoch is None
    assert "assigning_failed" in meter.calls
