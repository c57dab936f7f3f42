"""Backups hold what was there, and are used only if they still do."""

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from muster_kv.errors import FailureCode
from muster_kv.wire.messages import Backup, Done, Restore, Stat, Status
from muster_storage import backup
from muster_storage.backup import BackupError, Origin
from muster_testing.storage import StorageNode, StorageNodes

from .conftest import Talk, talking

pytestmark = pytest.mark.integration

ORIGIN = Origin("s1", "muster", "s1#0", 1)


async def _run(node: StorageNode, *words: str) -> tuple[int, str]:
    """A command of `muster-storage` with the node's configuration: status and what it wrote."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "muster_storage", "--config", str(node.config), *words),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    written, _ = await process.communicate()
    return process.returncode or 0, written.decode()


async def _actor(talk: Talk) -> str:
    status = await talk.ask(Stat())
    assert isinstance(status, Status)
    return status.actor


async def test_a_backup_fills_an_empty_node(storage_node: StorageNodes) -> None:
    volume = storage_node.root / "volume"
    node = await storage_node("s1", backup_dir=str(volume)).start()
    async with talking(node) as talk:
        await asyncio.gather(*(talk.put(f"k{number}", b"v") for number in range(300)))
        assert await talk.ask(Backup("monday")) == Done()
        await talk.put("k1", b"later")
        before = await talk.record("k2")
        actor = await _actor(talk)
        taken = await talk.fail(Backup("monday"))
        assert taken.code is FailureCode.INVALID
    assert (node.metric("storage_last_backup_timestamp_seconds") or 0) > 0
    status, said = await _run(node, "verify", str(volume / "monday"))
    assert (status, "300 records of s1" in said) == (0, True), said
    other = storage_node("s2", backup_dir=str(volume))
    status, said = await _run(other, "restore", "monday")
    assert status == 0, said
    status, said = await _run(other, "restore", "monday")
    assert (status, "empty storage.data_dir first" in said) == (1, True), said
    status, said = await _run(other, "restore", "--if-empty", "monday")
    assert (status, "stays as it is" in said) == (0, True), said
    third, mark = storage_node("s3", backup_dir=str(volume)), storage_node.root / "restored"
    mark.touch()
    status, said = await _run(third, "restore", "--unless", str(mark), "monday")
    assert (status, said) == (0, f"{mark}: is there, so nothing is restored\n")
    mark.unlink()
    status, said = await _run(third, "restore", "--unless", str(mark), "monday")
    assert (status, "300 records of s1" in said) == (0, True), said
    await other.start()
    async with talking(other) as talk:
        assert await talk.values("k1") == [b"v"]
        assert await talk.record("k2") == before
        # It is another node with another history, though its records are the same.
        assert (await _actor(talk)).startswith("s2#")
        assert await _actor(talk) != actor
        assert other.metric("storage_records") == 300


async def test_old_backups_of_the_same_node_are_removed(storage_node: StorageNodes) -> None:
    volume = storage_node.root / "volume"
    node = await storage_node("s1", backup_dir=str(volume)).start()
    backup.take(_checkpoint, volume / "scratch", volume / "older", Origin("s1", "muster", "a", 1))
    backup.take(_checkpoint, volume / "scratch", volume / "other", Origin("s2", "muster", "a", 1))
    manifest = volume / "older" / backup.MANIFEST
    manifest.write_text(manifest.read_text().replace(':"20', ':"19').replace(': "20', ': "19'))
    status, said = await _run(node, "backup", "--keep", "2", "s1.a")
    assert (status, said) == (0, "backed up as s1.a\n")
    status, said = await _run(node, "backup", "--keep", "2", "s1.b")
    assert (status, said) == (0, "backed up as s1.b\nremoved older\n")
    status, said = await _run(node, "backup", "--if-missing", "--keep", "1", "s1.b")
    assert (status, said) == (0, "s1.b is there already\nremoved s1.a\n")
    assert {path.name for path in volume.iterdir()} == {"s1.b", "other"}
    status, said = await _run(node, "backup", "--keep", "0", "s1.c")
    assert (status, "got '0'; allowed: 1 to 1000" in said) == (2, True), said


async def test_old_backups_of_a_cluster_are_removed(storage_node: StorageNodes) -> None:
    """One of two nodes has left; a third is another cluster's."""
    volume = storage_node.root / "volume"
    node = await storage_node("s-0", backup_dir=str(volume)).start()

    def taken(name: str, node_id: str, cluster: str = "muster") -> None:
        origin = Origin(node_id, cluster, "a", 1)
        backup.take(_checkpoint, volume / "scratch", volume / name, origin)
        manifest = volume / name / backup.MANIFEST
        manifest.write_text(manifest.read_text().replace('"20', '"19'))

    for name in ("s-0.a", "s-1.a", "s-0.b", "s-1.b"):
        taken(name, name[:3])
    taken("else", "s-1", "other")
    again = ("backup", "--if-missing", "--keep", "1", "--nodes", "1")
    status, said = await _run(node, *again, "s-0.c")
    assert (status, said.splitlines()[0]) == (0, "backed up as s-0.c"), said
    assert {path.name for path in volume.iterdir()} == {"s-0.c", "else"}
    status, said = await _run(node, "backup", "--nodes", "1", "s-0.d")
    assert (status, "--nodes: goes with --keep" in said) == (2, True), said
    other = await storage_node("s1", backup_dir=str(volume)).start()
    status, said = await _run(other, *again, "s1.a")
    assert (status, "s1 is not among so many" in said) == (1, True), said


