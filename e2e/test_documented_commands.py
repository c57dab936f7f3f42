"""Whatever README.md and docs/*.md tell a user to type is typed here, on a real cluster."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from e2e.cluster import Cluster
from e2e.documents import ROOT, sections
from e2e.fleet import Fleet
from e2e.installation import SYSTEM, Installation
from muster_testing.waiting import eventually_sync

# What is not run, and why.
EXCUSED = {
    ("README.md", "Two commands"): "`make test` runs this file; both bring up clusters",
    ("docs/coordinator.md", "Quarantine"): "no worker has lied",
    ("docs/gitops.md", "Set up"): "there is no server of Argo CD",
    ("docs/kv-storage.md", "Backup and restore"): "test_backup.py runs the same",
    ("docs/kv-storage.md", "What it costs"): "it measures",
    ("docs/kv-topology.md", "Anti-entropy"): "test_topology.py asks for the same",
    ("docs/kv.md", "How it is checked"): "test_model.py is run with fewer seeds",
    ("docs/workloads-api.md", "The workload API"): "there is no coordinator for workloads then",
    ("docs/workloads-api.md", "Keys"): "test_workload_guide.py types it",
    ("docs/workloads-api.md", "Submit"): "test_workload_guide.py types it",
    ("docs/workloads-api.md", "Look, list, act"): "test_workload_guide.py types it",
    ("docs/kvcluster.md", "KVCluster"): "test_a_kvcluster_keeps_what_it_acknowledges.py types it",
    ("docs/kvcluster.md", "Scaling"): "test_a_kvcluster_keeps_what_it_acknowledges.py types it",
    ("docs/kvcluster.md", "Larger volumes"): "volumes of kind can't grow",
    ("docs/kvcluster.md", "Replacing"): "test_a_kvcluster_keeps_what_it_acknowledges.py types it",
    ("docs/kvcluster.md", "The database"): "test_topology_forgotten.py changes the same row",
    ("docs/kvcluster.md", "Backups"): "test_a_kvcluster_keeps_what_it_acknowledges.py types it",
    ("docs/operations.md", "Give a managed store a larger volume"): "volumes of kind can't grow",
    ("docs/operations.md", "Watch"): "there are no definitions of the Prometheus operator",
}

SECTION_SECONDS = 900
PROVERS = "provers"
METRIC = (
    "/apis/external.metrics.k8s.io/v1beta1/namespaces/default/muster_prover_outstanding_tasks"
    "?labelSelector=proverpool%3Ddemo"
)
# Kinds without a namespace of which an installation has objects.
CLUSTER_WIDE = "apiservices,clusterroles,clusterrolebindings,crds"


@dataclass(frozen=True)
class Desk:
    """Where a user sits: a checkout, the programs, and a cluster.

    Args:
        folder: what the commands write is written here.
        programs: put before PATH.
        installation: the Muster on the cluster.
        fleet: the pool `demo` that the documents speak of.
    """

    folder: Path
    programs: Path
    installation: Installation
    fleet: Fleet

    @property
    def cluster(self) -> Cluster:
        """The cluster of the context."""
        return self.fleet.cluster

    def type(self, commands: tuple[str, ...]) -> None:
        """Type commands into one shell, as far as they succeed."""
        done = subprocess.run(
            ["bash", "-euxo", "pipefail", "-c", "\n".join(commands)],
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.folder,
            timeout=SECTION_SECONDS,
            env={
                **os.environ,
                "KUBECONFIG": str(self.cluster.kubeconfig),
                "PATH": f"{self.programs}:{os.environ['PATH']}",
            },
        )
        assert done.returncode == 0, done.stdout


@pytest.fixture
def desk(
    cluster: Cluster, values: Path, installation: Installation, tmp_path: Path
) -> Iterator[Desk]:
    """A desk before a cluster without Muster; the same afterwards."""
    folder, programs = tmp_path / "muster", tmp_path / "bin"
    folder.mkdir()
    programs.mkdir()
    for name in ("charts", "examples"):
        (folder / name).symlink_to(ROOT / name)
    (programs / "kubectl").symlink_to(cluster.bin / "kubectl")
    (programs / "kubectl-muster").symlink_to(Path(sys.executable).parent / "kubectl-muster")
    helm = programs / "helm"
    # The one thing that a user does not type: where the images of this checkout are.
    helm.write_text(
        "#!/bin/sh\n"
        f'case $1 in install|upgrade|template) set -- "$@" --values {values} ;; esac\n'
        f'exec {cluster.bin / "helm"} "$@"\n'
    )
    helm.chmod(0o755)
    made = Desk(folder, programs, installation, Fleet(cluster, "default", "demo"))
    installation.remove()
    yield made
    cluster.kubectl("uncordon", "--selector=kubernetes.io/os=linux")
    cluster.kubectl("delete", "namespace", PROVERS, "--ignore-not-found", "--timeout=4m")
    installation.remove()


def settled(desk: Desk) -> None:
    """The pool has become what its spec says, and its queue is known."""

    def is_settled() -> bool:
        fleet = desk.fleet
        for kind in ("coordinator", "proverpool"):
            found = desk.cluster.get(kind, fleet.pool, fleet.namespace)
            status = found.get("status", {})
            conditions = {each["type"]: each["status"] for each in status.get("conditions", [])}
            assert status.get("observedGeneration") == found["metadata"]["generation"], kind
            assert conditions.get("Ready") == "True", status
            assert conditions.get("Reconciling", "False") == "False", status
        return bool(desk.cluster.kubectl("get", "--raw", METRIC))

    eventually_sync(is_settled, deadline=400, every=1, what="the pool is settled")


def completed(desk: Desk) -> int:
    """How many tasks the database knows as completed."""
    ((count,),) = desk.fleet.query("SELECT count(*) FROM workloads WHERE state = 'COMPLETED'")
    return int(count)


def nothing_is_needed(desk: Desk) -> None:
    """The section before left all that this one needs."""


def only_pools_are_left(desk: Desk) -> None:
    """The release is gone; definitions, pools and the namespace are still there."""
    desk.cluster.helm("uninstall", "muster", "-n", SYSTEM, "--wait", "--timeout", "5m")
    ours = "--selector=app.kubernetes.io/name=muster"
    desk.cluster.kubectl("wait", "--for=delete", "pod", ours, "-n", SYSTEM, "--timeout=4m")
    # One that an operator made while it ended goes with its Deployment.
    desk.cluster.kubectl(
        "wait", "--for=delete", "lease/muster-operator", "-n", SYSTEM, "--timeout=4m"
    )


def a_pool_of_provers(desk: Desk) -> None:
    """The pool that is removed by hand; it never starts anything."""
    desk.cluster.kubectl("create", "namespace", PROVERS)
    fleet = Fleet(desk.cluster, PROVERS, "demo")
    desk.cluster.apply(fleet.manifest(suspend=True), PROVERS)


def workloads_are_no_more(desk: Desk) -> None:
    """Both keys were made; the Coordinator makes room for what follows."""
    for name in ("admin", "acme"):
        assert (desk.folder / f"{name}-key").read_text().startswith(f"nyt_{name}_")
    desk.cluster.kubectl("delete", "coordinator", "work", "-n", desk.fleet.namespace)


def nothing_is_installed(desk: Desk) -> None:
    """Not even the namespace is there."""
    desk.installation.remove()


def ten_proofs_are_kept(desk: Desk) -> None:
    """The pool works, and the database has the proofs of README's `prove`."""
    settled(desk)
    assert completed(desk) == 10


