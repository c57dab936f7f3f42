"""The chart on a real API server: installed, upgraded, applied, uninstalled."""

import base64
import contextlib
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from muster_testing.apiserver import ControlPlane
from muster_testing.waiting import eventually_sync

from .helm_cli import CHART, ProgramFailedError, helm, kubectl, render

# A server may look at a definition that is to go after five minutes only.
pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

APISERVICE = "apiservice/v1beta1.external.metrics.k8s.io"
CRDS = tuple(f"crd/{kind}.muster.dev" for kind in ("proverpools", "coordinators", "kvclusters"))
GITOPS = ("--server-side", "--field-manager=gitops", "--filename=-")
TERM = {
    "holderIdentity": "muster-operator-0",
    "leaseDurationSeconds": 15,
    "acquireTime": "2026-01-01T00:00:00.000000Z",
    "renewTime": "2026-01-01T00:00:02.000000Z",
    "leaseTransitions": 3,
}
OURS = "--selector=app.kubernetes.io/name=muster"
POOL = {
    "apiVersion": "muster.dev/v1alpha1",
    "kind": "ProverPool",
    "metadata": {"name": "demo"},
    "spec": {"keys": {"insecureSetup": True}},
}


class Cluster:
    """Helm and kubectl against one API server and one namespace of the test's own."""

    def __init__(self, kubeconfig: Path) -> None:
        self.kubeconfig = kubeconfig
        self.namespace = f"chart-{uuid.uuid4().hex[:8]}"

    def helm(self, *arguments: str) -> str:
        return helm(*arguments, f"--namespace={self.namespace}", kubeconfig=self.kubeconfig)

    def kubectl(self, *arguments: str, stdin: str = "") -> str:
        return kubectl(
            *arguments, f"--namespace={self.namespace}", kubeconfig=self.kubeconfig, stdin=stdin
        )

    def get(self, what: str) -> dict[str, Any]:
        found: dict[str, Any] = yaml.safe_load(self.kubectl("get", what, "--output=yaml"))
        return found

    def exists(self, what: str) -> bool:
        return self.kubectl("get", what, "--ignore-not-found", "--output=name") != ""

    def install(self, *arguments: str, release: str = "muster") -> str:
        notes = self.helm("install", release, str(CHART), *arguments)
        # One that is deleted while the server begins to serve it may stay for minutes.
        self.kubectl("wait", "--for=condition=Established", *CRDS, "--timeout=2m")
        return notes

    def apply(self, manifest: dict[str, Any]) -> None:
        self.kubectl("apply", *GITOPS, stdin=yaml.safe_dump(manifest))

    def templated(self) -> str:
        """What `helm template` prints for this cluster."""
        return self.helm("template", "muster", str(CHART), "--skip-tests")

    def allows(self, account: str, verb: str, group: str, resource: str, **where: str) -> bool:
        """Whether an account (`namespace:name`) may do something, in all namespaces if not said."""
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {
                "user": f"system:serviceaccount:{account}",
                "groups": ["system:serviceaccounts", "system:authenticated"],
                "resourceAttributes": {"verb": verb, "group": group, "resource": resource, **where},
            },
        }
        answer = self.kubectl(
            "create", "--filename=-", "--output=yaml", stdin=yaml.safe_dump(review)
        )
        return bool(yaml.safe_load(answer)["status"]["allowed"])

    def clean(self) -> None:
        """Remove what tests leave, the definitions included."""
        if "muster" in self.helm("list", "--short").split():
            self.helm("uninstall", "muster", "--no-hooks")
        kinds = "apiservice,crd,clusterrole,clusterrolebinding"
        self.kubectl("delete", kinds, OURS, "--wait=false")
        system = "--namespace=kube-system"
        kubectl("delete", "role,rolebinding", OURS, system, kubeconfig=self.kubeconfig)
        # One that is applied again while it goes would vanish under the next test.
        eventually_sync(self.undefined, deadline=240, every=0.5, what="no definition is left")

    def undefined(self) -> bool:
        """Whether no definition of ours is left; those that are left are looked at again."""
        left = self.kubectl("get", "crd", OURS, "--output=name").split()
        # A server that lost a race over one looks at it again after five minutes, or at a change.
        with contextlib.suppress(ProgramFailedError):
            for crd in left:
                self.kubectl("annotate", "--overwrite", crd, f"asked={uuid.uuid4()}")
        return not left


