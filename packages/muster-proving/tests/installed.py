"""What the tests need beside our packages: made once, outside of the checkout."""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path


def made(kind: str, parts: Sequence[bytes], make: Callable[[Path], None]) -> Path:
    """The folder that `make` has filled; made anew where any of `parts`, its sources, differs."""
    digest = hashlib.sha256(b"".join(parts))
    cache = Path(os.environ.get("MUSTER_CACHE") or Path.home() / ".cache" / "muster")
    folder = cache / f"{kind}-{digest.hexdigest()[:16]}"
    if not folder.exists():
        partial = folder.with_name(f"{folder.name}.{os.getpid()}")
        partial.mkdir(parents=True)
        make(partial)
        _settle(partial, folder)
    return folder


def npm(kind: str, source: Path) -> Path:
    """The folder with the packages of `source`'s lock file installed."""

    def install(folder: Path) -> None:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(source / name, folder)
        command = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
        subprocess.run(command, cwd=folder, check=True, timeout=240)

    return made(kind, [(source / "package-lock.json").read_bytes()], install)


def go(kind: str, source: Path) -> Path:
    """The folder with the program `program` that is built of a Go module."""

    def build(folder: Path) -> None:
        found = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
        assert found is not None, "go not found: install Go 1.24 or newer"
        command = [found, "build", "-trimpath", "-buildvcs=false", "-o", str(folder / "program")]
        subprocess.run([*command, "."], cwd=source, check=True, timeout=280)

    return made(kind, [file.read_bytes() for file in sorted(source.iterdir())], build)


def _settle(partial: Path, folder: Path) -> None:
    """Rename; another test process may have been faster."""
    try:
        partial.rename(folder)
    except OSError:
        assert folder.exists()
        shutil.rmtree(partial)
