"""The pins and the lock file that cargo builds by say the same."""

import importlib.util
import json
import subprocess
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

NATIVE = Path(__file__).parents[1]
REGISTRY = "registry+test"


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("lockfile", NATIVE / "lockfile.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


lockfile = _load()

CRATES = [NATIVE, NATIVE / "front", NATIVE / "records"]
of_each_crate = pytest.mark.parametrize("crate", CRATES, ids=lambda p: p.name)


def pins(crate: Path) -> str:
    return (crate / "Cargo.pins").read_text(encoding="utf-8")


LINKED = {NATIVE / "front": [NATIVE / "records"]}
"""Which crates of ours are compiled into another, beside which they lie."""


def copied(crate: Path, folder: Path) -> Path:
    (folder / "src").mkdir(parents=True)
    (folder / "src" / "lib.rs").touch()
    for name in ("Cargo.toml", "Cargo.pins"):
        (folder / name).write_bytes((crate / name).read_bytes())
    for other in LINKED.get(crate, []):
        copied(other, folder.parent / other.name)
    return folder


@of_each_crate
def test_pins_and_lock_turn_into_each_other(crate: Path) -> None:
    lock = lockfile.to_lock(pins(crate), REGISTRY)
    assert lockfile.to_pins(lock) == pins(crate)
    assert lockfile.to_lock(lockfile.to_pins(lock), REGISTRY) == lock


@of_each_crate
def test_every_crate_but_our_own_is_pinned_by_a_checksum(crate: Path) -> None:
    packages = tomllib.loads(lockfile.to_lock(pins(crate), REGISTRY))["package"]
    without = [package["name"] for package in packages if "checksum" not in package]
    assert without == [f"muster-{each.name}" for each in (crate, *LINKED.get(crate, []))]
    pinned = [package for package in packages if "checksum" in package]
    assert all(len(package["checksum"]) == 64 for package in pinned)
    assert all(package["source"] == REGISTRY for package in pinned)


def test_restoring_writes_once_and_then_leaves_the_file_alone(tmp_path: Path) -> None:
    copied(NATIVE, tmp_path)
    lockfile.restore(tmp_path)
    lock = tmp_path / "Cargo.lock"
    written = lock.stat().st_mtime_ns
    lockfile.restore(tmp_path)
    assert lock.stat().st_mtime_ns == written
    lock.write_text("damaged")
    lockfile.restore(tmp_path)
    lockfile.pin(tmp_path)
    assert (tmp_path / "Cargo.pins").read_text(encoding="utf-8") == pins(NATIVE)


@pytest.mark.integration
@of_each_crate
def test_cargo_accepts_the_restored_lock(crate: Path, tmp_path: Path) -> None:
    folder = copied(crate, tmp_path / crate.name)
    lockfile.restore(folder)
    command = ["cargo", "metadata", "--locked", "--all-features", "--format-version=1"]
    done = subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=240)
    found = {package["name"] for package in json.loads(done.stdout)["packages"]}
    assert {line.split(" ")[0] for line in pins(crate).splitlines()} == found
