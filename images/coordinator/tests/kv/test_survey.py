"""Ranges that have fewer healthy replicas than they should."""

import pytest

from muster_kv.ring import Member, Ring
from muster_kv_coordinator.survey import under_replicated

RING = Ring(1, tuple(Member(name, "host", 1, virtual_nodes=10) for name in ("a", "b", "c", "d")))
ALL = {"a", "b", "c", "d"}


@pytest.mark.parametrize(
    ("factor", "healthy", "under"),
    [
        (3, ALL, 0),
        (4, ALL, 0),
        (5, ALL, 40),
        (4, ALL - {"d"}, 40),
        (1, ALL - {"d"}, 10),
        (3, set(), 40),
    ],
)
def test_ranges_with_too_few_replicas_are_counted(
    factor: int, healthy: set[str], under: int
) -> None:
    assert under_replicated(RING, factor, healthy) == under


def test_without_tenants_there_is_nothing_to_replicate() -> None:
    assert under_replicated(RING, 0, set()) == 0
