"""The workload alone, as its author tests it: without a worker or a coordinator."""

import pytest
from example_primes import STEP, Primes

from muster_sdk import InvalidInput
from muster_sdk.testing import Bench, run


@pytest.mark.parametrize(("limit", "primes"), [(0, 0), (2, 0), (3, 1), (100, 25), (10_000, 1229)])
def test_primes_are_counted(limit: int, primes: int) -> None:
    assert run(Primes(), {"limit": limit}).result == {"primes": primes}


def test_a_paused_task_goes_on_where_it_stopped() -> None:
    bench = Bench(stop_at=3)
    stopped = run(Primes(), {"limit": 10_000}, context=bench)
    assert stopped.stopped
    assert bench.reports[-1][0] == 100 * 2 * STEP / 10_000
    rest = Bench()
    ended = run(Primes(), {"limit": 10_000}, context=rest, checkpoint=stopped.checkpoint)
    assert ended.result == {"primes": 1229}
    assert rest.lines == [("info", f"going on at {2 * STEP}")]


@pytest.mark.parametrize("given", [{}, {"limit": -1}, {"limit": "9"}, {"limit": 9, "speed": 1}])
def test_what_cannot_be_right_is_told(given: dict[str, object]) -> None:
    with pytest.raises(InvalidInput, match="allowed"):
        run(Primes(), given)


def test_the_greatest_limit_is_an_option() -> None:
    with pytest.raises(InvalidInput, match="limit is 100; allowed: a whole number from 0 to 99"):
        run(Primes(), {"limit": 100}, options={"most": 99})
