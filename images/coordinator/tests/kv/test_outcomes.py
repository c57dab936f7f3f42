"""Whatever stops a write that a replica may have taken: its client is told of that.

And what too few replicas answer is counted once, wherever it ends.
"""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TypeVar

import pytest

from muster_kv.consistency import Level
from muster_kv.errors import ErrorCode, FailureCode
from muster_kv.merging import Outcome
from muster_kv.record import ABSENT, encode
from muster_kv.ring import Placement
from muster_kv.slots import slot
from muster_kv.wire.messages import Failure, Found, ReplyBody, RequestBody
from muster_kv_coordinator.core.asking import Answers
from muster_kv_coordinator.core.errors import KvError, UnavailableError
from muster_kv_coordinator.core.model import Policy, Tenant, Write
from muster_kv_coordinator.core.ports import OnReply, Place, Replica
from muster_kv_coordinator.core.reads import Reads, ReadSettings
from muster_kv_coordinator.core.repairs import Repairs
from muster_kv_coordinator.core.scans import Scan, Scans
from muster_kv_coordinator.core.spread import Ending, Start, Verdict, Way
from muster_kv_coordinator.core.writes import Writes

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TENANT = Tenant("t", 3, 3, None, Policy(), NOW, NOW)
NEWER = Failure(FailureCode.STALE_RING, "a newer ring", 7)


T = TypeVar("T")


class Newer:
    """A replica that has a newer ring."""

    node_id = "s-0"
    healthy = True

    def submit(
        self, body: RequestBody, ring_version: int, seconds: float, on_reply: OnReply
    ) -> None:
        raise AssertionError

    async def request(self, body: RequestBody, ring_version: int, seconds: float) -> ReplyBody:
        return NEWER


class Cluster:
    """Three nodes whose ring is replaced by one that `stop` keeps from being used."""

    version = 6

    def __init__(self, stop: str) -> None:
        self._stop = stop
        # Only where nothing comes is the end of its time waited for.
        self.seconds = 0.2 if stop == "silent" else 60.0
        self._changed = False

    def place(self, tenant: Tenant, token: int) -> Place:
        if self._changed:
            raise KvError(ErrorCode.QUORUM_NOT_REACHED, "replication factors have changed")
        return Place(Placement(("s-0", "s-1", "s-2")), self.version)

    async def refresh(self, least: int) -> None:
        if self._stop == "away":
            raise UnavailableError("the metadata store is away")
        if self._stop == "silent":
            await asyncio.Event().wait()
        self._changed = True

    def replica(self, node_id: str) -> Replica:
        raise AssertionError

    def members(self) -> tuple[Replica, ...]:
        return (Newer(),)

    def placements(self, factor: int) -> tuple[Placement, ...]:
        raise AssertionError


class Together:
    """Replicas that answer as they are told to, one ending after the other."""

    def __init__(self, *endings: Ending, asked: Answers | None = None) -> None:
        self._endings = list(endings)
        self._asked = asked

    def spread(self, start: Start, way: Way) -> "asyncio.Future[Ending]":
        return _done(self._endings.pop(0))

    def ask(
        self,
        replicas: Sequence[str],
        body: RequestBody,
        ring_version: int,
        least: int,
        end: float,
    ) -> "asyncio.Future[Answers]":
        assert self._asked is not None
        return _done(self._asked)


class Meter:
    def __init__(self) -> None:
        self.failed: list[str] = []

    def quorum_failed(self, operation: str) -> None:
        self.failed.append(operation)

    def stale_ring(self) -> None: ...
    def hedged(self) -> None: ...
    def conflict(self) -> None: ...
    def duplicate(self) -> None: ...
    def repair_triggered(self) -> None: ...
    def repaired(self, outcome: str, count: int = 1) -> None: ...
    def hinted(self, outcome: str, count: int) -> None: ...


def _done(result: T) -> "asyncio.Future[T]":
    future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
    future.set_result(result)
    return future


