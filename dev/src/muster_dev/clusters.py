"""Bring clusters up, look at them, take them down."""

from __future__ import annotations

from typing import TYPE_CHECKING

from muster_dev import engines, go_tools, ports, records, shell
from muster_dev.errors import SetupError
from muster_dev.kind_cluster import KindCluster, Programs
from muster_dev.kind_config import ClusterSpec
from muster_dev.records import Record

if TYPE_CHECKING:
    from pathlib import Path

    from muster_dev.engines import Engine
    from muster_dev.workspace import Workspace

_FIRST_API_PORT = 36443
_FIRST_PUBLISHED_PORT = 38080


def up(work: Workspace, name: str, nodes: int, publish: tuple[tuple[int, int], ...] = ()) -> Record:
    """See to it that a cluster runs and is ready, whatever an earlier run left of it.

    ``publish`` are pairs of (port of this machine or 0 for a free one, port of the nodes).
    Raises SetupError when it cannot be.
    """
    records.check_name(name)
    with work.alone_at("clusters"):
        known = records.load(work.paths, name)
        if known is not None and known.adopted:
            raise SetupError(
                f"{name!r} is the context {known.context!r}, which the user named; nothing is "
                "created there.",
            )
        engine = engines.choose(work)
        engine.start()
        image = _image(engine, known)
        engine.prepare_network(image)
        cluster = find(work, engine, name)
        if not cluster.is_ours:
            raise SetupError(
                f"kind has a cluster {name!r} that this tool did not make.",
                hint="Choose another name with --name.",
            )
        if known is not None and known.nodes != nodes and cluster.nodes():
            raise SetupError(
                f"The cluster {name!r} has {known.nodes} nodes, and {nodes} are asked for.",
                hint=f"Remove it first: python3 -m muster_dev cluster down --name {name}",
            )
        if known is not None and _revived(work, cluster, known):
            record = known
        else:
            record = _create(work, engine, cluster, nodes, publish)
        with work.steps.step(f"Wait until cluster {name} is ready"):
            cluster.wait_until_ready()
        records.save(work.paths, record)
        link_programs(work, name)
        return record


def adopt(work: Workspace, name: str, context: str, kubeconfig: Path | None, registry: str) -> None:
    """Use a cluster that the user names: copy its credentials, create nothing there.

    Raises SetupError when it cannot be reached, or the name is that of a cluster of ours.
    """
    records.check_name(name)
    known = records.load(work.paths, name)
    if known is not None and not known.adopted:
        raise SetupError(
            f"{name!r} is a cluster that this tool made; the context {context!r} needs another.",
            hint="Choose a name with --name, or CLUSTER= of make.",
        )
    kubectl = str(work.tool(go_tools.KUBECTL) / "kubectl")
    source = [] if kubeconfig is None else [f"--kubeconfig={kubeconfig}"]
    try:
        view = ["config", "view", f"--context={context}", "--minify", "--flatten", "--raw"]
        config = shell.output([kubectl, *source, *view])
    except shell.CommandError as error:
        raise SetupError(f"There is no context {context!r}: {error}") from error
    target = work.paths.kubeconfig(name)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.touch(mode=0o600)
    target.write_text(config, encoding="utf-8")
    with work.steps.step(f"Reach the cluster of context {context}"):
        if not shell.succeeds([kubectl, f"--kubeconfig={target}", "get", "--raw=/readyz"]):
            raise SetupError(f"The API server of context {context!r} does not answer.")
    records.save(work.paths, Record(name, context=context, registry=registry))
    link_programs(work, name)


def down(work: Workspace, name: str) -> None:
    """Remove one cluster, and with the last one all else that was made for clusters."""
    records.check_name(name)
    with work.alone_at("clusters"):
        known = records.load(work.paths, name)
        records.forget_completion(work.paths, name)
        if known is None or not known.adopted:
            _delete(work, name)
        records.forget(work.paths, name)
        if not [record for record in records.load_all(work.paths) if not record.adopted]:
            _remove_engine(work, known.image if known else None)


def down_all(work: Workspace) -> None:
    """Remove every cluster and all else that was made for them; the caches stay."""
    with work.alone_at("clusters"):
        kept = records.load_all(work.paths)
        image = next((record.image for record in kept if record.image), None)
        folders = (work.paths.state / "clusters").glob("*")
        for name in sorted(folder.name for folder in folders):
            known = records.load(work.paths, name)
            # A private daemon goes as a whole.
            if engines.choose(work).daemon is None and not (known and known.adopted):
                _delete(work, name)
            records.forget(work.paths, name)
        _remove_engine(work, image)


