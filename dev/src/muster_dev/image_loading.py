"""Get images into clusters: onto the nodes of ours, to a registry for those that the user named."""

from __future__ import annotations

from typing import TYPE_CHECKING

from muster_dev import clusters, engines, go_tools, images, records, shell
from muster_dev.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from muster_dev.docker import Docker
    from muster_dev.records import Record
    from muster_dev.workspace import Workspace


def load(work: Workspace, cluster: str, names: Iterable[str]) -> dict[str, str]:
    """Build images and bring them to a cluster; return the name with tag of each.

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
    return built


def _load_onto_nodes(
    work: Workspace, docker: Docker, record: Record, built: dict[str, str]
) -> None:
    cluster = clusters.find(work, engines.choose(work), record.name)
    for references, nodes in missing(docker, cluster.nodes(), list(built.values())):
        title = f"Load {', '.join(references)} onto {len(nodes)} nodes"
        with work.steps.step(title):
            archive = work.paths.state / "build" / f"images-{record.name}.tar"
            archive.parent.mkdir(parents=True, exist_ok=True)
            log = work.paths.logs / f"load-{record.name}.log"
            docker.run("save", f"--output={archive}", *references, log=log)
            kind = str(work.tool(go_tools.KIND) / "kind")
            options = [f"--name={record.name}", f"--nodes={','.join(nodes)}"]
            argv = [kind, "load", "image-archive", str(archive), *options]
            shell.run(argv, log=log, env=docker.env, timeout=900)
            archive.unlink()


def missing(
    docker: Docker, nodes: Sequence[str], references: Sequence[str]
) -> list[tuple[list[str], list[str]]]:
    """Return pairs of (images, nodes that lack just these)."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for node in nodes:
        listed = docker.output("exec", node, "ctr", "--namespace=k8s.io", "images", "list", "-q")
        lacking = lacking_images(listed, references)
        if lacking:
            groups.setdefault(tuple(lacking), []).append(node)
    return [(list(images_), nodes_) for images_, nodes_ in groups.items()]


def lacking_images(listed: str, references: Sequence[str]) -> list[str]:
    """Return the images that are not in a node's list, which has their full names."""
    there = set(listed.split())
    return [
        reference
        for reference in references
        if not there & {f"docker.io/{reference}", f"docker.io/library/{reference}"}
    ]


def _push(work: Workspace, docker: Docker, record: Record, built: dict[str, str]) -> None:
    if not record.registry:
        raise SetupError(
            f"Images for the context {record.context!r} have to come from a registry that it can "
            "pull from.",
            hint="Name it: cluster up --context … --registry REGISTRY",
        )
    log = work.paths.logs / f"push-{record.name}.log"
    for reference in built.values():
        target = f"{record.registry}/{reference}"
        with work.steps.step(f"Push {target}"):
            docker.output("tag", reference, target)
            docker.run("push", target, log=log)
