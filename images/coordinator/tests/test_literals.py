"""Arrays that are written as text are those that were meant."""

from uuid import UUID

import pytest

from muster_coordinator.engine.identity import new_id
from muster_coordinator.store.literals import integers, numbered, uuids

from .harness import rows

pytestmark = pytest.mark.integration


async def test_the_database_reads_what_was_meant(dsn: str) -> None:
    ids = [new_id(), UUID(int=0), UUID(int=2**128 - 1)]
    numbers = [0, -1, 2**63 - 1]
    query = "SELECT $1::text::uuid[], $2::text::bigint[]"
    assert await rows(dsn, query, uuids(ids), integers(numbers)) == [(ids, numbers)]
    assert await rows(dsn, query, uuids([]), integers([])) == [([], [])]


async def test_names_are_found_by_their_numbers(dsn: str) -> None:
    names = ["w-1", 'a "b", \\c', "w-1", "NULL"]
    query = (
        "SELECT array_agg(name) FROM (SELECT ($1::text[])[number] AS name"
        " FROM unnest($2::text::bigint[]) WITH ORDINALITY AS chosen (number, place)"
        " ORDER BY place) AS found"
    )
    known, numbers = numbered(names)
    assert known == [names[0], names[1], names[3]]
    assert await rows(dsn, query, known, numbers) == [(names,)]
    assert numbered([]) == ([], "{}")
