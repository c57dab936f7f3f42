"""What waits, as the leader reads it; see `engine.ports.LeaderStore`."""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict

import asyncpg

from muster_coordinator.engine.model import Holding, NewWorkload, Requirement, Share
from muster_coordinator.engine.ports import Sight
from muster_coordinator.engine.scheduling import Candidate, Lane, Waiting
from muster_coordinator.engine.states import State
from muster_coordinator.store.database import Database
from muster_coordinator.store.submissions import customer_terms
from muster_coordinator.store.transitions import affinity_of, requirement

# Jumps from one kind to the next through the index, however much waits in each.
_WAITING = """
WITH RECURSIVE kind AS (
    (SELECT pool, type, key_id, key_version, customer_id, particular FROM workloads
     WHERE state IN ('PENDING', 'REDISTRIBUTING')
     ORDER BY pool, type, key_id, key_version, customer_id, particular LIMIT 1)
    UNION ALL
    SELECT following.* FROM kind CROSS JOIN LATERAL (
        SELECT pool, type, key_id, key_version, customer_id, particular FROM workloads
        WHERE state IN ('PENDING', 'REDISTRIBUTING')
          AND (pool, type, key_id, key_version, customer_id, particular)
              > (kind.pool, kind.type, kind.key_id, kind.key_version, kind.customer_id,
                 kind.particular)
        ORDER BY pool, type, key_id, key_version, customer_id, particular LIMIT 1
    ) AS following
)
SELECT kind.*, customers.tier, customers.max_concurrent
FROM kind LEFT JOIN customers ON customers.id = kind.customer_id
"""

_COLUMNS = """
id, pool, type, key_id, key_version, state, excluded_workers, rank, generation, customer_id,
affinity, created_at, traceparent, timeout_seconds, retry_count, max_retries, redistributions,
retry_count + redistributions + 1 AS attempt,
-- What is small can go to its worker without another look.
CASE WHEN checkpoint_seq = 0 AND octet_length(input) <= 4096 THEN input END AS input
"""
_DUE = "not_before <= now() AND (deadline_at IS NULL OR deadline_at > now())"

# What no free worker should get, as all of them failed it before, is left to a busy one.
_CANDIDATES = f"""
SELECT candidate.* FROM jsonb_to_recordset($1::jsonb) AS lane (
    need int, customer_id text, particular bool, room int)
JOIN jsonb_to_recordset($2::jsonb) AS need (
    number int, pool text, type text, key_id text, key_version text, free text[], able text[])
    ON need.number = lane.need
CROSS JOIN LATERAL (
    SELECT {_COLUMNS} FROM workloads
    WHERE pool = need.pool AND type = need.type
      AND key_id = need.key_id AND key_version = need.key_version
      AND customer_id = lane.customer_id AND particular = lane.particular
      AND state IN ('PENDING', 'REDISTRIBUTING') AND {_DUE}
      AND (excluded_workers = '{{}}' OR NOT excluded_workers @> need.free
           OR excluded_workers @> need.able)
    ORDER BY rank DESC, id LIMIT lane.room
) AS candidate
ORDER BY candidate.rank DESC, candidate.id
"""

# What workers hold, if there is any use in knowing that.
_HELD = """
    SELECT worker_id, customer_id AS of_customer, type AS of_type, count(*) AS count
    FROM workloads
    WHERE state IN ('SCHEDULED', 'RUNNING') AND {needed}
    GROUP BY worker_id, customer_id, type
"""

# Two lists in one answer: each row is of one of them.
_FEW = f"""
WITH few AS MATERIALIZED (
    SELECT {_COLUMNS}, particular, {_DUE} AS due
    FROM workloads WHERE state IN ('PENDING', 'REDISTRIBUTING') LIMIT $1
), held AS MATERIALIZED (
    {_HELD.format(needed="(SELECT count(*) FROM few WHERE due) BETWEEN 1 AND $1 - 1")}
)
SELECT few.*, customers.tier, customers.max_concurrent, held.*
FROM (few LEFT JOIN customers ON customers.id = few.customer_id) FULL JOIN held ON false
"""

