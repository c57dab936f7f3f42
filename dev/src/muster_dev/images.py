"""The container images: their names, their builds, and getting them into clusters."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from muster_dev import base_images, cache, engines, projects, shell, wheels
from muster_dev.errors import SetupError
from muster_dev.registry import POSTGRES

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from muster_dev.engines import Engine
    from muster_dev.workspace import Workspace

_FORMAT = "1"
# Older images of ours that Docker keeps of each kind.
_KEPT = 3


@dataclass(frozen=True)
class Image:
    """An image of one of our packages; ``folder`` is relative to the checkout."""

    name: str
    folder: str
    project: str

    @property
    def repository(self) -> str:
        """The name without the tag."""
        return f"muster/{self.name}"


PYTHON_IMAGES = (
    Image("operator", "operator", "muster-operator"),
    Image("coordinator", "images/coordinator", "muster-coordinator"),
    Image("worker", "images/worker", "muster-worker"),
)
NAMES = (*(image.name for image in PYTHON_IMAGES), "postgres")


class Images:
    """Names and builds images with one Docker daemon."""

    def __init__(self, work: Workspace, engine: Engine) -> None:
        self._work = work
        self._docker = engine.docker
        self._bases = base_images.BaseImages(work, engine.docker)
        self._projects = projects.discover(work.paths.repo)

    def reference(self, name: str) -> str:
        """Return the name and tag of an image; the tag is a hash of all that goes into it."""
        if name == "postgres":
            return self._postgres_reference()
        image = _find(name)
        folder = self._work.paths.repo / image.folder
        requirements = self._requirements(image)
        key = cache.digest(
            _FORMAT,
            self._bases.python(),
            (folder / "Dockerfile").read_bytes(),
            requirements.read_bytes(),
            (self._work.paths.dev / "bootstrap" / "pip.txt").read_bytes(),
            projects.digest(projects.closure(self._projects, image.project)),
        )
        return f"{image.repository}:{key[:12]}"

    def build(self, name: str) -> str:
        """Return the name and tag of an image, building it if Docker does not have it yet."""
        if name == "postgres":
            return self._build_postgres()
        reference = self.reference(name)
        if not self._docker.has_image(reference):
            image = _find(name)
            context = self._stage(image)
            with self._work.steps.step(f"Build {reference}"):
                dockerfile = self._work.paths.repo / image.folder / "Dockerfile"
                self._docker_build(reference, dockerfile, self._bases.ensure_python(), context)
            shutil.rmtree(context)
            self._forget_old(image.repository)
        return reference

    def build_all(self) -> None:
        """Build every image that Docker does not have yet."""
        with self._work.alone_at("images"):
            for name in NAMES:
                self.build(name)

    def _stage(self, image: Image) -> Path:
        work = self._work
        context = work.paths.state / "build" / image.name
        shutil.rmtree(context, ignore_errors=True)
        (context / "own").mkdir(parents=True)
        for project in projects.closure(self._projects, image.project):
            make = wheels.native_wheel if project.name == projects.NATIVE else wheels.own_wheel
            shutil.copy2(make(work, project), context / "own")
        requirements = self._requirements(image)
        shutil.copytree(wheels.wheelhouse(work, requirements), context / "wheels")
        shutil.copy2(requirements, context / "requirements.txt")
        shutil.copy2(wheels.pip_wheel(work), context)
        return context

    def _postgres_reference(self) -> str:
        if self._bases.public(POSTGRES):
            return POSTGRES
        folder = self._work.paths.repo / "images" / "postgres"
        key = cache.digest(_FORMAT, self._bases.postgres(), cache.digest_tree(folder))
        return f"muster/postgres:{key[:12]}"

    def _build_postgres(self) -> str:
        reference = self._postgres_reference()
        if not self._docker.has_image(reference):
            base = self._bases.ensure_postgres()
            folder = self._work.paths.repo / "images" / "postgres"
            with self._work.steps.step(f"Build {reference}"):
                self._docker_build(reference, folder / "Dockerfile", base, folder)
            self._forget_old("muster/postgres")
        return reference

    def _docker_build(self, reference: str, dockerfile: Path, base: str, context: Path) -> None:
        log = (
            self._work.paths.logs
            / f"image-{reference.split(':', maxsplit=1)[0].rsplit('/', maxsplit=1)[-1]}.log"
        )
        log.unlink(missing_ok=True)
        # A daemon of ours has no network to offer, and everything is in the context.
        options = ["--network=none", f"--tag={reference}", f"--file={dockerfile}"]
        options.append(f"--build-arg=BASE_IMAGE={base}")
        # The old builder is the one that every daemon has.
        self._docker.run("build", *options, str(context), log=log, env={"DOCKER_BUILDKIT": "0"})

    def _forget_old(self, repository: str) -> None:
        # Docker lists the newest first. One that a container uses stays.
        listed = self._docker.output("images", repository, "--format", "{{.Repository}}:{{.Tag}}")
        for old in listed.splitlines()[_KEPT:]:
            shell.succeeds(["docker", "image", "rm", old], env=self._docker.env)

    def _requirements(self, image: Image) -> Path:
        return self._work.paths.repo / "requirements" / f"{image.name}.txt"


def build(work: Workspace, names: Iterable[str]) -> dict[str, str]:
    """Build images; return the name with tag of each."""
    engine = engines.choose(work)
    with work.alone_at("clusters"):
        engine.start()
    images = Images(work, engine)
    with work.alone_at("images"):
        return {name: images.build(name) for name in names}


def references(work: Workspace) -> dict[str, str]:
    """Return the names with tags of all images, built or not."""
    images = Images(work, engines.choose(work))
    return {name: images.reference(name) for name in NAMES}


def chart_values(built: dict[str, str], registry: str = "") -> str:
    """Return values for the chart that name some images, as JSON, which is YAML as well."""
    images: dict[str, object] = {"pullPolicy": "IfNotPresent"}
    if registry:
        images["registry"] = registry
    for name, reference in built.items():
        repository, tag = reference.rsplit(":", 1)
        images[name] = {"repository": repository, "tag": tag}
    return json.dumps({"images": images}, indent=2) + "\n"


def _find(name: str) -> Image:
    for image in PYTHON_IMAGES:
        if image.name == name:
            return image
    raise SetupError(f"There is no image {name!r}; there are {', '.join(NAMES)}.")
