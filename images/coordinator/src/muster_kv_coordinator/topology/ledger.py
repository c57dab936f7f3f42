"""What the leader writes down, each time under the epoch of its reign; in PostgreSQL."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from uuid import UUID

import asyncpg

from muster_kv.ranges import TokenRange
from muster_kv.ring import Member, Phase, Ring
from muster_kv_coordinator.core.model import (
    Migration,
    MigrationStatus,
    MigrationType,
    NodeStatus,
)
from muster_kv_coordinator.store.database import Connection, Database
from muster_kv_coordinator.store.migrations_table import (
    add_migration,
    cancel,
    migration_of,
    open_migration_of_node,
    want_no_more,
)
from muster_kv_coordinator.store.ring import current_ring, locked_ring, store_ring
from muster_kv_coordinator.topology.plan import Change, Task, change_of, with_folders
from muster_kv_coordinator.topology.stages import Stage

_OPEN = """
SELECT migrations.*, host, port, virtual_nodes, zone FROM migrations
LEFT JOIN storage_nodes USING (node_id)
WHERE migrations.status IN ('pending', 'in_progress') ORDER BY migrations.created_at
"""
_ADD_RANGE = """
INSERT INTO migration_ranges
    (migration_id, factor, range_first, range_last, target, sources, needed, replaces, gains)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
"""
_PROGRESS = """
UPDATE migrations SET
    keys_migrated = keys_migrated + $2,
    total_keys = greatest(total_keys, keys_migrated + $2),
    estimated_completion = CASE WHEN keys_migrated + $2 > 0 AND total_keys > 0 THEN
        now() + (now() - started_at)
            * greatest(0, total_keys - keys_migrated - $2) / (keys_migrated + $2) END