async def test_backups_that_were_given_up_unfinished_are_removed(
    storage_node: StorageNodes,
) -> None:
    volume = storage_node.root / "volume"
    node = await storage_node("s-0", backup_dir=str(volume)).start()
    now = time.time()

    def left(name: str, folder_hours: float, file_hours: float) -> None:
        folder, file = volume / name, volume / name / "000001.sst"
        folder.mkdir(parents=True)
        file.write_bytes(b"1")
        for path, hours in ((file, file_hours), (folder, folder_hours)):
            os.utime(path, (now - hours * 3600,) * 2)

    old = ["s-0.a.partial", "s-0-20260101T030000Z.partial", "s-1.b.partial", "s-7.a.partial"]
    for name in old:
        left(name, 25, 25)
    left("s-1.c.partial", 1, 25)
    left("s-1.d.partial", 25, 1)
    left("s-00.a.old", 25, 25)
    left("others-0.a.partial", 25, 25)
    left("s.partial", 25, 25)
    stay = {"s-1.c.partial", "s-1.d.partial", "s-00.a.old", "others-0.a.partial", "s.partial"}
    status, said = await _run(node, "backup", "--keep", "2", "s-0.e")
    assert status == 0, said
    own = {name for name in old if name.startswith("s-0")}
    assert {path.name for path in volume.iterdir()} == {*old, *stay, "s-0.e"} - own
    status, said = await _run(node, "backup", "--keep", "2", "--nodes", "1", "s-0.f")
    assert status == 0, said
    assert said.splitlines()[1:] == [f"removed {name}" for name in sorted(set(old) - own)]
    assert {path.name for path in volume.iterdir()} == stay | {"s-0.e", "s-0.f"}


async def test_a_backup_is_joined_into_what_a_running_node_has(
    storage_node: StorageNodes,
) -> None:
    volume = storage_node.root / "volume"
    node = await storage_node("s1", backup_dir=str(volume)).start()
    async with talking(node) as talk:
        for key in ("kept", "deleted", "replaced"):
            await talk.put(key, b"old")
        assert (await _run(node, "backup", "monday"))[0] == 0
        await talk.put("deleted", None)
        await talk.put("replaced", b"new")
    other = await storage_node("s2", backup_dir=str(volume)).start()
    status, said = await _run(other, "restore", "--merge", "monday")
    assert status == 0, said
    async with talking(node) as talk, talking(other) as second:
        assert await second.values("kept") == [b"old"]
        assert await second.values("replaced") == [b"old"]
        assert await talk.ask(Restore("monday")) == Done()
        # What is newer than the backup stays: a join takes nothing back.
        assert await talk.values("deleted") == [None]
        assert await talk.values("replaced") == [b"new"]


