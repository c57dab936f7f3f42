"""What a client is told of how its write ended."""

from typing import Any

import pytest

from muster_kv.consistency import Level, Progress, write_progress
from muster_kv.errors import ErrorCode, FailureCode
from muster_kv.merging import Outcome
from muster_kv.ring import Placement
from muster_kv.wire.messages import Failure
from muster_kv_coordinator.core import failures
from muster_kv_coordinator.core.errors import KvError
from muster_kv_coordinator.core.failures import StaleRingError
from muster_kv_coordinator.core.spread import (
    Ending,
    HalfSpreadError,
    Merging,
    Spread,
    UnsureError,
    Verdict,
    judged,
)

CLOCK = {"s-0#1": 1}


def _judged(verdict: Verdict, *codes: FailureCode, **fields: Any) -> Spread:
    ending = Ending(
        verdict=verdict,
        failures=tuple(Failure(code, "why", 7) for code in codes),
        **{
            "late": None,
            "outcome": Outcome.NEW,
            "clock": CLOCK,
            "answered": 2,
            "siblings": 1,
            "record": b"",
            "acked": (),
            "unsure": False,
        }
        | fields,
    )
    return judged(ending, _progress())


def _progress() -> Progress:
    return write_progress(Placement(("s-0", "s-1", "s-2")), Level.QUORUM, 3)


def test_a_write_that_enough_have_is_told_with_its_clock() -> None:
    assert _judged(Verdict.REACHED) == Spread(Outcome.NEW, CLOCK, 2, 1)


def test_a_write_that_all_refuse_did_not_happen() -> None:
    with pytest.raises(KvError) as refused:
        _judged(Verdict.SHORT, FailureCode.DISK_FULL, acked=("s-1",))
    assert refused.value.message == "1 of 2 needed replicas answered (DISK_FULL)"


def test_one_that_somebody_may_have_taken_may_have_happened() -> None:
    with pytest.raises(KvError, match="may have happened"):
        _judged(Verdict.SHORT, FailureCode.DISK_FULL, unsure=True)
    with pytest.raises(UnsureError, match="may have happened") as unsure:
        _judged(Verdict.UNSURE, FailureCode.BROKEN, unsure=True, late="s-0")
    assert unsure.value.late == "s-0"


def test_conflicts_and_refusals_have_codes_of_their_own() -> None:
    with pytest.raises(KvError) as refused:
        _judged(Verdict.CONFLICT)
    assert refused.value.code is ErrorCode.IDEMPOTENCY_KEY_CONFLICT
    for code in (FailureCode.INVALID, FailureCode.TOO_LARGE):
        with pytest.raises(KvError) as refused:
            _judged(Verdict.REFUSED, FailureCode.NOT_READY, code)
        assert refused.value.code is ErrorCode.INVALID_REQUEST


def test_what_is_made_goes_on_under_a_newer_ring() -> None:
    with pytest.raises(StaleRingError) as stale:
        _judged(Verdict.STALE, FailureCode.STALE_RING)
    assert not isinstance(stale.value, HalfSpreadError)
    assert stale.value.version == 7
    with pytest.raises(HalfSpreadError) as half:
        _judged(Verdict.STALE, FailureCode.STALE_RING, record=b"made", unsure=True)
    assert half.value.made == Merging(b"made", Outcome.NEW, CLOCK)


def test_that_a_write_may_have_happened_is_said_once() -> None:
    error = failures.unsure(KvError(ErrorCode.RATE_LIMIT_EXCEEDED, "too often"))
    assert error.message.startswith("too often; the write may have happened")
    assert failures.unsure(error) is error
