"""Base images: the public ones, or our own of Debian packages where no registry answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from muster_dev import apt, image_archive, preflight, root_filesystem
from muster_dev.registry import PYTHON, Registry

if TYPE_CHECKING:
    from muster_dev.docker import Docker
    from muster_dev.root_filesystem import Recipe
    from muster_dev.workspace import Workspace

_PACKAGES = ("mmdebstrap",)
_PATH = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}


class BaseImages:
    """Names base images and brings them into a Docker daemon."""

    def __init__(self, work: Workspace, docker: Docker) -> None:
        self._work = work
        self._docker = docker
        self._registry = Registry(docker, work.paths.state)

    def public(self, reference: str) -> bool:
        """Tell whether Docker has a public image, or can get it."""
        return self._registry.provides(reference)

    def python(self) -> str:
        """Return the name of the base of our Python images."""
        return PYTHON if self.public(PYTHON) else _own(root_filesystem.PYTHON)

    def ensure_python(self) -> str:
        """Return the name of the base of our Python images; Docker has it then."""
        return PYTHON if self.public(PYTHON) else self._ensure(root_filesystem.PYTHON)

    def postgres(self) -> str:
        """Return the name of the base of our own PostgreSQL image."""
        return _own(root_filesystem.POSTGRES)

    def ensure_postgres(self) -> str:
        """Return the name of the base of our own PostgreSQL image; Docker has it then."""
        return self._ensure(root_filesystem.POSTGRES)

    def _ensure(self, recipe: Recipe) -> str:
        reference = _own(recipe)
        if self._docker.has_image(reference):
            return reference
        work = self._work
        if not root_filesystem.built(recipe, work.paths):
            preflight.require_root("Making a base image (no image registry answers)")
            apt.ensure(_PACKAGES, work.steps, work.paths.logs / "apt.log", "Making a base image")
            with work.steps.step(f"Make the root file system of the {recipe.name} images"):
                root_filesystem.build(recipe, work.paths)
        archive = work.paths.state / f"base-{recipe.name}.tar"
        with work.steps.step(f"Load {reference} into Docker"):
            layers = [root_filesystem.build(recipe, work.paths)]
            config = {"Env": image_archive.environment(_PATH), "Cmd": ["/bin/sh"]}
            image_archive.write(archive, reference, layers, config)
            log = work.paths.logs / f"load-base-{recipe.name}.log"
            self._docker.run("load", f"--input={archive}", log=log)
            archive.unlink()
        return reference


def _own(recipe: Recipe) -> str:
    return f"localhost/muster-base/{recipe.name}:{root_filesystem.key(recipe)}"
