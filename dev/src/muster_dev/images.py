"""The container images: their names, their builds, and getting them into clusters."""

from __future__ import annotations

import functools
import json
import re
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from muster_dev import (
    base_images,
    cache,
    engines,
    go_tools,
    image_archive,
    projects,
    shell,
    wheels,
)
from muster_dev.errors import SetupError
from muster_dev.registry import NATS, POSTGRES

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
# Servers that others make, and their public images.
SERVERS = {"postgres": POSTGRES, "nats": NATS}
NAMES = (*(image.name for image in PYTHON_IMAGES), *SERVERS)
# Images that say that they are another version, for tests to upgrade to, and what they are else.
NEXT = {"coordinator-next": "coordinator", "worker-next": "worker"}


class Images:
    """Names and builds images with one Docker daemon."""

    def __init__(self, work: Workspace, engine: Engine) -> None:
        self._work = work
        self._docker = engine.docker
        self._bases = base_images.BaseImages(work, engine.docker)
        self._projects = projects.discover(work.paths.repo)

    def reference(self, name: str) -> str:
        """Return the name and tag of an image; the tag is a hash of all that goes into it."""
        if name in SERVERS:
            return self._server_reference(name)
        if name in NEXT:
            return f"{self.reference(NEXT[name])}-next"
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

    def archive(self, name: str) -> Path:
        """Return an image as a file, building it if the cache does not have it yet.

        Files outlive the daemon: after a clean-up nothing has to be built again.
        """
        reference = self.reference(name)
        kind, key = f"image-{name}", self._cache_key(reference)
        if name in NEXT:
            same = self.archive(NEXT[name])
            make = functools.partial(make_next, same, reference, _find(NEXT[name]).project)
            return cache.Cache(self._work.paths.cache).get(kind, key, make) / "image.tar"

        def build(out: Path) -> None:
            with self._work.steps.step(f"Build {reference}"):
                if name in SERVERS:
                    self._build_server(reference, name)
                else:
                    self._build_python(reference, _find(name))
                log = self._log(name)
                self._docker.run("save", f"--output={out / 'image.tar'}", reference, log=log)
            self._forget_old(reference.split(":")[0])

        folder = cache.Cache(self._work.paths.cache).find(kind, key)
        if folder is None:
            self._prepare(name)
        return cache.Cache(self._work.paths.cache).get(kind, key, build) / "image.tar"

    def build_all(self) -> None:
        """Build every image that is not in the cache yet."""
        with self._work.alone_at("images"):
            for name in NAMES:
                self.archive(name)

    def _cache_key(self, reference: str) -> str:
        if reference in SERVERS.values():
            # What a public tag names may change.
            return self._docker.output("image", "inspect", "-f", "{{.Id}}", reference)[7:23]
        return reference.split(":")[1]

    def _prepare(self, name: str) -> None:
        # Each of these is a step of its own where there is something to do.
        if name in SERVERS:
            if not self._bases.public(SERVERS[name]):
                self._prepare_server(name)
            return
        image = _find(name)
        self._bases.ensure_python()
        wheels.wheelhouse(self._work, self._requirements(image))
        for project in projects.closure(self._projects, image.project):
            wheels.wheel(self._work, project)

    def _build_python(self, reference: str, image: Image) -> None:
        context = self._stage(image)
        dockerfile = self._work.paths.repo / image.folder / "Dockerfile"
        self._docker_build(reference, dockerfile, context, self._bases.ensure_python())
        shutil.rmtree(context)

    def _prepare_server(self, name: str) -> None:
        if name == "postgres":
            self._bases.ensure_postgres()
        else:
            self._work.tool(go_tools.NATS)

    def _build_server(self, reference: str, name: str) -> None:
        if reference == SERVERS[name]:
            return
        folder = self._work.paths.repo / "images" / name
        if name == "postgres":
            base = self._bases.ensure_postgres()
            self._docker_build(reference, folder / "Dockerfile", folder, base)
            return
        context = self._work.paths.state / "build" / name
        shutil.rmtree(context, ignore_errors=True)
        context.mkdir(parents=True)
        shutil.copy2(self._work.tool(go_tools.NATS) / "nats-server", context)
        self._docker_build(reference, folder / "Dockerfile", context)
        shutil.rmtree(context)

    def _stage(self, image: Image) -> Path:
        work = self._work
        context = work.paths.state / "build" / image.name
        shutil.rmtree(context, ignore_errors=True)
        (context / "own").mkdir(parents=True)
        for project in projects.closure(self._projects, image.project):
            shutil.copy2(wheels.wheel(work, project), context / "own")
        requirements = self._requirements(image)
        shutil.copytree(wheels.wheelhouse(work, requirements), context / "wheels")
        shutil.copy2(requirements, context / "requirements.txt")
        shutil.copy2(wheels.pip_wheel(work), context)
        return context

    def _server_reference(self, name: str) -> str:
        public = SERVERS[name]
        if self._bases.public(public):
            return public
        tool = self._work.tools.key(go_tools.NATS)
        inside = self._bases.postgres() if name == "postgres" else tool
        folder = self._work.paths.repo / "images" / name
        return f"muster/{name}:{cache.digest(_FORMAT, inside, cache.digest_tree(folder))[:12]}"

    def _docker_build(
        self, reference: str, dockerfile: Path, context: Path, base: str | None = None
    ) -> None:
        log = self._log(reference.split("/")[1].split(":", maxsplit=1)[0])
        log.unlink(missing_ok=True)
        # A daemon of ours has no network to offer, and everything is in the context.
        options = ["--network=none", f"--tag={reference}", f"--file={dockerfile}"]
        if base is not None:
            options.append(f"--build-arg=BASE_IMAGE={base}")
        # The old builder is the one that every daemon has.
        self._docker.run("build", *options, str(context), log=log, env={"DOCKER_BUILDKIT": "0"})

    def _forget_old(self, repository: str) -> None:
        # Docker lists the newest first. One that a container uses stays.
        listed = self._docker.output("images", repository, "--format", "{{.Repository}}:{{.Tag}}")
        for old in listed.splitlines()[_KEPT:]:
            shell.succeeds(["docker", "image", "rm", old], env=self._docker.env)

    def _log(self, name: str) -> Path:
        return self._work.paths.logs / f"image-{name}.log"

    def _requirements(self, image: Image) -> Path:
        return self._work.paths.repo / "requirements" / f"{image.name}.txt"