async def test_writes_go_on_while_a_backup_is_made(storage_node: StorageNodes) -> None:
    volume = storage_node.root / "volume"
    node = await storage_node("s1", backup_dir=str(volume)).start()
    async with talking(node) as talk:
        for number in range(20):
            await talk.put(f"large{number}", bytes(10**6))
        # Where this process has to wait for the machine, one may be made beside a single write.
        for name in map(str, range(20)):
            making = asyncio.create_task(talk.ask(Backup(name)))
            written = 0
            while not making.done():
                await talk.put(f"k{written}", b"v")
                written += 1
            assert making.result() == Done()
            # More than the one that was on its way when it was done.
            if written > 1:
                break
        assert written > 1
    backup.verify(volume / name)


async def test_without_a_volume_or_a_name_there_is_no_backup(storage_node: StorageNodes) -> None:
    without = await storage_node("s1").start()
    async with talking(without) as talk:
        failure = await talk.fail(Backup("b"))
        assert (failure.code, "backup_dir" in failure.detail) == (FailureCode.INVALID, True)
    node = await storage_node("s2", backup_dir=str(storage_node.root / "volume")).start()
    async with talking(node) as talk:
        for name in ("", "../b", "a/b", ".b", "b.partial", "b" * 200):
            for body in (Backup(name), Restore(name)):
                assert (await talk.fail(body)).code is FailureCode.INVALID
        missing = await talk.fail(Restore("none"))
        assert "No such file" in missing.detail


def _checkpoint(place: Path) -> None:
    place.mkdir()
    for name in ("a.sst", "CURRENT"):
        (place / name).write_bytes(name.encode() * 1000)


def _taken(tmp_path: Path) -> Path:
    target = tmp_path / "volume" / "b"
    backup.take(_checkpoint, tmp_path / "scratch", target, ORIGIN)
    return target


def test_what_is_fetched_is_what_was_taken(tmp_path: Path) -> None:
    taken = _taken(tmp_path)
    manifest = backup.fetch(taken, tmp_path / "back")
    assert manifest.origin == ORIGIN
    assert (tmp_path / "back" / "a.sst").read_bytes() == b"a.sst" * 1000
    assert sorted(path.name for path in tmp_path.iterdir()) == ["back", "volume"]


@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_a_damaged_backup_is_told_and_never_used(tmp_path: Path, damage: str) -> None:
    taken = _taken(tmp_path)
    file = taken / "a.sst"
    content = bytearray(file.read_bytes())
    content[7] ^= 1
    if damage == "flip":
        file.write_bytes(content)
    elif damage == "cut":
        file.write_bytes(content[:-1])
    else:
        file.unlink()
    with pytest.raises(BackupError, match=r"a\.sst"):
        backup.verify(taken)
    with pytest.raises(BackupError, match=r"a\.sst"):
        backup.fetch(taken, tmp_path / "back")
    assert not (tmp_path / "back").exists()


@pytest.mark.parametrize("manifest", [None, "", "[]", "{}", json.dumps({"format": 99})])
def test_a_folder_without_a_manifest_is_no_backup(tmp_path: Path, manifest: str | None) -> None:
    if manifest is not None:
        (tmp_path / backup.MANIFEST).write_text(manifest)
    with pytest.raises(BackupError, match=r"manifest\.json"):
        backup.verify(tmp_path)


def test_a_backup_that_fails_leaves_nothing_that_looks_like_one(tmp_path: Path) -> None:
    def broken(place: Path) -> None:
        _checkpoint(place)
        (place / "b.sst").symlink_to(place / "none")
        (place / "c.sst").mkdir()
        raise OSError(5, "Input/output error", str(place))

    target = tmp_path / "b"
    with pytest.raises(BackupError, match="Input/output error"):
        backup.take(broken, tmp_path / "scratch", target, ORIGIN)
    assert list(tmp_path.iterdir()) == []