def the_definitions_are_gone(desk: Desk) -> None:
    """Nothing of Muster is left outside of its namespace, nor a Lease in it."""
    ours = "--selector=app.kubernetes.io/name=muster"
    assert not desk.cluster.kubectl("get", CLUSTER_WIDE, ours, "-o", "name")
    assert not desk.cluster.list("leases", SYSTEM)


State = Callable[[Desk], None]

# Sections in the order in which each finds what the one before left.
STEPS: list[tuple[tuple[str, str], State, State]] = [
    (("docs/install.md", "With Helm"), nothing_is_needed, settled),
    (("docs/install.md", "Values"), nothing_is_needed, nothing_is_needed),
    (("docs/coordinator.md", "Inputs at rest"), nothing_is_needed, nothing_is_needed),
    (
        ("README.md", "Use it on a cluster of yours"),
        only_pools_are_left,
        ten_proofs_are_kept,
    ),
    (("docs/proverpool.md", "The shortest pool"), nothing_is_needed, settled),
    (("docs/coordinator-kind.md", "Try it"), nothing_is_needed, workloads_are_no_more),
    (("docs/operations.md", "Look"), nothing_is_needed, nothing_is_needed),
    (("docs/operations.md", "Scale"), nothing_is_needed, settled),
    (("docs/operations.md", "Stop and go on"), nothing_is_needed, settled),
    (("docs/operations.md", "Drain a node"), nothing_is_needed, settled),
    (("docs/install.md", "Upgrade"), nothing_is_needed, settled),
    (("docs/operations.md", "Upgrade"), nothing_is_needed, settled),
    (
        ("docs/operations.md", "Back up the managed database"),
        nothing_is_needed,
        ten_proofs_are_kept,
    ),
    (("docs/gitops.md", "Pruning"), a_pool_of_provers, nothing_is_needed),
    (("docs/install.md", "Uninstall"), nothing_is_needed, the_definitions_are_gone),
    (
        ("docs/install.md", "Without Helm in the cluster"),
        nothing_is_installed,
        the_definitions_are_gone,
    ),
    (("docs/install.md", "KEDA"), nothing_is_installed, nothing_is_needed),
    (("docs/install.md", "A Prometheus adapter"), nothing_is_installed, nothing_is_needed),
]


def test_every_command_is_run_or_excused() -> None:
    found = sections()
    run = [section.name for section in found if section.commands]
    assert sorted(run) == sorted(name for name, _, _ in STEPS)
    assert {section.name for section in found if section.excused} == set(EXCUSED)


@pytest.mark.e2e
@pytest.mark.alone
def test_the_commands_of_the_documents_work(desk: Desk) -> None:
    commands = {section.name: section.commands for section in sections()}
    for name, before, after in STEPS:
        before(desk)
        desk.type(commands[name])
        after(desk)
