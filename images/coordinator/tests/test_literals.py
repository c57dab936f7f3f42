"""Arrays that are written as text are those that were meant."""

from uuid import UUID

import pytest

from muster_coordinator.engine.identity import new_id
from muster_coordinator.store.literals import integers, uuids

from .harness import rows

pytestmark = pytest.mark.integration


async def test_the_database_reads_what_was_meant(dsn: str) -> None:
    ids = [new_id(), UUID(int=0), UUID(int=2**128 - 1)]
    numbers = [0, -1, 2**63 - 1]
    query = "SELECT $1::text::uuid[], $2::text::bigint[]"
    assert await rows(dsn, query, uuids(ids), integers(numbers)) == [(ids, numbers)]
    assert await rows(dsn, query, uuids([]), integers([])) == [([], [])]