@pytest.fixture
def cluster(apiserver: ControlPlane) -> Iterator[Cluster]:
    found = Cluster(apiserver.kubeconfig)
    found.kubectl("create", "namespace", found.namespace)
    found.kubectl(
        "label", "namespace", found.namespace, "pod-security.kubernetes.io/enforce=restricted"
    )
    yield found
    found.clean()


def an_operator_leads(cluster: Cluster) -> None:
    """Write into the Lease what an elected operator does."""
    cluster.kubectl(
        *("patch", "lease", "muster-operator", "--field-manager=muster-operator", "--type=merge"),
        f"--patch=spec: {yaml.safe_dump(TERM, default_flow_style=True)}",
    )


def the_operator_writes_its_certificate(cluster: Cluster) -> str:
    """Do to the API server what a running operator does; return the CA that it wrote."""
    authority = base64.b64encode(b"-----BEGIN CERTIFICATE-----").decode()
    cluster.kubectl(
        "patch",
        *APISERVICE.split("/"),
        "--field-manager=muster-operator",
        "--type=merge",
        f"--patch=spec: {{caBundle: {authority}}}",
    )
    cluster.kubectl(
        "patch",
        "secret",
        "muster-metrics-tls",
        "--field-manager=muster-operator",
        f"--patch=data: {{ca.crt: {authority}}}",
    )
    return authority


def test_the_server_accepts_everything_and_the_notes_tell_the_next_command(
    cluster: Cluster,
) -> None:
    cluster.helm("install", "muster", str(CHART), "--dry-run=server")
    assert not cluster.exists(APISERVICE)
    notes = cluster.install().partition("NOTES:")[2]
    assert "kubectl apply -f examples/proverpool.yaml" in notes
    assert f"helm test muster --namespace {cluster.namespace}" in notes
    assert cluster.get("deployment/muster-operator")["spec"]["replicas"] == 2
    cluster.apply(POOL)


def test_its_pods_are_admitted_at_the_restricted_level(cluster: Cluster) -> None:
    cluster.install()
    cluster.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}})
    for name, spec in render().pods():
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
        cluster.kubectl("create", "--dry-run=server", "--filename=-", stdin=yaml.safe_dump(pod))
        spec["containers"][0]["securityContext"] = {}
        with pytest.raises(ProgramFailedError, match="violates PodSecurity"):
            cluster.kubectl("create", "--dry-run=server", "--filename=-", stdin=yaml.safe_dump(pod))


def test_the_operator_may_do_its_work_and_no_more(cluster: Cluster) -> None:
    cluster.install()
    home = cluster.namespace
    operator = f"{home}:muster-operator"
    certificate = {"name": "muster-metrics-tls", "namespace": home}
    front_proxy = {"name": "extension-apiserver-authentication", "namespace": "kube-system"}
    api = {"name": "v1beta1.external.metrics.k8s.io"}
    assert cluster.allows(operator, "watch", "muster.dev", "proverpools")
    assert cluster.allows(operator, "create", "apps", "deployments")
    assert cluster.allows(operator, "patch", "apiregistration.k8s.io", "apiservices", **api)
    assert cluster.allows(operator, "update", "", "secrets", **certificate)
    assert cluster.allows(operator, "get", "", "configmaps", **front_proxy)

    assert not cluster.allows(operator, "list", "", "secrets")
    assert not cluster.allows(operator, "delete", "", "secrets", namespace=home)
    assert not cluster.allows(operator, "delete", "", "pods")
    assert not cluster.allows(operator, "delete", "muster.dev", "proverpools")
    assert not cluster.allows(operator, "create", "rbac.authorization.k8s.io", "clusterroles")
    bindings = ("rbac.authorization.k8s.io", "clusterrolebindings")
    assert cluster.allows(operator, "patch", *bindings, name="muster-token-review")
    assert not cluster.allows(operator, "patch", *bindings)
    assert not cluster.allows(operator, "create", *bindings)
    assert not cluster.allows(operator, "patch", "apiregistration.k8s.io", "apiservices")
    # The zone of a storage node is a label of its machine.
    assert cluster.allows(operator, "get", "", "nodes")
    assert not cluster.allows(operator, "list", "", "nodes")
    assert not cluster.allows(operator, "patch", "", "nodes")


