"""Wheels: our own, those in Rust among them, and those that an image's requirements pin."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

from muster_dev import cache, projects, rust, shell
from muster_dev.projects import COMPILED

if TYPE_CHECKING:
    from pathlib import Path

    from muster_dev.projects import Project
    from muster_dev.workspace import Workspace

IMAGE_PYTHON = "3.13"
# The images' C library is that of Debian 13.
_NEWEST_MANYLINUX = 41
_OLDEST_MANYLINUX = 5


def wheel(work: Workspace, project: Project) -> Path:
    """Return the wheel of a package of ours, building it if its sources have changed."""
    compiled = project.name in COMPILED
    return compiled_wheel(work, project) if compiled else own_wheel(work, project)


def own_wheel(work: Workspace, project: Project) -> Path:
    """Return the wheel of one of our packages in Python."""

    def build(out: Path) -> None:
        log = work.paths.logs / f"wheel-{project.name}.log"
        log.unlink(missing_ok=True)
        argv = [work.bootstrap.python(), "-m", "hatchling", "build", "--target", "wheel"]
        shell.run([*argv, "--directory", str(out)], cwd=project.folder, log=log, timeout=120)

    key = projects.digest([project])
    folder = cache.Cache(work.paths.cache).get(f"wheel-{project.name}", key, build)
    return next(folder.glob("*.whl"))


def editable_wheel(work: Workspace, project: Project, out: Path) -> Path:
    """Return a wheel, made in a folder, that installs a package of ours where it is."""
    out.mkdir(parents=True)
    script = "import sys; from hatchling.build import build_editable as b; print(b(sys.argv[1]))"
    name = shell.output([work.bootstrap.python(), "-c", script, str(out)], cwd=project.folder)
    return out / name.strip()


def compiled_wheel(work: Workspace, project: Project) -> Path:
    """Return the wheel of a package in Rust, compiling it if its sources have changed."""
    home = cache.Cache(work.paths.cache)
    kind, key = f"wheel-{project.name}", projects.digest([project])

    def build(out: Path) -> None:
        env = rust.environment(work)
        log = work.paths.logs / f"wheel-{project.name}.log"
        log.unlink(missing_ok=True)
        script = str(work.paths.repo / "native" / "build_wheel.py")
        argv = [work.bootstrap.python(), script, "--crate", str(project.folder)]
        shell.run([*argv, "--out", str(out)], log=log, env=env, timeout=3600)

    if home.find(kind, key) is None:
        with work.steps.step(f"Compile {COMPILED[project.name]}"):
            return next(home.get(kind, key, build).glob("*.whl"))
    return next(home.get(kind, key, build).glob("*.whl"))


def wheelhouse(work: Workspace, requirements: Path) -> Path:
    """Return a folder with the wheels that an image's requirements pin.

    The hashes are checked where the wheels are installed, in the image's build.
    """

    def download(out: Path) -> None:
        log = work.paths.logs / f"wheelhouse-{requirements.stem}.log"
        log.unlink(missing_ok=True)
        # Which of the pins are for the image's Python and not for another is for uv to say.
        flat = work.paths.state / f"requirements-{requirements.stem}.txt"
        flat.parent.mkdir(parents=True, exist_ok=True)
        pick = [work.bootstrap.uv(), "pip", "compile", "--quiet", "--no-header", "--no-annotate"]
        target = ["--python-version", IMAGE_PYTHON, "--python-platform", _uv_platform()]
        shell.run([*pick, *target, str(requirements), "--output-file", str(flat)], log=log)
        pip = [work.bootstrap.python(), "-m", "pip", "--disable-pip-version-check", "download"]
        options = ["--no-deps", "--only-binary=:all:", "--dest", str(out), "-r", str(flat)]
        shell.run([*pip, *options, *_tags()], log=log, timeout=1800)
        flat.unlink()

    key = cache.digest(requirements.read_bytes(), IMAGE_PYTHON, platform.machine())
    home = cache.Cache(work.paths.cache)
    kind = f"wheelhouse-{requirements.stem}"
    if home.find(kind, key) is None:
        with work.steps.step(f"Download the packages of the {requirements.stem} image"):
            return home.get(kind, key, download)
    return home.get(kind, key, download)


def pip_wheel(work: Workspace) -> Path:
    """Return the wheel of pip itself, which installs the others in an image's build."""
    pins = work.paths.dev / "bootstrap" / "pip.txt"

    def download(out: Path) -> None:
        log = work.paths.logs / "wheelhouse-pip.log"
        pip = [work.bootstrap.python(), "-m", "pip", "--disable-pip-version-check", "download"]
        options = ["--require-hashes", "--no-deps", "--only-binary=:all:", "--dest", str(out)]
        shell.run([*pip, *options, "-r", str(pins)], log=log, timeout=600)

    folder = cache.Cache(work.paths.cache).get("pip", cache.digest(pins.read_bytes()), download)
    return next(folder.glob("*.whl"))


def _tags() -> list[str]:
    machine = platform.machine()
    minors = range(_NEWEST_MANYLINUX, _OLDEST_MANYLINUX - 1, -1)
    platforms = [f"manylinux_2_{minor}_{machine}" for minor in minors]
    platforms += [f"manylinux2014_{machine}", f"manylinux1_{machine}", f"linux_{machine}"]
    version = IMAGE_PYTHON.replace(".", "")
    interpreter = ["--python-version", version, "--implementation=cp"]
    abis = [f"--abi=cp{version}", "--abi=abi3", "--abi=none"]
    return [*(f"--platform={name}" for name in platforms), *interpreter, *abis]


def _uv_platform() -> str:
    return f"{platform.machine()}-unknown-linux-gnu"
