"""The virtualenv of the checkout: pinned packages, those in Rust, and our packages in place."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from muster_dev import cache, projects, shell, wheels
from muster_dev.bootstrap import find_python
from muster_dev.errors import SetupError

if TYPE_CHECKING:
    from muster_dev.projects import Project
    from muster_dev.workspace import Workspace


def ensure(work: Workspace) -> Path:
    """Bring the virtualenv to what the checkout asks for; return its folder of programs.

    Nothing is done when nothing has changed since the last time.
    """
    venv = work.paths.venv
    stamp = venv / "muster-stamp"
    known = projects.discover(work.paths.repo)
    python = find_python()
    with cache.lock(work.paths.state / "virtualenv.lock"):
        wanted = _stamp(work.paths.repo, known, shell.output([python, "--version"]))
        if not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted:
            stamp.unlink(missing_ok=True)
            _make(work, python, known)
            stamp.write_text(wanted, encoding="utf-8")
    return venv / "bin"


def bytecode(work: Workspace) -> dict[str, str]:
    """Return the variables with which its programs compile a module once, and not at each start.

    That holds whatever the environment says, and leaves nothing beside the sources.
    """
    return {
        "PYTHONDONTWRITEBYTECODE": "",
        "PYTHONPYCACHEPREFIX": str(work.paths.venv / "bytecode"),
    }


def lock(work: Workspace) -> None:
    """Pin all dependencies anew, with the uv that is pinned itself.

    Raises SetupError when they cannot be resolved.
    """
    path = os.pathsep.join([str(work.bootstrap.programs()), os.environ.get("PATH", "")])
    script = str(work.paths.repo / "requirements" / "lock.sh")
    with work.steps.attended("Pin the dependencies"):
        if shell.attend([script], env={"PATH": path}) != 0:
            raise SetupError("The dependencies cannot be pinned, see above.")


def _stamp(repo: Path, known: dict[str, Project], version: str) -> str:
    pins = (repo / "requirements" / "dev.txt").read_bytes()
    in_place = [project for project in known.values() if project.name not in projects.COMPILED]
    settings = [(project.folder / "pyproject.toml").read_bytes() for project in in_place]
    compiled = [known[name] for name in projects.COMPILED]
    return cache.digest(version, pins, *settings, projects.digest(compiled))


def _make(work: Workspace, python: str, known: dict[str, Project]) -> None:
    log = work.paths.logs / "virtualenv.log"
    log.unlink(missing_ok=True)
    uv, venv = work.bootstrap.uv(), work.paths.venv
    # Its own list of authorities does not have those that a machine was given.
    env = {"VIRTUAL_ENV": str(venv), "UV_SYSTEM_CERTS": "1"}
    compiled = [str(wheels.compiled_wheel(work, known[name])) for name in projects.COMPILED]
    with work.steps.step("Install the pinned packages into .venv"):
        if not _has_version(venv, python):
            shell.run([uv, "venv", "--clear", "--python", python, str(venv)], log=log)
        pins = str(work.paths.repo / "requirements" / "dev.txt")
        sync = [uv, "pip", "sync", "--require-hashes", pins]
        shell.run(sync, log=log, env=env, timeout=1800)
        with tempfile.TemporaryDirectory() as folder:
            own = _editable_wheels(work, known, Path(folder))
            install = [uv, "pip", "install", "--no-deps", "--offline", "--reinstall"]
            shell.run([*install, *compiled, *own], log=log, env=env, timeout=600)


def _editable_wheels(work: Workspace, known: dict[str, Project], out: Path) -> list[str]:
    return [
        str(wheels.editable_wheel(work, project, out / name))
        for name, project in known.items()
        if name not in projects.COMPILED
    ]


def _has_version(venv: Path, python: str) -> bool:
    there = venv / "bin" / "python"
    ask = ["-c", "import sys; print(sys.version)"]
    try:
        return shell.output([str(there), *ask]) == shell.output([python, *ask])
    except shell.CommandError:
        return False