_VACANT = f"""
WITH own AS MATERIALIZED (
    SELECT $1::text AS customer_id WHERE NOT EXISTS (
        SELECT FROM workloads WHERE state IN ('PENDING', 'REDISTRIBUTING') AND pool = $2)
), held AS MATERIALIZED (
    {_HELD.format(needed="EXISTS (SELECT FROM own)")}
)
SELECT own.customer_id, customers.tier, customers.max_concurrent, held.*
FROM (own LEFT JOIN customers ON customers.id = own.customer_id) FULL JOIN held ON false
"""


async def kinds(database: Database) -> list[Waiting]:
    """Every kind of waiting work."""
    return [_kind(row) for row in await database.fetch(_WAITING)]


async def in_lanes(database: Database, lanes: Sequence[Lane]) -> list[asyncpg.Record]:
    """What is first in each lane, in the order of the queue."""
    return await database.fetch(_CANDIDATES, *_lanes(lanes))


async def few(database: Database, most: int) -> tuple[Sight, list[asyncpg.Record]] | None:
    """All that waits, and the rows of what may be given away; None where it is more than `most`."""
    rows = await database.fetch(_FEW, most + 1)
    waiting = [row for row in rows if row["id"] is not None]
    if len(waiting) > most:
        return None
    due = sorted((row for row in waiting if row["due"]), key=lambda row: (-row["rank"], row["id"]))
    kinds = dict.fromkeys(_kind(row) for row in waiting)
    return Sight(list(kinds), [candidate(row) for row in due], _holding(rows)), due


async def vacant(database: Database, one: NewWorkload) -> tuple[Waiting, Holding] | None:
    """The lane of new work in a pool where nothing waits; None where something does."""
    rows = await database.fetch(_VACANT, one.customer_id, one.requirement.pool)
    for row in rows:
        if row["customer_id"] is not None:
            terms = customer_terms(row["tier"], row["max_concurrent"])
            kind = Waiting(
                one.requirement,
                one.customer_id,
                weight=terms.weight,
                most=terms.max_concurrent,
            )
            return kind, _holding(rows)
    return None


def candidate(row: asyncpg.Record) -> Candidate:
    """A waiting workload, as it is placed."""
    return Candidate(
        row["id"],
        requirement(row),
        State(row["state"]),
        frozenset(row["excluded_workers"]),
        row["customer_id"],
        affinity_of(row),
    )


def _kind(row: asyncpg.Record) -> Waiting:
    terms = customer_terms(row["tier"], row["max_concurrent"])
    return Waiting(
        requirement(row), row["customer_id"], row["particular"], terms.weight, terms.max_concurrent
    )


def _holding(rows: Sequence[asyncpg.Record]) -> Holding:
    """What the columns of `_HELD` say."""
    holding: defaultdict[str, tuple[Share, ...]] = defaultdict(tuple)
    for row in rows:
        if row["worker_id"] is not None:
            holding[row["worker_id"]] += (Share(row["of_customer"], row["of_type"], row["count"]),)
    return holding


def _lanes(lanes: Sequence[Lane]) -> tuple[str, str]:
    """The arguments of `_CANDIDATES`: lanes, and what those of one need have in common."""
    numbers: dict[Requirement, int] = {}
    needs: list[dict[str, object]] = []
    for lane in lanes:
        if lane.need not in numbers:
            number = numbers[lane.need] = len(needs)
            common = asdict(lane.need) | {"number": number, "free": lane.free, "able": lane.able}
            needs.append(common)
    requested = [
        {
            "need": numbers[lane.need],
            "customer_id": lane.waiting.customer_id,
            "particular": lane.waiting.particular,
            "room": lane.room,
        }
        for lane in lanes
    ]
    return json.dumps(requested), json.dumps(needs)