def status(work: Workspace) -> list[dict[str, object]]:
    """Return what is known of each cluster and whether it answers now."""
    found: list[dict[str, object]] = []
    for record in records.load_all(work.paths):
        kubeconfig = work.paths.kubeconfig(record.name)
        kubectl = [str(work.tool(go_tools.KUBECTL) / "kubectl"), f"--kubeconfig={kubeconfig}"]
        answers = shell.succeeds([*kubectl, "get", "--raw=/readyz"], timeout=10)
        found.append(
            {
                "name": record.name,
                "answers": answers,
                "nodes": record.nodes,
                "context": record.context or f"kind-{record.name}",
                "kubeconfig": str(kubeconfig),
                "published": [list(pair) for pair in record.published],
            }
        )
    return found


def find(work: Workspace, engine: Engine, name: str) -> KindCluster:
    """Return the cluster of a name, whether it is there or not."""
    programs = Programs(
        kind=work.tool(go_tools.KIND) / "kind", kubectl=work.tool(go_tools.KUBECTL) / "kubectl"
    )
    return KindCluster(
        name,
        programs,
        engine.docker,
        work.instance.network,
        work.paths.cluster(name),
        work.paths.logs / f"cluster-{name}.log",
    )


def link_programs(work: Workspace, name: str) -> Path:
    """Return a folder with links to kubectl, helm and kind, for people and for tests."""
    folder = work.paths.cluster(name) / "bin"
    folder.mkdir(parents=True, exist_ok=True)
    for tool in go_tools.ON_THE_HOST:
        link = folder / tool.name
        link.unlink(missing_ok=True)
        link.symlink_to(work.tool(tool) / tool.name)
    return folder


def _image(engine: Engine, known: Record | None) -> str:
    # A cluster lives on with the image that it was made of.
    if known is not None and engine.docker.has_image(known.image):
        return known.image
    return engine.node().image


def _revived(work: Workspace, cluster: KindCluster, known: Record) -> bool:
    if set(cluster.nodes()) != set(known.addresses):
        return False
    if cluster.addresses() == known.addresses and cluster.answers():
        return True
    with work.steps.step(f"Revive cluster {cluster.name}") as step:
        if cluster.revive(known.addresses):
            return True
        step.note("it does not come back")
    return False


def _create(
    work: Workspace,
    engine: Engine,
    cluster: KindCluster,
    nodes: int,
    publish: tuple[tuple[int, int], ...],
) -> Record:
    records.forget_completion(work.paths, cluster.name)
    if cluster.nodes():
        with work.steps.step(f"Remove what is left of cluster {cluster.name}"):
            cluster.delete()
    published = _choose_ports(publish)
    node = engine.node()
    spec = ClusterSpec(
        name=cluster.name,
        nodes=nodes,
        api_port=ports.free(_FIRST_API_PORT),
        published=published,
        own_image=node.own,
        runtime_wrapper=engine.runtime_wrapper(node.image),
    )
    with work.steps.step(f"Create cluster {cluster.name} ({nodes} nodes)"):
        cluster.create(spec, node.image)
    return Record(
        cluster.name,
        nodes=nodes,
        image=node.image,
        published=published,
        addresses=cluster.addresses(),
    )


def _choose_ports(publish: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
    chosen: list[tuple[int, int]] = []
    for wanted, there in publish:
        if wanted:
            ports.require_free(wanted)
        taken = [here for here, _ in chosen] + [here for here, _ in publish]
        chosen.append((wanted or ports.free(_FIRST_PUBLISHED_PORT, taken), there))
    return tuple(chosen)


def _delete(work: Workspace, name: str) -> None:
    engine = engines.choose(work)
    if engine.daemon is not None and not engine.daemon.exists:
        return
    engine.start()
    cluster = find(work, engine, name)
    if cluster.nodes():
        if not cluster.is_ours:
            raise SetupError(f"kind has a cluster {name!r} that this tool did not make; it stays.")
        with work.steps.step(f"Delete cluster {name}"):
            cluster.delete()


def _remove_engine(work: Workspace, image: str | None) -> None:
    engine = engines.choose(work)
    if engine.daemon is not None and not engine.daemon.exists:
        return
    with work.steps.step("Remove the daemon, its network and its firewall table"):
        engine.remove(image)
    records.forget_unfinished(work.paths)
    for leftover in ("instance.json", "node-runtime", "no-registry"):
        (work.paths.state / leftover).unlink(missing_ok=True)
