"""Rust's tools at work on the prover."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from muster_dev import apt, cache, shell
from muster_dev.errors import SetupError

if TYPE_CHECKING:
    from muster_dev.workspace import Workspace

_MANIFEST = "--manifest-path=native/Cargo.toml"
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


def restore_lock(work: Workspace, python: str) -> None:
    """Write Cargo.lock from its pins, with a Python of 3.11 or newer."""
    script = work.paths.repo / "native" / "lockfile.py"
    log = work.paths.logs / "rust.log"
    shell.run([python, str(script), "restore"], env=environment(work), log=log, timeout=120)


def checks(work: Workspace) -> dict[str, list[str]]:
    """Return the command lines that look at the prover's code, by their titles.

    Raises SetupError when this Rust was installed without them.
    """
    cargo = work.bootstrap.cargo()
    for action in ("fmt", "clippy"):
        if not shell.succeeds([cargo, action, "--version"], env=environment(work)):
            raise SetupError(f"This Rust has no `cargo {action}`.", hint=_COMPONENTS)
    return {
        "Format of native (rustfmt)": [cargo, "fmt", _MANIFEST, "--check"],
        "Style of native (clippy)": [cargo, "clippy", _MANIFEST, *_STRICT],
    }


def passed(work: Workspace) -> Path:
    """Return the file that is there when the prover's own tests passed on these very sources."""
    native = work.paths.repo / "native"
    code = [file for folder in ("src", "tests") for file in (native / folder).rglob("*.rs")]
    sources = [*code, native / "Cargo.toml", native / "Cargo.pins"]
    compiler = shell.output([work.bootstrap.cargo(), "--version"])
    key = cache.digest(compiler, cache.digest_files(native, sources))
    return work.paths.cache / "rust-tests" / key


def compiled_tests(work: Workspace) -> list[str]:
    """Compile the prover's own tests; return the command line that runs them."""
    test = [work.bootstrap.cargo(), "test", _MANIFEST, "--quiet", "--locked"]
    # Not beside tests that wait for something with a deadline.
    with work.steps.step("Compile the prover's tests"):
        log = work.paths.logs / "rust.log"
        shell.run([*test, "--no-run"], cwd=work.paths.repo, env=environment(work), log=log)
    return test
