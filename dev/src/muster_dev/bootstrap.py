"""Programs that come from the Python index, and the compilers that are looked for first.

They live in one virtualenv in the cache, pinned with their hashes, apart from the checkout's own.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from muster_dev import apt, cache, shell
from muster_dev.errors import SetupError

if TYPE_CHECKING:
    from muster_dev.paths import Paths
    from muster_dev.steps import Steps

GO_AT_LEAST = (1, 26, 6)
RUST_AT_LEAST = (1, 85)
PYTHON_AT_LEAST = (3, 11)
PYTHON_BELOW = (3, 14)
_PYTHONS = ("python3", "python3.13", "python3.12", "python3.11")
_GO_HOMES = ("/usr/local/go/bin", "/usr/lib/go/bin")


class Bootstrap:
    """Finds or installs the programs that build things on this machine."""

    def __init__(self, paths: Paths, steps: Steps) -> None:
        self._paths = paths
        self._steps = steps
        self._cache = cache.Cache(paths.cache)
        self._log = paths.logs / "bootstrap.log"
        self._cargo: str | None = None

    def uv(self) -> str:
        """Return the program uv."""
        return str(self._venv("tools") / "bin" / "uv")

    def python(self) -> str:
        """Return the Python that has the build tools of our packages."""
        return str(self._venv("tools") / "bin" / "python")

    def programs(self) -> Path:
        """Return the folder of the build tools."""
        return self._venv("tools") / "bin"

    def go(self) -> str:
        """Return a Go compiler that is new enough: the machine's, or one of the Python index."""
        for folder in ("", *_GO_HOMES):
            program = shell.which(f"{folder}/go" if folder else "go")
            if program and go_version(shell.output([program, "version"])) >= GO_AT_LEAST:
                return program
        return str(self._venv("go") / "bin" / "go")

    def cargo(self) -> str:
        """Return the Rust build tool.

        Raises SetupError when there is none that is new enough.
        """
        if self._cargo is None:
            self._cargo = find_cargo()
        return self._cargo

    def _venv(self, name: str) -> Path:
        pins = self._paths.dev / "bootstrap" / f"{name}.txt"
        python = find_python()
        key = cache.digest(pins.read_bytes(), python, shell.output([python, "--version"]))
        # A virtualenv knows its own place, so it is made there; its last file says it is whole.
        folder = self._paths.cache / "bootstrap" / f"{name}-{key}"
        whole = folder / "whole"
        if not whole.exists():
            with cache.lock(self._paths.cache / "bootstrap" / ".lock"):
                if not whole.exists():
                    self._make_venv(python, folder, pins)
                    whole.touch()
        return folder

    def _make_venv(self, python: str, folder: Path, pins: Path) -> None:
        if not shell.succeeds([python, "-c", "import ensurepip, venv"]):
            apt.ensure(["python3-venv"], self._steps, self._log, "A virtualenv")
        with self._steps.step(f"Install build tools from the Python index ({pins.stem})"):
            shell.run([python, "-m", "venv", "--clear", str(folder)], log=self._log)
            pip = [str(folder / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]
            options = ["install", "--require-hashes", "--only-binary=:all:", "-r", str(pins)]
            shell.run([*pip, *options], log=self._log, timeout=900)


def go_version(text: str) -> tuple[int, ...]:
    """Return the numbers in what ``go version`` says, or none if it says something else."""
    found = re.search(r"go(\d+(?:\.\d+)+)", text)
    return tuple(int(part) for part in found.group(1).split(".")) if found else ()


def find_cargo() -> str:
    """Return the Rust build tool, that of rustup where PATH has none that is new enough.

    Raises SetupError when there is none.
    """
    seen = []
    for name in ("cargo", str(Path.home() / ".cargo" / "bin" / "cargo")):
        program = shell.which(name)
        if program is None:
            continue
        version = cargo_version(shell.output([program, "--version"]))
        if version >= RUST_AT_LEAST:
            return program
        seen.append(".".join(map(str, version)))
    found = f"only {', '.join(dict.fromkeys(seen))} is here" if seen else "no `cargo` is on PATH"
    least = ".".join(map(str, RUST_AT_LEAST))
    raise SetupError(
        f"Rust {least} or newer is needed to compile the prover, and {found}.",
        hint="Install it, for example with rustup.",
    )


def cargo_version(text: str) -> tuple[int, ...]:
    """Return the numbers in what ``cargo --version`` says, or none if it says something else."""
    found = re.search(r"cargo (\d+)\.(\d+)\.(\d+)", text)
    return tuple(int(part) for part in found.groups()) if found else ()


def find_python() -> str:
    """Return a Python for the checkout's virtualenv.

    Raises SetupError when no version from 3.11 to 3.13 is there.
    """
    seen = []
    for name in dict.fromkeys((sys.executable, *_PYTHONS)):
        program = shell.which(name)
        if program is None:
            continue
        try:
            version = python_version(shell.output([program, "--version"]))
        except shell.CommandError:
            continue
        if PYTHON_AT_LEAST <= version[:2] < PYTHON_BELOW:
            return program
        seen.append(".".join(str(part) for part in version))
    found = f"only {', '.join(dict.fromkeys(seen))} is here" if seen else "none is here"
    raise SetupError(
        f"Python 3.11, 3.12 or 3.13 is needed, and {found}.",
        hint="On Debian 12 or newer and on Ubuntu 24.04: apt-get install python3 python3-venv.",
    )


def python_version(text: str) -> tuple[int, ...]:
    """Return the numbers in what ``python --version`` says."""
    found = re.search(r"(\d+)\.(\d+)\.(\d+)", text)
    return tuple(int(part) for part in found.groups()) if found else ()
