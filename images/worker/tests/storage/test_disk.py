"""What a filling disk forbids."""

from pathlib import Path

import pytest

from muster_storage.disk import Fill, Thresholds, Usage, fill, refusal, usage

LIMITS = Thresholds(large_value=1000)


@pytest.mark.parametrize(
    ("percent", "step"),
    [
        (0, Fill.NORMAL),
        (79, Fill.NORMAL),
        (80, Fill.WARN),
        (89, Fill.WARN),
        (90, Fill.LARGE),
        (94, Fill.LARGE),
        (95, Fill.ALL),
        (100, Fill.ALL),
    ],
)
def test_each_step_begins_at_its_threshold(percent: int, step: Fill) -> None:
    assert fill(Usage(total=100, free=100 - percent), LIMITS) is step


@pytest.mark.parametrize(
    ("step", "size", "refused"),
    [
        (Fill.WARN, 10**9, False),
        (Fill.LARGE, 999, False),
        (Fill.LARGE, 1000, True),
        (Fill.ALL, 0, True),
    ],
)
def test_large_values_are_refused_first(step: Fill, size: int, refused: bool) -> None:
    assert (refusal(step, 96, size, LIMITS) is not None) == refused


def test_a_disk_of_no_size_is_full() -> None:
    assert fill(Usage(0, 0), LIMITS) is Fill.ALL


def test_usage_is_that_of_the_file_system(tmp_path: Path) -> None:
    found = usage(tmp_path)
    assert 0 < found.free <= found.total
    assert 0 <= found.percent < 100
