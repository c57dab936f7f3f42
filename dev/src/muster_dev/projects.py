"""Our own Python packages: where they are and what they need of each other."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from muster_dev import cache
from muster_dev.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

NATIVE = "muster-native"
# Those in Rust, and what they are called where it is said that they are compiled.
COMPILED = {
    NATIVE: "the prover",
    "muster-records": "the store's records",
    "muster-front": "the store's front",
}
_FOLDERS = ("packages/*", "operator", "images/*", "cli", "dev", "native", "native/*")
_NAME = re.compile(r'^name = "(muster-[a-z-]+)"', re.MULTILINE)
_NEEDS = re.compile(r'"(muster-[a-z]+)(?:\[[a-z,]*\])?==')
_LINKED = re.compile(r'^muster-[a-z]+ = \{ path = "([^"]+)" \}', re.MULTILINE)


@dataclass(frozen=True)
class Project:
    """A package: its folder and the packages of ours that it depends on."""

    name: str
    folder: Path
    needs: tuple[str, ...]


def discover(repo: Path) -> dict[str, Project]:
    """Return all packages of the checkout by name."""
    found = {}
    for pattern in _FOLDERS:
        for file in sorted(repo.glob(f"{pattern}/pyproject.toml")):
            text = file.read_text(encoding="utf-8")
            name = _NAME.search(text)
            if name:
                needs = tuple(dict.fromkeys(_NEEDS.findall(text)))
                found[name.group(1)] = Project(name.group(1), file.parent, needs)
    return found


def closure(projects: Mapping[str, Project], name: str) -> list[Project]:
    """Return a package and all that it depends on, in the order of their names.

    Raises SetupError when one of them is not in the checkout.
    """
    found: dict[str, Project] = {}
    queue = [name]
    while queue:
        wanted = queue.pop()
        if wanted not in projects:
            raise SetupError(f"The package {wanted} is not in the checkout.")
        if wanted not in found:
            found[wanted] = projects[wanted]
            queue += projects[wanted].needs
    return [found[wanted] for wanted in sorted(found)]


def crates(folder: Path) -> list[Path]:
    """Return the folder of a crate, and those of our crates that are compiled into it."""
    manifest = (folder / "Cargo.toml").read_text(encoding="utf-8")
    linked = [folder / path for path in _LINKED.findall(manifest)]
    return [folder, *(path.resolve() for path in linked)]


def sources(project: Project) -> list[Path]:
    """Return the files of a package's wheel: all but its tests and packages within it."""
    others = [file.parent for file in project.folder.glob("*/pyproject.toml")]
    return [
        path
        for path in sorted(project.folder.rglob("*"))
        if _in_wheel(project, path) and not any(other in path.parents for other in others)
    ]


def digest(projects: Iterable[Project]) -> str:
    """Hash the sources of some packages, with all that is compiled into them."""
    parts = []
    for project in projects:
        parts += [project.name, cache.digest_files(project.folder, sources(project))]
        if (project.folder / "Cargo.toml").exists():
            for folder in crates(project.folder)[1:]:
                code = [*sorted((folder / "src").rglob("*.rs")), folder / "Cargo.toml"]
                parts.append(cache.digest_files(folder, code))
    return cache.digest(*parts)


def _in_wheel(project: Project, path: Path) -> bool:
    parts = path.relative_to(project.folder).parts
    left_out = ("tests", "target", "__pycache__", "Dockerfile", "Cargo.lock", ".hypothesis")
    return path.is_file() and not any(
        part in left_out or part.endswith((".egg-info", ".so")) or part.startswith(".")
        for part in parts
    )