WHERE migration_id = $1
"""


class DeposedError(Exception):
    """Another leader reigns."""


@dataclass(frozen=True, slots=True)
class Work:
    """A migration with what its carrying out knows.

    Args:
        factors: that the ranges to copy were made for.
        node: that comes or goes, with its address.
    """

    migration: Migration
    stage: Stage
    factors: tuple[int, ...]
    change: Change
    node: Member | None


@dataclass(frozen=True, slots=True)
class View:
    """The topology at one moment.

    Args:
        work: the migration that has begun.
        waiting: those that have not, the oldest first.
        tenants: names by replication factor in force.
        largest: the largest replication factor in force or wanted.
        moving_to: replication factors that tenants are being changed to.
        round_age: seconds since the last complete anti-entropy round.
    """

    ring: Ring
    work: Work | None
    waiting: tuple[Work, ...]
    tenants: dict[int, tuple[str, ...]]
    moving_to: frozenset[int]
    largest: int
    round_age: float

    @property
    def factors(self) -> frozenset[int]:
        """All replication factors that requests are placed by."""
        return frozenset(self.tenants) | self.moving_to

    def names(self, change: Change, factor: int) -> tuple[str, ...]:
        """Whose records a change moves, of tenants with this factor before it."""
        return (change.tenant,) if change.tenant else self.tenants.get(factor, ())


@dataclass(slots=True)
class Piece:
    """A task, and how far it has come."""

    task: Task
    copied: tuple[str, ...] = ()
    source: str = ""
    after: bytes = b""
    keys: int = 0


class Ledger:
    """Reads and writes under one epoch; `reign` makes a new one."""

    def __init__(self, database: Database, epoch: int) -> None:
        self._database = database
        self.epoch = epoch

    @classmethod
    async def reign(cls, database: Database, holder: str) -> "Ledger":
        """Begin to lead: from now on nobody else's writes are taken."""
        async with database.transaction() as connection:
            epoch = await connection.fetchval(
                "UPDATE maintenance SET epoch = epoch + 1, holder = $1 RETURNING epoch", holder
            )
        return cls(database, epoch)

    @asynccontextmanager
    async def fenced(self) -> AsyncIterator[Connection]:
        """A transaction that only the leader in office gets.

        Raises:
            DeposedError: another one is.
            UnavailableError: the database is away.
        """
        async with self._database.transaction() as connection:
            held = await connection.fetchval("SELECT epoch FROM maintenance FOR SHARE")
            if held != self.epoch:
                raise DeposedError(f"epoch {self.epoch}; in office: {held}")
            yield connection

    async def view(self) -> View:
        """The topology as it is now."""
        async with self.fenced() as connection:
            ring = await current_ring(connection)
            rows = await connection.fetch(_OPEN)
            tenants = await connection.fetch(
                "SELECT tenant_id, replication_factor, desired_replication_factor, moving_to"
                " FROM tenants ORDER BY tenant_id"
            )
            round_age = await connection.fetchval(
                "SELECT extract(epoch FROM now() - round_finished)::float8 FROM maintenance"
            )
        in_force = {row["tenant_id"]: row["replication_factor"] for row in tenants}
        works = [_work(row, in_force) for row in rows]
        begun = [work for work in works if work.stage is not Stage.WAITING]
        named: dict[int, list[str]] = {}
        for row in tenants:
            named.setdefault(row["replication_factor"], []).append(row["tenant_id"])
        return View(
            ring,
            begun[0] if begun else None,
            tuple(work for work in works if work.stage is Stage.WAITING),
            {factor: tuple(names) for factor, names in named.items()},
            frozenset(row["moving_to"] for row in tenants if row["moving_to"] is not None),
            max(
                (
                    max(row["replication_factor"], row["desired_replication_factor"])
                    for row in tenants
                ),
                default=0,
            ),
            round_age,
        )

    async def adopt(self, ring: Ring, folders: Mapping[str, str]) -> None:
        """Write down with which data folders members are members; nothing where the ring changed.

        From then on one that comes with another is not read before it is filled again.
        """
        async with self.fenced() as connection:
            held = await locked_ring(connection, "update")
            if held.version == ring.version:
                await store_ring(connection, with_folders(held, folders), held.phase)

    async def replace(self, node_id: str, folder: str) -> None:
        """Want a member filled again that has come with another data folder."""
        async with self.fenced() as connection:
            await locked_ring(connection, "update")
            if await open_migration_of_node(connection, node_id) is None:
                await add_migration(
                    connection, MigrationType.NODE_REPLACEMENT, node_id=node_id, folder=folder
                )
                await _want(connection, node_id, NodeStatus.ACTIVE, NodeStatus.JOINING)

    async def begin(
        self,
        work: Work,
        tasks: Sequence[Task],
        factors: Collection[int],
        total: int,
        folder: str,
    ) -> None:
        """Take a migration up, with what is to be copied for tenants with these factors.

        Args:
            total: keys to copy, about.
            folder: the data folder of the node that gets data.
        """
        key = UUID(work.migration.migration_id)
        async with self.fenced() as connection:
            begun = await connection.fetchval(
                "UPDATE migrations SET status = 'in_progress', stage = 'clearing', error = '',"
                " started_at = now(), total_keys = $2, old_factor = $3, folder = $4"
                " WHERE migration_id = $1 AND status = 'pending' RETURNING true",
                key,
                total,
                work.change.factors[0] if work.change.factors else None,
                folder,
            )
            if begun:
                await _plan(connection, key, tasks, factors)

    async def plan_again(self, work: Work, tasks: Sequence[Task], factors: Collection[int]) -> None:
        """Replace what is to be copied by a migration that has not begun to copy."""
        key = UUID(work.migration.migration_id)
        async with self.fenced() as connection:
            await connection.execute("DELETE FROM migration_ranges WHERE migration_id = $1", key)
            await _plan(connection, key, tasks, factors)

    async def step(
        self,
        work: Work,
        stage: Stage,
        ring: Ring,
        *,
        members: tuple[Member, ...],
        phase: Phase,
    ) -> None:
        """Bring a migration into another stage, and a new ring into force with it.

        Nothing happens where the ring has changed meanwhile, or where data are to be copied and a
        tenant has come with a factor that is not planned for: look again.
        """
        key = UUID(work.migration.migration_id)
        async with self.fenced() as connection:
            held = await locked_ring(connection, "update")
            if held.version != ring.version:
                return
            if stage is Stage.COPYING and not work.change.tenant:
                rows = await connection.fetch("SELECT DISTINCT replication_factor FROM tenants")
                if not {row[0] for row in rows} <= set(work.factors):
                    return
            factors = work.change.factors
            await store_ring(connection, members, phase, factors=factors is not None)
            await _set_stage(connection, key, stage)
            if factors is not None:
                await _set_factors(connection, work.change.tenant, factors, stage)

    async def pieces(self, work: Work) -> list[Piece]:
        """What is left to copy."""
        async with self.fenced() as connection:
            rows = await connection.fetch(
                "SELECT * FROM migration_ranges WHERE migration_id = $1 AND NOT done"
                " ORDER BY range_first, target",
                UUID(work.migration.migration_id),
            )
        return [_piece(row) for row in rows]

    async def tasks(self, work: Work) -> list[Task]:
        """All that the migration was to copy."""
        async with self.fenced() as connection:
            rows = await connection.fetch(
                "SELECT * FROM migration_ranges WHERE migration_id = $1",
                UUID(work.migration.migration_id),
            )
        return [_piece(row).task for row in rows]

    async def note(self, work: Work, piece: Piece, *, moved: int, done: bool) -> None:
        """Write down how far a piece is; `moved` keys more than when last noted."""
        key = UUID(work.migration.migration_id)
        task = piece.task
        async with self.fenced() as connection:
            await connection.execute(
                "UPDATE migration_ranges SET copied = $5, source = $6, after_key = $7, keys = $8,"
                " done = $9 WHERE migration_id = $1 AND factor = $2 AND range_first = $3"
                " AND target = $4",
                key,
                task.factor,
                _bytes(task.range.first),
                task.target,
                list(piece.copied),
                piece.source,
                piece.after,
                piece.keys,
                done,
            )
            await connection.execute(_PROGRESS, key, moved)

    async def cancel(self, work: Work) -> None:
        """Ask that a migration be cancelled."""
        async with self.fenced() as connection:
            await cancel(connection, work.migration.migration_id)

    async def say(self, work: Work, error: str) -> None:
        """Let the migration say what it waits for."""
        if work.migration.error == error:
            return
        async with self.fenced() as connection:
            await connection.execute(
                "UPDATE migrations SET error = $2 WHERE migration_id = $1",
                UUID(work.migration.migration_id),
                error,
            )

    async def end(self, work: Work, status: MigrationStatus) -> None:
        """End a migration; what was wanted by one that is cancelled is wanted no more."""
        key = UUID(work.migration.migration_id)
        async with self.fenced() as connection:
            await connection.execute(
                "UPDATE migrations SET status = $2, stage = 'ended', error = '',"
                " estimated_completion = NULL, finished_at = now(),"
                " started_at = coalesce(started_at, now()), total_keys = keys_migrated"
                " WHERE migration_id = $1",
                key,
                status.value,
            )
            await connection.execute("DELETE FROM migration_ranges WHERE migration_id = $1", key)
            if status is MigrationStatus.CANCELLED:
                await want_no_more(connection, work.migration)
            elif work.migration.type is MigrationType.NODE_DELETION:
                await _want(
                    connection, work.change.leaving, NodeStatus.DRAINING, NodeStatus.INACTIVE
                )
            elif work.migration.node_id:
                # Unless it was asked to leave meanwhile.
                await _want(
                    connection, work.migration.node_id, NodeStatus.JOINING, NodeStatus.ACTIVE
                )

    async def round_ended(self, started_us: int) -> None:
        """A complete anti-entropy round has ended that began then (Unix microseconds)."""
        async with self.fenced() as connection:
            await connection.execute(
                "UPDATE maintenance SET round_started = $1, round_finished = now()",
                datetime.fromtimestamp(started_us / 1e6, UTC),
            )


