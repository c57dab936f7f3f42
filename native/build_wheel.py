"""Builds the wheel of a crate with its pinned dependencies: build_wheel.py --out DIR.

The crate is muster_native, or that of --crate: native/front is muster_front, native/records is
muster_records.

Needs cargo and maturin (on PATH, or beside the Python that runs this). Everything that the build
leaves behind goes to --target-dir: by default $CARGO_TARGET_DIR or a folder in Muster's cache.
Prints the path of the wheel on the last line.
"""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

NATIVE = Path(__file__).resolve().parent


def find_maturin() -> str:
    """The maturin beside this Python, or else the one on PATH."""
    beside = Path(sys.executable).with_name("maturin")
    found = str(beside) if beside.exists() else shutil.which("maturin")
    if found is None:
        raise SystemExit("maturin not found: install it into this Python (pip install maturin)")
    return found


def default_target_dir() -> Path:
    """Outside of the checkout, and the same on every build."""
    if configured := os.environ.get("CARGO_TARGET_DIR"):
        return Path(configured)
    cache = os.environ.get("MUSTER_CACHE") or Path.home() / ".cache" / "muster"
    return Path(cache) / "cargo-target"


def build(out: Path, target_dir: Path, crate: Path = NATIVE) -> Path:
    """Builds the crate's wheel into `out` and returns its path."""
    if shutil.which("cargo") is None:
        raise SystemExit("cargo not found: install Rust 1.85 or newer")
    lockfile = [sys.executable, str(NATIVE / "lockfile.py"), "restore", str(crate)]
    subprocess.run(lockfile, check=True)
    out.mkdir(parents=True, exist_ok=True)
    command = [find_maturin(), "build", "--release", "--locked", "--out", str(out.resolve())]
    environment = {**os.environ, "CARGO_TARGET_DIR": str(target_dir.resolve())}
    if subprocess.run(command, cwd=crate, env=environment, check=False).returncode != 0:
        raise SystemExit(f"the build of {crate} failed; its messages are above")
    return max(out.glob("muster_*.whl"), key=lambda wheel: wheel.stat().st_mtime)


def main() -> None:
    """Parses the command line and builds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for the wheel")
    parser.add_argument("--crate", type=Path, default=NATIVE, help="its folder (%(default)s)")
    parser.add_argument("--target-dir", type=Path, default=default_target_dir())
    arguments = parser.parse_args()
    wheel = build(arguments.out, arguments.target_dir, arguments.crate.resolve())
    sys.stdout.write(f"{wheel}\n")


if __name__ == "__main__":
    main()
