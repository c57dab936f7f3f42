"""Builds the contender that is gnark, from its Go module."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

SOURCE = Path(__file__).parent / "gnark"


def build() -> Path:
    """The path of the program; compiled only if its source has changed.

    Raises SystemExit with one sentence if Go is missing or the build fails.
    """
    go = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
    if go is None:
        raise SystemExit("go not found: the bench compiles gnark, install Go 1.24 or newer")
    digest = hashlib.sha256()
    for path in sorted(SOURCE.iterdir()):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    cache = Path(os.environ.get("MUSTER_CACHE") or Path.home() / ".cache" / "muster")
    program = cache / "bench" / f"gnark-{digest.hexdigest()[:16]}"
    if not program.exists():
        program.parent.mkdir(parents=True, exist_ok=True)
        partial = program.with_suffix(f".{os.getpid()}")
        command = [go, "build", "-trimpath", "-buildvcs=false", "-o", str(partial), "."]
        if subprocess.run(command, cwd=SOURCE, check=False).returncode != 0:
            raise SystemExit("gnark could not be built; the messages of Go are above")
        partial.rename(program)
    return program


def version() -> str:
    """The version of gnark that go.mod pins."""
    for line in (SOURCE / "go.mod").read_text(encoding="utf-8").splitlines():
        words = line.split()
        if words[:1] == ["github.com/consensys/gnark"]:
            return words[1]
    raise ValueError("go.mod does not name gnark")
