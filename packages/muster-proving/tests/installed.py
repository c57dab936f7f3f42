"""Programs that the tests ask: installed once outside of the checkout, one for each lock file."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path


def _cached(kind: str, sources: list[Path]) -> tuple[Path, Path]:
    """Where a program belongs that is made of `sources`, and where to make it."""
    digest = hashlib.sha256(b"".join(source.read_bytes() for source in sources))
    cache = Path(os.environ.get("MUSTER_CACHE") or Path.home() / ".cache" / "muster")
    folder = cache / f"{kind}-{digest.hexdigest()[:16]}"
    return folder, folder.with_name(f"{folder.name}.{os.getpid()}")


def npm(kind: str, source: Path) -> Path:
    """The folder with the packages of `source`'s lock file installed."""
    folder, partial = _cached(kind, [source / "package-lock.json"])
    if not folder.exists():
        partial.mkdir(parents=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(source / name, partial)
        command = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
        subprocess.run(command, cwd=partial, check=True, timeout=240)
        _settle(partial, folder)
    return folder


def go(kind: str, source: Path) -> Path:
    """The folder with the program `program` that is built of a Go module."""
    folder, partial = _cached(kind, sorted(source.iterdir()))
    if not folder.exists():
        partial.mkdir(parents=True)
        found = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
        assert found is not None, "go not found: install Go 1.24 or newer"
        command = [found, "build", "-trimpath", "-buildvcs=false", "-o", str(partial / "program")]
        subprocess.run([*command, "."], cwd=source, check=True, timeout=280)
        _settle(partial, folder)
    return folder


def _settle(partial: Path, folder: Path) -> None:
    """Rename; another test process may have been faster."""
    try:
        partial.rename(folder)
    except OSError:
        assert folder.exists()
        shutil.rmtree(partial)
