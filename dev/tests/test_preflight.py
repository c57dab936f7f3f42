import shutil
from pathlib import Path

import pytest

from muster_dev import bootstrap, preflight, shell, sysctls
from muster_dev.errors import SetupError
from muster_dev.preflight import GIB

MOUNTS = """/dev/vda / ext4 rw 0 0
overlay /var/lib/docker/overlay2/x overlay rw 0 0
tmpfs /run tmpfs rw 0 0
server:/home /home nfs4 rw 0 0
"""


def test_another_user_than_root_is_told_what_for() -> None:
    preflight.require_root("Starting a daemon", user=0)
    with pytest.raises(SetupError, match="Starting a daemon needs root"):
        preflight.require_root("Starting a daemon", user=1000)


def test_a_full_disk_is_told_with_place_and_amount(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free / GIB
    preflight.require_space({tmp_path: free / 2})
    with pytest.raises(SetupError, match=rf"{tmp_path}.* has .* GiB free, and .* GiB are needed"):
        preflight.require_space({tmp_path / "not" / "there": free + 10})


def test_what_two_folders_need_on_one_disk_is_added(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free / GIB
    with pytest.raises(SetupError, match="GiB free"):
        preflight.require_space({tmp_path / "a": free * 0.7, tmp_path / "b": free * 0.7})


@pytest.mark.parametrize(
    ("folder", "kind"),
    [("/", "ext4"), ("/runaway", "ext4"), ("/run/x", "tmpfs"), ("/home/ada/.local", "nfs4")],
)
def test_the_file_system_is_that_of_the_nearest_mount(folder: str, kind: str) -> None:
    assert preflight.filesystem_type(Path(folder), MOUNTS) == kind


def test_a_file_system_that_containers_cannot_be_kept_on_is_refused() -> None:
    preflight.require_overlay(Path("/"), MOUNTS)
    with pytest.raises(SetupError, match="of type overlay, on which containers cannot be kept"):
        preflight.require_overlay(Path("/"), "overlay / overlay rw 0 0\n")


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("go version go1.26.8 linux/amd64", (1, 26, 8)),
        ("go version go1.27 linux/amd64", (1, 27)),
        ("command not found", ()),
    ],
)
def test_the_version_of_go_is_read(text: str, version: tuple[int, ...]) -> None:
    assert bootstrap.go_version(text) == version


@pytest.mark.parametrize(
    ("text", "version"), [("Python 3.11.7", (3, 11, 7)), ("Python 3.14.0b2", (3, 14, 0)), ("", ())]
)
def test_the_version_of_python_is_read(text: str, version: tuple[int, ...]) -> None:
    assert bootstrap.python_version(text) == version


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("cargo 1.85.0 (d73d2caf9 2024-12-31)", (1, 85, 0)),
        ("cargo 1.93.0-nightly (abc 2026-01-01)", (1, 93, 0)),
        ("error: no default toolchain", ()),
    ],
)
def test_the_version_of_rust_is_read(text: str, version: tuple[int, ...]) -> None:
    assert bootstrap.cargo_version(text) == version


@pytest.mark.parametrize(
    ("found", "told"), [("1.65.0", "only 1.65.0 is here"), ("", "no `cargo` is on PATH")]
)
def test_a_rust_that_is_too_old_or_not_there_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: str, told: str
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(shell, "_SYSTEM", ())
    if found:
        program = tmp_path / "cargo"
        program.write_text(f"#!/bin/sh\necho cargo {found}\n")
        program.chmod(0o755)
    with pytest.raises(SetupError, match=f"Rust 1.85 or newer is needed .* {told}"):
        bootstrap.find_cargo()


def make_settings(root: Path) -> None:
    values = dict.fromkeys(sysctls.CHANGED, "1")
    values["fs/inotify/max_user_watches"] = "1000000"
    for name, value in values.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{value}\n")


def test_settings_of_the_kernel_are_set_and_put_back(tmp_path: Path) -> None:
    root, record = tmp_path / "sys", tmp_path / "record"
    make_settings(root)
    sysctls.remember(record, root)
    sysctls.prepare(root)
    assert (root / "fs/inotify/max_user_instances").read_text() == "8192"
    assert (root / "fs/inotify/max_user_watches").read_text() == "1000000\n"
    assert (root / "net/bridge/bridge-nf-call-iptables").read_text() == "0"
    (root / "kernel/panic").write_text("10\n")
    # A second run must not take the changed settings for the machine's own.
    sysctls.remember(record, root)
    changed = sysctls.restore(record, root)
    assert "kernel/panic" in changed
    assert "vm/overcommit_memory" not in changed
    assert all((root / name).read_text().strip() in ("1", "1000000") for name in sysctls.CHANGED)
    assert sysctls.restore(record, root) == []
