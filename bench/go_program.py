"""Builds a contender that is written in Go, from its folder with a go.mod."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path


def build(source: Path) -> Path:
    """The path of the program; compiled only if its source has changed.

    Raises SystemExit with one sentence if Go is missing or the build fails.
    """
    go = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
    if go is None:
        raise SystemExit(
            f"go not found: the bench compiles {source.name}, install Go 1.26 or newer"
        )
    digest = hashlib.sha256()
    for path in sorted(source.iterdir()):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    cache = Path(os.environ.get("MUSTER_CACHE") or Path.home() / ".cache" / "muster")
    program = cache / "bench" / f"{source.name}-{digest.hexdigest()[:16]}"
    if not program.exists():
        program.parent.mkdir(parents=True, exist_ok=True)
        partial = program.with_suffix(f".{os.getpid()}")
        command = [go, "build", "-trimpath", "-buildvcs=false", "-o", str(partial), "."]
        if subprocess.run(command, cwd=source, check=False).returncode != 0:
            raise SystemExit(f"{source.name} could not be built; the messages of Go are above")
        partial.rename(program)
    return program


def version(source: Path, module: str) -> str:
    """The version of a module that go.mod pins."""
    for line in (source / "go.mod").read_text(encoding="utf-8").splitlines():
        words = line.split()
        if words[:1] == [module]:
            return words[1]
    raise ValueError(f"{source}/go.mod does not name {module}")
