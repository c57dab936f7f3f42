"""Get images into clusters: onto the nodes of ours, to a registry for those that the user named."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING

from muster_dev import clusters, engines, image_archive, images, records, shell
from muster_dev.background import Background
from muster_dev.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from muster_dev.docker import Docker
    from muster_dev.engines import Engine
    from muster_dev.records import Record
    from muster_dev.workspace import Workspace

_LOAD_TIMEOUT_S = 900
_REGISTRY = re.compile(r"[a-zA-Z0-9.-]+(:[0-9]+)?(/[a-z0-9._-]+)*")
# Not through the transfer service, which takes twice as long.
_IMPORT = (
    *("ctr", "--namespace=k8s.io", "images", "import"),
    *("--local", "--all-platforms", "--digests", "--snapshotter=overlayfs", "-"),
)


def load(work: Workspace, cluster: str, names: Iterable[str]) -> list[str]:
    """Build images and bring them to a cluster; return their names with tags.

    Values for the chart that name them are written beside the cluster's kubeconfig.
    Raises SetupError when there is no such cluster.
    """
    record = records.load(work.paths, cluster)
    if record is None:
        raise SetupError(
            f"There is no cluster {cluster!r}.",
            hint=f"Bring it up first: python3 -m muster_dev cluster up --name {cluster}",
        )
    built = images.build(work, names)
    engine = engines.choose(work)
    with work.alone_at("images"):
        if record.adopted:
            _push(work, engine.docker, record, built)
        else:
            _load_onto_nodes(work, engine, record, built)
    values = images.chart_values(images.references(work), record.registry)
    (work.paths.cluster(cluster) / "values.json").write_text(values, encoding="utf-8")
    return list(built)


def _load_onto_nodes(
    work: Workspace, engine: Engine, record: Record, built: dict[str, Path]
) -> None:
    nodes = clusters.find(work, engine, record.name).nodes_for_pods()
    lacking = missing(engine.docker, nodes, list(built))
    if not lacking:
        return
    log = work.paths.logs / f"load-{record.name}.log"
    log.unlink(missing_ok=True)

    def load_onto(node: str) -> None:
        archives = [built[reference] for reference in lacking[node]]
        argv = ["docker", "exec", "--interactive", node, *_IMPORT]
        # One stream for all: what they have in common goes to the node once.
        merge = functools.partial(image_archive.merge, archives)
        shell.feed(argv, merge, log=log, env=engine.docker.env, timeout=_LOAD_TIMEOUT_S)

    references = sorted({reference for each in lacking.values() for reference in each})
    title = f"Load {len(references)} images onto {len(lacking)} nodes"
    with work.steps.step(title) as step:
        step.note(", ".join(references))
        loading = [Background(functools.partial(load_onto, node)) for node in lacking]
        for each in loading:
            each.wait()


def missing(
    docker: Docker, nodes: Sequence[str], references: Sequence[str]
) -> dict[str, list[str]]:
    """Return the images that a node lacks, for each node that lacks any."""
    found: dict[str, list[str]] = {}
    for node in nodes:
        listed = docker.output("exec", node, "ctr", "--namespace=k8s.io", "images", "list", "-q")
        if lacking := lacking_images(listed, references):
            found[node] = lacking
    return found


def lacking_images(listed: str, references: Sequence[str]) -> list[str]:
    """Return the images that are not in a node's list, which has their full names."""
    there = set(listed.split())
    return [
        reference
        for reference in references
        if not there & {f"docker.io/{reference}", f"docker.io/library/{reference}"}
    ]


def require_registry(context: str, registry: str) -> None:
    """Raise SetupError when no registry, or none that can be, is named for a user's cluster."""
    hint = "Name it with --registry, or REGISTRY= of make: host, port if any, and path."
    if not registry:
        raise SetupError(
            f"Images for the context {context!r} have to come from a registry that it can "
            "pull from.",
            hint=hint,
        )
    if not _REGISTRY.fullmatch(registry):
        raise SetupError(f"The registry {registry!r} is not possible.", hint=hint)


def _push(work: Workspace, docker: Docker, record: Record, built: dict[str, Path]) -> None:
    require_registry(record.context, record.registry)
    log = work.paths.logs / f"push-{record.name}.log"
    for reference, archive in built.items():
        target = f"{record.registry}/{reference}"
        with work.steps.step(f"Push {target}"):
            docker.run("load", f"--input={archive}", log=log)
            docker.output("tag", reference, target)
            docker.run("push", target, log=log)