def test_the_autoscaler_may_read_queue_depth_and_others_may_not(cluster: Cluster) -> None:
    cluster.install()
    # By the role that Kubernetes itself gives it: the chart has none to add.
    depth = ("list", "external.metrics.k8s.io", "muster_prover_outstanding_tasks")
    assert cluster.allows("kube-system:horizontal-pod-autoscaler", *depth)
    assert not cluster.allows("default:default", *depth)


def test_an_upgrade_brings_new_definitions_and_keeps_what_the_operator_wrote(
    cluster: Cluster, tmp_path: Path
) -> None:
    cluster.install()
    authority = the_operator_writes_its_certificate(cluster)
    an_operator_leads(cluster)
    newer = shutil.copytree(CHART, tmp_path / "muster")
    path = newer / "files/crds/proverpools.muster.dev.yaml"
    definition = yaml.safe_load(path.read_text())
    (version,) = definition["spec"]["versions"]
    version["schema"]["openAPIV3Schema"]["description"] = "A newer one."
    path.write_text(yaml.safe_dump(definition))
    cluster.helm("upgrade", "muster", str(newer), "--set=operator.replicas=1")
    (live,) = cluster.get(CRDS[0])["spec"]["versions"]
    assert live["schema"]["openAPIV3Schema"]["description"] == "A newer one."
    assert cluster.get("deployment/muster-operator")["spec"]["replicas"] == 1
    assert cluster.get(APISERVICE)["spec"]["caBundle"] == authority
    assert cluster.get("secret/muster-metrics-tls")["data"] == {"ca.crt": authority}
    assert cluster.get("lease/muster-operator")["spec"] == TERM
    cluster.helm("rollback", "muster")
    assert cluster.get("lease/muster-operator")["spec"] == TERM


def test_uninstalling_removes_all_but_the_definitions_and_their_objects(cluster: Cluster) -> None:
    cluster.install()
    cluster.apply(POOL)
    cluster.helm("uninstall", "muster")
    assert not cluster.exists(APISERVICE)
    kinds = ("deployment", "service", "secret", "role", "rolebinding", "pdb", "networkpolicy")
    for kind in (*kinds, "lease"):
        assert not cluster.exists(kind), kind
    for kind in ("clusterrole", "clusterrolebinding"):
        assert cluster.kubectl("get", kind, OURS, "--output=name") == ""
    assert cluster.exists("proverpool/demo")
    cluster.install()
    assert cluster.exists("proverpool/demo")


def test_uninstalling_removes_the_definitions_too_when_told_so(cluster: Cluster) -> None:
    cluster.install("--set=crds.keep=false")
    cluster.helm("uninstall", "muster")
    eventually_sync(cluster.undefined, deadline=240, every=0.5, what="no definition is left")


def test_another_owner_of_the_metrics_api_is_named(cluster: Cluster) -> None:
    cluster.install()
    cluster.kubectl(
        "patch",
        *APISERVICE.split("/"),
        "--type=merge",
        "--patch=spec: {service: {namespace: keda, name: keda-operator-metrics-apiserver}}",
    )
    with pytest.raises(ProgramFailedError) as refused:
        cluster.helm("upgrade", "muster", str(CHART))
    assert "is served by keda/keda-operator-metrics-apiserver already" in str(refused.value)
    assert "set autoscaling.source to KEDA or Prometheus" in str(refused.value)


def test_what_is_templated_can_be_applied_and_then_does_not_differ(cluster: Cluster) -> None:
    manifests = cluster.templated()
    kubectl("apply", *GITOPS, kubeconfig=cluster.kubeconfig, stdin=manifests)
    authority = the_operator_writes_its_certificate(cluster)
    an_operator_leads(cluster)
    # A difference would be an exit status of its own, and so an error.
    assert kubectl("diff", *GITOPS, kubeconfig=cluster.kubeconfig, stdin=manifests) == ""
    kubectl("apply", *GITOPS, kubeconfig=cluster.kubeconfig, stdin=manifests)
    assert cluster.get(APISERVICE)["spec"]["caBundle"] == authority
    assert cluster.get("lease/muster-operator")["spec"] == TERM
