"""Rust's tools at work on our crates."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from muster_dev import apt, cache, projects, shell
from muster_dev.errors import SetupError

if TYPE_CHECKING:
    from muster_dev.workspace import Workspace

# Folders of crates, each with its own pins.
CRATES = ("native", "native/records", "native/front")
_STRICT = ("--locked", "--all-targets", "--all-features", "--", "-D", "warnings")
_COMPONENTS = "Run `rustup component add clippy rustfmt`, or install what your system calls them."


def environment(work: Workspace) -> dict[str, str]:
    """Return the variables for cargo: one folder of compiled crates for all that we build.

    Raises SetupError when there is no Rust, or nothing to link with and no way to install it.
    """
    cargo = work.bootstrap.cargo()
    if shell.which("cc") is None:
        # Rust links with it.
        log = work.paths.logs / "apt.log"
        apt.ensure(["gcc", "libc6-dev"], work.steps, log, "Compiling the prover")
    path = os.pathsep.join([str(Path(cargo).parent), os.environ.get("PATH", "")])
    return {"PATH": path, "CARGO_TARGET_DIR": str(work.paths.cache / "cargo-target")}


def restore_locks(work: Workspace, python: str) -> None:
    """Write each Cargo.lock from its pins, with a Python of 3.11 or newer."""
    script = work.paths.repo / "native" / "lockfile.py"
    log = work.paths.logs / "rust.log"
    for crate in CRATES:
        argv = [python, str(script), "restore", str(work.paths.repo / crate)]
        shell.run(argv, env=environment(work), log=log, timeout=120)


def checks(work: Workspace) -> dict[str, list[str]]:
    """Return the command lines that look at the code of our crates, by their titles.

    Raises SetupError when this Rust was installed without them.
    """
    cargo = work.bootstrap.cargo()
    for action in ("fmt", "clippy"):
        if not shell.succeeds([cargo, action, "--version"], env=environment(work)):
            raise SetupError(f"This Rust has no `cargo {action}`.", hint=_COMPONENTS)
    found = {}
    for crate in CRATES:
        found[f"Format of {crate} (rustfmt)"] = [cargo, "fmt", _manifest(crate), "--check"]
        found[f"Style of {crate} (clippy)"] = [cargo, "clippy", _manifest(crate), *_STRICT]
    return found


def passed(work: Workspace, crate: str) -> Path:
    """Return the file that is there when a crate's own tests passed on these very sources."""
    compiler = shell.output([work.bootstrap.cargo(), "--version"])
    parts = [compiler]
    for folder in projects.crates(work.paths.repo / crate):
        code = [file for part in ("src", "tests") for file in (folder / part).rglob("*.rs")]
        sources = [*code, folder / "Cargo.toml", folder / "Cargo.pins"]
        parts.append(cache.digest_files(folder, sources))
    return work.paths.cache / "rust-tests" / cache.digest(*parts)


def compiled_tests(work: Workspace, crate: str) -> list[str]:
    """Compile a crate's own tests; return the command line that runs them."""
    test = [work.bootstrap.cargo(), "test", _manifest(crate), "--quiet", "--locked"]
    # Not beside tests that wait for something with a deadline.
    with work.steps.step(f"Compile the tests of {crate}"):
        log = work.paths.logs / "rust.log"
        shell.run([*test, "--no-run"], cwd=work.paths.repo, env=environment(work), log=log)
    return test


def _manifest(crate: str) -> str:
    return f"--manifest-path={crate}/Cargo.toml"
