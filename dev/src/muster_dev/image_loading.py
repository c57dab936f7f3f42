"""Get images into clusters: onto the nodes of ours, to a registry for those that the user named."""

from __future__ import annotations

from typing import TYPE_CHECKING

from muster_dev import clusters, engines, go_tools, images, records, shell
from muster_dev.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from muster_dev.docker import Docker
    from muster_dev.records import Record
    from muster_dev.workspace import Workspace


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
    docker = engines.choose(work).docker
    with work.alone_at("images"):
        if record.adopted:
            _push(work, docker, record, built)
        else:
            _load_onto_nodes(work, docker, record, built)
    values = images.chart_values(images.references(work), record.registry)
    (work.paths.cluster(cluster) / "values.json").write_text(values, encoding="utf-8")
    return list(built)


def _load_onto_nodes(
    work: Workspace, docker: Docker, record: Record, built: dict[str, Path]
) -> None:
    nodes = clusters.find(work, engines.choose(work), record.name).nodes()
    kind = str(work.tool(go_tools.KIND) / "kind")
    log = work.paths.logs / f"load-{record.name}.log"
    log.unlink(missing_ok=True)
    for reference, lacking in missing(docker, nodes, list(built)).items():
        with work.steps.step(f"Load {reference} onto {len(lacking)} nodes"):
            options = [f"--name={record.name}", f"--nodes={','.join(lacking)}"]
            argv = [kind, "load", "image-archive", str(built[reference]), *options]
            shell.run(argv, log=log, env=docker.env, timeout=900)


def missing(
    docker: Docker, nodes: Sequence[str], references: Sequence[str]
) -> dict[str, list[str]]:
    """Return the nodes that lack an image, for each image that is lacking anywhere."""
    found: dict[str, list[str]] = {}
    for node in nodes:
        listed = docker.output("exec", node, "ctr", "--namespace=k8s.io", "images", "list", "-q")
        for reference in lacking_images(listed, references):
            found.setdefault(reference, []).append(node)
    return found


def lacking_images(listed: str, references: Sequence[str]) -> list[str]:
    """Return the images that are not in a node's list, which has their full names."""
    there = set(listed.split())
    return [
        reference
        for reference in references
        if not there & {f"docker.io/{reference}", f"docker.io/library/{reference}"}
    ]


def _push(work: Workspace, docker: Docker, record: Record, built: dict[str, Path]) -> None:
    if not record.registry:
        raise SetupError(
            f"Images for the context {record.context!r} have to come from a registry that it can "
            "pull from.",
            hint="Name it: cluster up --context … --registry REGISTRY",
        )
    log = work.paths.logs / f"push-{record.name}.log"
    for reference, archive in built.items():
        target = f"{record.registry}/{reference}"
        with work.steps.step(f"Push {target}"):
            docker.run("load", f"--input={archive}", log=log)
            docker.output("tag", reference, target)
            docker.run("push", target, log=log)
