"""A control plane whose controllers run: API server, controller manager, no nodes.

Deployments make ReplicaSets and pods, autoscalers scale, garbage is collected. Only that pods run
is for the tests to say.
"""

import base64
import subprocess
from typing import Any, Self

import yaml

from muster_operator.children.autoscaler import Source
from muster_operator.cluster import Cluster
from muster_operator.rbac import (
    TOKEN_REVIEW_BINDING,
    cluster_rules,
    namespace_rules,
    review_rules,
)
from muster_operator.resources import Manifest, Resource
from muster_testing.apiserver import ControlPlane
from muster_testing.ports import free_port
from muster_testing.waiting import eventually_sync

OPERATOR = "muster-operator"
SYSTEM = "muster-system"
SERVICE = "muster-metrics"
SECRET = "muster-metrics-tls"

NAMESPACES = Resource("v1", "Namespace", "namespaces")
_CLUSTER_ROLES = Resource("rbac.authorization.k8s.io/v1", "ClusterRole", "clusterroles")
_CLUSTER_BINDINGS = Resource(
    "rbac.authorization.k8s.io/v1", "ClusterRoleBinding", "clusterrolebindings"
)
_ROLES = Resource("rbac.authorization.k8s.io/v1", "Role", "roles")
_BINDINGS = Resource("rbac.authorization.k8s.io/v1", "RoleBinding", "rolebindings")


class Plane(ControlPlane):
    """The control plane, and a kubeconfig with the operator's rights alone."""

    def __init__(self) -> None:
        super().__init__()
        self.operator_kubeconfig = self._home / "operator.kubeconfig"

    def __enter__(self) -> Self:
        super().__enter__()
        self._write_operator()
        self._start("kube-controller-manager", *self._manager_arguments())
        return self

    def stop_apiserver(self) -> None:
        """Kill the API server."""
        process = self._processes["kube-apiserver"]
        process.kill()
        process.wait()

    def start_apiserver(self) -> None:
        """Start it again, on what it had stored, and wait until it is ready."""
        arguments = self._processes["kube-apiserver"].args
        self._processes["kube-apiserver"] = subprocess.Popen(
            arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        eventually_sync(self._answers, deadline=120, what="kube-apiserver is ready again")

    def proxy_certificate(self, name: str) -> tuple[str, str]:
        """Paths of a client certificate of the front proxy's authority, and of its key."""
        path = self._home / f"proxy-{name}"
        self.front_proxy.issue(name, path)
        return f"{path}.crt", f"{path}.key"

    def _apiserver_arguments(self, etcd_url: str) -> list[str]:
        certificate, key = self.proxy_certificate("front-proxy-client")
        return [
            *super()._apiserver_arguments(etcd_url),
            f"--proxy-client-cert-file={certificate}",
            f"--proxy-client-key-file={key}",
            # Stricter than most clusters: OpenShift has it.
            "--enable-admission-plugins=OwnerReferencesPermissionEnforcement",
        ]

    def _manager_arguments(self) -> list[str]:
        return [
            f"--kubeconfig={self.kubeconfig}",
            "--bind-address=127.0.0.1",
            f"--secure-port={free_port()}",
            f"--cert-dir={self._home / 'manager'}",
            f"--service-account-private-key-file={self._home / 'server.key'}",
            "--leader-elect=false",
            "--controllers=*,-node-ipam-controller,-node-lifecycle-controller,-taint-eviction-controller",
            "--horizontal-pod-autoscaler-sync-period=500ms",
            "--horizontal-pod-autoscaler-initial-readiness-delay=0s",
        ]

    def _write_operator(self) -> None:
        self._authority.issue(OPERATOR, self._home / OPERATOR)
        config = yaml.safe_load(self.kubeconfig.read_text())
        config["users"][0]["user"] = {
            f"client-{part}-data": base64.b64encode(
                (self._home / f"{OPERATOR}.{ending}").read_bytes()
            ).decode()
            for part, ending in (("certificate", "crt"), ("key", "key"))
        }
        self.operator_kubeconfig.write_text(yaml.safe_dump(config))


async def grant(admin: Cluster, source: Source = "Muster") -> None:
    """Give the operator its rights and its namespace, and nothing beyond."""
    subject = [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": OPERATOR}]

    def bound(resource: Resource, role: Resource, name: str, **metadata: str) -> Manifest:
        reference = {"apiGroup": role.group, "kind": role.kind, "name": name}
        return resource.manifest(
            {"name": f"{OPERATOR}-{name}", **metadata}, roleRef=reference, subjects=subject
        )

    await admin.apply(NAMESPACES, NAMESPACES.manifest({"name": SYSTEM}))
    await admin.apply(
        _CLUSTER_ROLES, _CLUSTER_ROLES.manifest({"name": OPERATOR}, rules=cluster_rules(source))
    )
    await admin.apply(_CLUSTER_BINDINGS, bound(_CLUSTER_BINDINGS, _CLUSTER_ROLES, OPERATOR))
    review = {"name": TOKEN_REVIEW_BINDING}
    await admin.apply(_CLUSTER_ROLES, _CLUSTER_ROLES.manifest(review, rules=review_rules()))
    reference = {
        "apiGroup": _CLUSTER_ROLES.group,
        "kind": _CLUSTER_ROLES.kind,
        "name": TOKEN_REVIEW_BINDING,
    }
    await admin.apply(_CLUSTER_BINDINGS, _CLUSTER_BINDINGS.manifest(review, roleRef=reference))
    await admin.apply(
        _ROLES,
        _ROLES.manifest({"name": OPERATOR, "namespace": SYSTEM}, rules=namespace_rules(SECRET)),
    )
    await admin.apply(_BINDINGS, bound(_BINDINGS, _ROLES, OPERATOR, namespace=SYSTEM))
    reader = "extension-apiserver-authentication-reader"
    await admin.apply(_BINDINGS, bound(_BINDINGS, _ROLES, reader, namespace="kube-system"))


async def revoke(admin: Cluster) -> None:
    """Take the operator's rights in all namespaces away."""
    binding = await admin.get(_CLUSTER_BINDINGS, None, f"{OPERATOR}-{OPERATOR}")
    assert binding
    await admin.delete(_CLUSTER_BINDINGS, binding)


def ready_status(pod: Manifest) -> dict[str, Any]:
    """The status of a pod that runs and is ready."""
    name = pod["spec"]["containers"][0]["name"]
    return {
        "phase": "Running",
        "conditions": [
            {"type": kind, "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
            for kind in ("PodScheduled", "Initialized", "ContainersReady", "Ready")
        ],
        "containerStatuses": [
            {
                "name": name,
                "ready": True,
                "started": True,
                "restartCount": 0,
                "image": "x",
                "imageID": "x",
                "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}},
            }
        ],
    }
