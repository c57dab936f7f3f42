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
PINS = (NATIVE / "Cargo.pins").read_text(encoding="utf-8")


def test_pins_and_lock_turn_into_each_other() -> None:
    lock = lockfile.to_lock(PINS, REGISTRY)
    assert lockfile.to_pins(lock) == PINS
    assert lockfile.to_lock(lockfile.to_pins(lock), REGISTRY) == lock


def test_every_crate_but_our_own_is_pinned_by_a_checksum() -> None:
    packages = tomllib.loads(lockfile.to_lock(PINS, REGISTRY))["package"]
    without = [package["name"] for package in packages if "checksum" not in package]
    assert without == ["muster-native"]
    pinned = [package for package in packages if "checksum" in package]
    assert all(len(package["checksum"]) == 64 for package in pinned)
    assert all(package["source"] == REGISTRY for package in pinned)


def test_restoring_writes_once_and_then_leaves_the_file_alone(tmp_path: Path) -> None:
    for name in ("Cargo.toml", "Cargo.pins"):
        (tmp_path / name).write_bytes((NATIVE / name).read_bytes())
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "lib.rs").touch()
    lockfile.restore(tmp_path)
    lock = tmp_path / "Cargo.lock"
    written = lock.stat().st_mtime_ns
    lockfile.restore(tmp_path)
    assert lock.stat().st_mtime_ns == written
    lock.write_text("damaged")
    lockfile.restore(tmp_path)
    lockfile.pin(tmp_path)
    assert (tmp_path / "Cargo.pins").read_text(encoding="utf-8") == PINS


@pytest.mark.integration
def test_cargo_accepts_the_restored_lock(tmp_path: Path) -> None:
    for name in ("Cargo.toml", "Cargo.pins"):
        (tmp_path / name).write_bytes((NATIVE / name).read_bytes())
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "lib.rs").touch()
    lockfile.restore(tmp_path)
    command = ["cargo", "metadata", "--locked", "--all-features", "--format-version=1"]
    done = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=240)
    found = {package["name"] for package in json.loads(done.stdout)["packages"]}
    assert {line.split(" ")[0] for line in PINS.splitlines()} == found