def build(work: Workspace, names: Iterable[str]) -> dict[str, Path]:
    """Build images; return the file of each by its name with tag."""
    images = _open(work)
    with work.alone_at("images"):
        return {images.reference(name): images.archive(name) for name in names}


def references(work: Workspace) -> dict[str, str]:
    """Return the names with tags of all images, built or not."""
    images = _open(work)
    return {name: images.reference(name) for name in NAMES}


def _open(work: Workspace) -> Images:
    engine = engines.choose(work)
    with work.alone_at("clusters"):
        engine.start()
    return Images(work, engine)


def chart_values(built: dict[str, str], registry: str = "") -> str:
    """Return values for the chart that name some images, as JSON, which is YAML as well."""
    images: dict[str, object] = {"pullPolicy": "IfNotPresent"}
    if registry:
        images["registry"] = registry
    for name, reference in built.items():
        repository, tag = reference.rsplit(":", 1)
        images[name] = {"repository": repository, "tag": tag}
    return json.dumps({"images": images}, indent=2) + "\n"


def make_next(same: Path, reference: str, project: str, out: Path) -> None:
    """Write an image of the same files, but for the version that its package says it is."""
    package = project.replace("-", "_")
    place = rf"opt/muster/lib/python[0-9.]+/site-packages/{package}-[^/]+\.dist-info/METADATA"
    name, metadata = image_archive.find(same, place)
    text = re.sub(r"(?m)^(Version: .*)$", r"\1+next", metadata.decode(), count=1)
    layer = out / "layer.tar"
    with image_archive.Layer(layer) as content:
        content.text(name, text)
    image_archive.extend(same, out / "image.tar", reference, layer)
    layer.unlink()


def _find(name: str) -> Image:
    for image in PYTHON_IMAGES:
        if image.name == name:
            return image
    raise SetupError(f"There is no image {name!r}; there are {', '.join(NAMES)}.")
