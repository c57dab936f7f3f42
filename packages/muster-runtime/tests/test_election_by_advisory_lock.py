"""Against a real PostgreSQL."""

import asyncpg
import pytest

from muster_runtime.election import AdvisoryLockElector, Timings
from muster_testing.postgres import PostgresServer
from muster_testing.waiting import eventually

from .candidates import Candidate, campaigning

pytestmark = pytest.mark.integration

# The lock goes with its connection, so that who is slow may keep it.
PATIENT = Timings(lease_duration=60.0, renew_deadline=30.0, retry_period=0.1)


def _candidate(dsn: str, identity: str, name: str = "coordinator") -> Candidate:
    return Candidate(AdvisoryLockElector(dsn, name, identity, PATIENT))


async def test_one_of_two_leads_and_the_other_follows_when_it_goes(dsn: str) -> None:
    a, b = _candidate(dsn, "a"), _candidate(dsn, "b")
    async with campaigning(b):
        await eventually(lambda: b.leading)
        async with campaigning(a):
            await eventually(lambda: a.elector.leader == "b", what="a sees who leads")
            assert not a.leading
            connection = await asyncpg.connect(dsn)
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"
            )
            await connection.close()
            await eventually(lambda: len(a.terms) + len(b.terms) == 2, what="a second term")
            terms = sorted(a.terms + b.terms, key=lambda term: term.number)
            assert terms[0].number < terms[1].number
            await eventually(lambda: a.leading != b.leading, what="exactly one leads")


async def test_elections_of_different_names_do_not_meet(dsn: str) -> None:
    a, b = _candidate(dsn, "a", "one"), _candidate(dsn, "b", "other")
    async with campaigning(a), campaigning(b):
        await eventually(lambda: a.leading and b.leading)


async def test_a_leader_whose_database_went_away_steps_down_and_campaigns_again(
    dsn: str, postgres: PostgresServer
) -> None:
    a = _candidate(dsn, "a")
    async with campaigning(a):
        await eventually(lambda: a.leading)
        postgres.stop("immediate")
        try:
            await eventually(lambda: not a.leading, what="a stepped down")
        finally:
            postgres.start()
        await eventually(lambda: a.leading and len(a.terms) == 2, what="a leads again")
