"""The schema on real databases."""

import asyncio
import signal
from pathlib import Path

import asyncpg
import pytest

from muster_coordinator.store.migrate import Migration, SchemaError, migrate, migrations
from muster_testing.waiting import eventually

from .harness import process, rows, serving, settings

pytestmark = pytest.mark.integration

NUMBERS = [migration.number for migration in migrations()]


async def _applied(dsn: str) -> list[int]:
    found = await rows(dsn, "SELECT number FROM schema_migrations ORDER BY number")
    return [number for (number,) in found]


def test_migrations_are_numbered_without_gaps() -> None:
    assert list(range(1, len(NUMBERS) + 1)) == NUMBERS


async def test_an_empty_database_gets_all_and_a_second_run_nothing(dsn: str) -> None:
    assert [migration.number for migration in await migrate(dsn)] == NUMBERS
    assert await migrate(dsn) == []
    assert await _applied(dsn) == NUMBERS


async def test_replicas_that_start_together_migrate_once(dsn: str) -> None:
    runs = await asyncio.gather(*(migrate(dsn) for _ in range(5)))
    assert sorted(len(run) for run in runs) == [0, 0, 0, 0, len(NUMBERS)]
    assert await _applied(dsn) == NUMBERS


async def test_a_migration_that_fails_leaves_nothing_behind(dsn: str) -> None:
    broken = Migration(2, "broken", "CREATE TABLE half (id int); SELECT nonsense;")
    first = Migration(1, "first", "CREATE TABLE first (id int);")
    with pytest.raises(asyncpg.UndefinedColumnError):
        await migrate(dsn, [first, broken])
    assert await _applied(dsn) == [1]
    assert await rows(dsn, "SELECT to_regclass('half') AS half") == [(None,)]
    mended = Migration(2, "broken", "CREATE TABLE half (id int);")
    assert await migrate(dsn, [first, mended]) == [mended]


async def test_a_migration_and_its_record_are_stored_together(dsn: str) -> None:
    sql = "CREATE TABLE half (id int); INSERT INTO schema_migrations VALUES (1, 'x', 'x');"
    with pytest.raises(asyncpg.UniqueViolationError):
        await migrate(dsn, [Migration(1, "unrecorded", sql)])
    assert await rows(dsn, "SELECT to_regclass('half') AS half") == [(None,)]


async def test_a_newer_schema_is_refused(dsn: str) -> None:
    newer = Migration(99, "newer", "SELECT 1;")
    await migrate(dsn, [*migrations(), newer])
    with pytest.raises(SchemaError, match=r"migrations \[99\] that this version does not know"):
        await migrate(dsn)


async def test_a_changed_migration_is_refused(dsn: str) -> None:
    await migrate(dsn, [Migration(1, "first", "SELECT 1;")])
    with pytest.raises(SchemaError, match="1_first was applied with another text"):
        await migrate(dsn, [Migration(1, "first", "SELECT 2;")])


async def test_a_replica_refuses_to_start_on_a_newer_schema(dsn: str, tmp_path: Path) -> None:
    await migrate(dsn, [*migrations(), Migration(99, "newer", "SELECT 1;")])
    with process(dsn, settings(), tmp_path / "c-0") as replica:
        assert await replica.exit_status() == 1
        assert replica.said("the schema can't be served")


async def test_a_replica_serves_on_while_the_next_version_migrates(
    dsn: str, tmp_path: Path
) -> None:
    async with serving(dsn, settings(), tmp_path) as replica:
        column = Migration(99, "column", "ALTER TABLE workloads ADD COLUMN later text;")
        await migrate(dsn, [*migrations(), column])
        task_id = await replica.add()
        assert (await replica.task(task_id))["status"] == "pending"


async def test_a_replica_that_waits_for_its_database_stops_when_told(tmp_path: Path) -> None:
    nowhere = "postgresql://muster@127.0.0.1:1/none"
    with process(nowhere, settings(), tmp_path / "c-0") as replica:
        await eventually(lambda: replica.said("waiting for the database"))
        replica.send(signal.SIGTERM)
        assert await replica.exit_status() == 0
