"""Witnesses at rest."""

import base64
import os
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from muster_coordinator.cli import main
from muster_coordinator.engine.identity import new_id
from muster_coordinator.store.witnesses import (
    Unreadable,
    Witnesses,
    WitnessKeysError,
    read_witness_keys,
)

from .harness import process, rows, serving, settings
from .workers import Worker

OLD, NEW = bytes(range(32)), bytes(range(32, 64))


def _file(path: Path, *keys: bytes) -> Path:
    path.write_text("".join(base64.b64encode(key).decode() + "\n" for key in keys))
    return path


@given(st.binary(max_size=200))
def test_what_is_sealed_opens_and_shows_nothing(witness: bytes) -> None:
    workload_id, witnesses = new_id(), Witnesses([NEW])
    stored = witnesses.seal(workload_id, b"secret" + witness)
    assert b"secret" not in stored
    assert stored != witnesses.seal(workload_id, b"secret" + witness)
    assert witnesses.open(workload_id, stored) == b"secret" + witness


def test_keys_rotate() -> None:
    workload_id = new_id()
    sealed_before = Witnesses([OLD]).seal(workload_id, b"{}")
    both = Witnesses([NEW, OLD])
    assert both.open(workload_id, sealed_before) == b"{}"
    sealed_after = both.seal(workload_id, b"{}")
    assert Witnesses([NEW]).open(workload_id, sealed_after) == b"{}"
    with pytest.raises(Unreadable, match="which is not in database"):
        Witnesses([NEW]).open(workload_id, sealed_before)


def test_what_was_stored_before_there_was_a_key_is_read() -> None:
    assert Witnesses([NEW]).open(new_id(), b'{"a":1}') == b'{"a":1}'


def test_a_witness_opens_in_its_own_row_only_and_unaltered() -> None:
    workload_id, witnesses = new_id(), Witnesses([NEW])
    stored = witnesses.seal(workload_id, b'{"a":1}')
    with pytest.raises(Unreadable, match="was altered"):
        witnesses.open(new_id(), stored)
    with pytest.raises(Unreadable, match="was altered"):
        witnesses.open(workload_id, stored[:-1] + bytes([stored[-1] ^ 1]))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "which is empty"),
        (b"AAAA\n", "line 1"),
        (base64.b64encode(OLD) + b"\nhunter2!\n", "line 2"),
        (b"\xff\xfe", "no ASCII text"),
    ],
)
def test_a_wrong_file_is_refused_and_not_shown(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "keys"
    path.write_bytes(content)
    with pytest.raises(WitnessKeysError) as refused:
        read_witness_keys(path)
    assert said in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_the_command_refuses_a_wrong_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "dsn").write_text("postgresql://nobody@127.0.0.1:1/x")
    database = {
        "dsn_file": str(tmp_path / "dsn"),
        "witness_key_file": str(tmp_path / "nowhere"),
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings() | {"database": database}))
    assert main(["--config", str(tmp_path / "config.yaml")]) == 2
    said = capsys.readouterr().err
    assert "database.witness_key_file: got" in said
    assert "allowed: a file with one key a line" in said


@pytest.mark.integration
async def test_the_database_holds_sealed_witnesses_and_workers_get_open_ones(
    dsn: str, tmp_path: Path
) -> None:
    key = os.urandom(32)
    async with serving(dsn, settings(), tmp_path, Witnesses([key])) as replica:
        task_id = await replica.add(123456789, 2)
        [(stored,)] = await rows(dsn, "SELECT input FROM workloads WHERE input IS NOT NULL")
        assert b"123456789" not in stored
        async with Worker(replica.target, "w-0") as worker:
            task = await replica.ends(task_id)
            assert (task["status"], task["verified"]) == ("completed", True)
            assert b"123456789" in (await worker.got(task_id)).input_data_json
        assert await rows(dsn, "SELECT input FROM workloads") == [(None,)]


@pytest.mark.integration
async def test_a_replica_without_the_key_leaves_the_work_alone(dsn: str, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    async with serving(dsn, settings(), first, Witnesses([OLD])) as replica:
        task_id = await replica.add()
    async with (
        serving(dsn, settings(stale_task_timeout="1s"), second, Witnesses([NEW])) as replica,
        Worker(replica.target, "w-0") as worker,
    ):
        await replica.task(task_id, wait="2s")
        assert worker.tasks == []
    async with (
        serving(dsn, settings(), first, Witnesses([NEW, OLD])) as replica,
        Worker(replica.target, "w-0"),
    ):
        assert (await replica.ends(task_id))["status"] == "completed"


@pytest.mark.integration
async def test_the_command_takes_the_file_and_warns_without(dsn: str, tmp_path: Path) -> None:
    warning = "witnesses are stored in plain text: database.witness_key_file is not set"
    with process(dsn, settings(), tmp_path / "plain") as plain:
        await (await plain.serving()).close()
        assert plain.said(warning)
    key_file = _file(tmp_path / "keys", NEW, OLD)
    document = settings() | {"database": {"witness_key_file": str(key_file)}}
    with process(dsn, document, tmp_path / "sealing") as sealing:
        replica = await sealing.serving()
        assert not sealing.said(warning)
        await replica.add()
        [(stored,)] = await rows(dsn, "SELECT input FROM workloads")
        assert stored.startswith(b"\x00MW1")
        await replica.close()