async def _plan(
    connection: Connection, key: UUID, tasks: Sequence[Task], factors: Collection[int]
) -> None:
    await connection.execute(
        "UPDATE migrations SET factors = $2 WHERE migration_id = $1",
        key,
        sorted(factors),
    )
    await connection.executemany(
        _ADD_RANGE,
        [
            (
                key,
                task.factor,
                _bytes(task.range.first),
                _bytes(task.range.last),
                task.target,
                list(task.sources),
                task.needed,
                task.replaces,
                task.gains,
            )
            for task in tasks
        ],
    )


async def _set_stage(connection: Connection, key: UUID, stage: Stage) -> None:
    await connection.execute(
        "UPDATE migrations SET stage = $2, error = '' WHERE migration_id = $1", key, stage.value
    )


async def _set_factors(
    connection: Connection, tenant: str, factors: tuple[int, int], stage: Stage
) -> None:
    """Place a tenant's requests by the factors of a stage."""
    old, new = factors
    in_force, other = {
        Stage.COPYING: (old, new),
        Stage.SETTLING: (new, old),
        Stage.CLEANING: (new, None),
        Stage.UNDOING: (old, None),
    }[stage]
    await connection.execute(
        "UPDATE tenants SET replication_factor = $2, moving_to = $3, updated_at = now()"
        " WHERE tenant_id = $1",
        tenant,
        in_force,
        other,
    )


async def _want(
    connection: Connection, node_id: str, before: NodeStatus, after: NodeStatus
) -> None:
    """Bring what is wanted of a node from one status to another, if it is in that one."""
    await connection.execute(
        "UPDATE storage_nodes SET status = $3, updated_at = now()"
        " WHERE node_id = $1 AND status = $2",
        node_id,
        before,
        after,
    )


def _work(row: asyncpg.Record, in_force: dict[str, int]) -> Work:
    migration = migration_of(row)
    node = None
    if row["host"] is not None:
        node = Member(row["node_id"], row["host"], row["port"], row["virtual_nodes"], row["zone"])
    stage = Stage(row["stage"])
    if stage is Stage.WAITING and migration.tenant_id:
        # Another migration may have changed the factor since this one was asked for.
        migration = replace(migration, old_factor=in_force[migration.tenant_id])
    change = change_of(migration, node, folder=row["folder"], forced=row["forced"])
    return Work(migration, stage, tuple(row["factors"]), change, node)


def _piece(row: asyncpg.Record) -> Piece:
    task = Task(
        row["factor"],
        TokenRange(
            int.from_bytes(row["range_first"], "big"), int.from_bytes(row["range_last"], "big")
        ),
        row["target"],
        tuple(row["sources"]),
        row["needed"],
        row["replaces"],
        row["gains"],
    )
    return Piece(task, tuple(row["copied"]), row["source"], row["after_key"], row["keys"])


def _bytes(token: int) -> bytes:
    return token.to_bytes(8, "big")