def _ending(verdict: Verdict, failure: Failure, *, record: bytes = b"", late: str = "") -> Ending:
    unsure = bool(record or late)
    return Ending(verdict, late or None, Outcome.NEW, {}, 0, 1, record, (), (failure,), unsure)


async def _stopped(cluster: Cluster, together: Together) -> KvError:
    meter = Meter()
    writes = Writes(cluster, together, meter, None, cluster.seconds)
    with pytest.raises(KvError) as stopped:
        await writes.write(TENANT, Write("t", "k", b"1", Level.QUORUM), None)
    # A failed quorum is counted once, wherever the write ended.
    reached = stopped.value.code is not ErrorCode.QUORUM_NOT_REACHED
    assert meter.failed == ([] if reached else ["write"])
    return stopped.value


STOPS = {
    "away": ErrorCode.INTERNAL_ERROR,
    "silent": ErrorCode.QUORUM_NOT_REACHED,
    "changed": ErrorCode.QUORUM_NOT_REACHED,
}


@pytest.mark.parametrize("stop", STOPS)
async def test_a_ring_that_does_not_come_after_a_take(stop: str) -> None:
    taken = _ending(Verdict.STALE, NEWER, record=b"made")
    error = await _stopped(Cluster(stop), Together(taken))
    assert error.code is STOPS[stop]
    assert "may have happened" in error.message


@pytest.mark.parametrize("stop", STOPS)
async def test_a_ring_that_does_not_come_before_any_take(stop: str) -> None:
    error = await _stopped(Cluster(stop), Together(_ending(Verdict.STALE, NEWER)))
    assert error.code is STOPS[stop]
    assert "may have happened" not in error.message


@pytest.mark.parametrize("stop", STOPS)
async def test_a_ring_that_does_not_come_when_one_may_have_taken_it(stop: str) -> None:
    silent = _ending(Verdict.UNSURE, Failure(FailureCode.TIMEOUT, "no answer"), late="s-0")
    error = await _stopped(Cluster(stop), Together(silent, asked=Answers(bad=[NEWER])))
    assert error.code is STOPS[stop]
    assert "may have happened" in error.message


async def test_what_the_next_refuses_one_may_have_taken() -> None:
    silent = _ending(Verdict.UNSURE, Failure(FailureCode.TIMEOUT, "no answer"), late="s-0")
    refused = _ending(Verdict.REFUSED, Failure(FailureCode.TOO_LARGE, "100 siblings"), late="s-0")
    nothing = Found(encode(ABSENT, slot("t", "k")))
    asked = Answers(good={"s-1": nothing, "s-2": nothing})
    error = await _stopped(Cluster(""), Together(silent, refused, asked=asked))
    assert error.code is ErrorCode.INVALID_REQUEST
    assert "may have happened" in error.message


@pytest.mark.parametrize("stop", STOPS)
async def test_a_read_whose_ring_does_not_come_is_counted_once(stop: str) -> None:
    cluster, meter = Cluster(stop), Meter()
    together, repairs = Together(asked=Answers(bad=[NEWER])), Repairs(meter, 1)
    reads = Reads(cluster, together, meter, repairs, ReadSettings(cluster.seconds))
    with pytest.raises(KvError) as stopped:
        await reads.read(TENANT, "k", Level.QUORUM, None)
    assert stopped.value.code is STOPS[stop]
    failed = STOPS[stop] is ErrorCode.QUORUM_NOT_REACHED
    assert meter.failed == (["read"] if failed else [])


async def test_a_scan_whose_ring_does_not_come_is_counted_once() -> None:
    cluster, meter = Cluster("silent"), Meter()
    scans, scan = Scans(cluster, meter, cluster.seconds), Scan("", 100, "", Level.QUORUM)
    with pytest.raises(KvError) as stopped:
        await scans.page(TENANT, scan, None)
    assert stopped.value.code is ErrorCode.QUORUM_NOT_REACHED
    assert meter.failed == ["scan"]
