import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster_worker.backoff import delay


@pytest.mark.parametrize(
    ("failures", "seconds"), [(1, 1), (2, 2), (3, 4), (4, 8), (5, 16), (6, 16), (1000, 16)]
)
def test_delays_double_up_to_16_seconds_without_end(failures: int, seconds: float) -> None:
    assert delay(failures, random=0.5) == seconds


@given(st.integers(1, 50), st.floats(0, 1, exclude_max=True))
def test_jitter_stays_within_a_quarter(failures: int, random: float) -> None:
    middle = delay(failures, 0.5)
    assert 0.75 * middle <= delay(failures, random) <= 1.25 * middle


def test_jitter_spreads() -> None:
    assert delay(1, 0.0) < delay(1, 0.5) < delay(1, 0.99)
