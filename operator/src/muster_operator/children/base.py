"""What all children have in common: metadata, pods, disruption budgets."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from muster_api.model import API_VERSION, Model
from muster_api.shared import PodTemplate, ServiceAccount, Workload
from muster_operator import naming
from muster_operator.resources import (
    DISRUPTION_BUDGETS,
    SERVICE_ACCOUNTS,
    Key,
    Manifest,
)

PullPolicy = Literal["Always", "IfNotPresent", "Never"]

USER = 65532
READ_BY_GROUP = 0o440

ONE_MORE_FIRST: Mapping[str, Any] = {
    "type": "RollingUpdate",
    "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
}
"""The strategy of a Deployment that never has fewer ready pods than it should."""


@dataclass(frozen=True, slots=True)
class Defaults:
    """What the operator's configuration says about all that it makes.

    Args:
        keda: the namespace of KEDA, where that scales workers; empty where it does not.
    """

    coordinator_image: str
    worker_image: str
    postgres_image: str
    nats_image: str
    pull_policy: PullPolicy
    keda: str = ""


@dataclass(frozen=True, slots=True)
class Owner:
    """The custom object that children belong to.

    Args:
        pool: which of its worker pools they are for, where it has several.
    """

    key: Key
    uid: str
    pool: str = ""

    @classmethod
    def of(cls, body: Manifest) -> "Owner":
        """The owner that `body` is."""
        metadata = body["metadata"]
        return cls(Key(body["kind"], metadata["namespace"], metadata["name"]), metadata["uid"])

    def reference(self) -> dict[str, Any]:
        """The owner reference by which the cluster collects children."""
        return {
            "apiVersion": API_VERSION,
            "kind": self.key.kind,
            "name": self.key.name,
            "uid": self.uid,
            "controller": True,
            "blockOwnerDeletion": True,
        }

    def metadata(self, name: str, component: str) -> dict[str, Any]:
        """The metadata of a child."""
        return {
            "name": name,
            "namespace": self.key.namespace,
            "labels": naming.labels(self.key, component, self.pool),
            "ownerReferences": [self.reference()],
        }

    def selecting(self, component: str) -> dict[str, str]:
        """The labels by which the pods of one component are found; never changes."""
        return naming.selecting(self.key, component, self.pool)


@dataclass(frozen=True, slots=True)
class PodSpec:
    """The pods of one component.

    Args:
        container: the main container, without what `template` adds to every one.
        annotations: whose change replaces the pods.
        volumes: besides `/tmp`, which every pod has.
        grace: seconds from SIGTERM to SIGKILL.
        workload: what the custom resource says about its pods.
        before: containers that run to their end first.
        api_access: whether the pods get a token for the API server.
        fixed_user: the user id where the image has no choice.
    """

    owner: Owner
    component: str
    container: Mapping[str, Any]
    annotations: Mapping[str, str]
    volumes: tuple[Mapping[str, Any], ...]
    grace: int
    workload: Workload
    service_account: str | None = None
    api_access: bool = False
    fixed_user: int | None = None
    before: tuple[Mapping[str, Any], ...] = ()

    def template(self) -> dict[str, Any]:
        """The pod template of a Deployment or StatefulSet."""
        user = self.workload.pod_template
        spec: dict[str, Any] = {
            "automountServiceAccountToken": self.api_access,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": self.grace,
            "securityContext": self._security(user),
            "containers": [_hardened(self.container)],
            "volumes": [*map(dict, self.volumes), {"name": "tmp", "emptyDir": {}}],
            "topologySpreadConstraints": self._spread(user),
        }
        if self.before:
            spec["initContainers"] = [_hardened(each) for each in self.before]
        if self.service_account:
            spec["serviceAccountName"] = self.service_account
        if self.workload.image_pull_secrets:
            spec["imagePullSecrets"] = wire_list(self.workload.image_pull_secrets)
        if user.node_selector:
            spec["nodeSelector"] = dict(user.node_selector)
        if user.tolerations:
            spec["tolerations"] = wire_list(user.tolerations)
        if user.affinity:
            spec["affinity"] = user.affinity.to_wire()
        if user.priority_class_name:
            spec["priorityClassName"] = user.priority_class_name
        if user.runtime_class_name:
            spec["runtimeClassName"] = user.runtime_class_name
        owner = self.owner
        labels = naming.labels(owner.key, self.component, owner.pool)
        return {
            "metadata": {
                "labels": {**(user.labels or {}), **labels},
                "annotations": {
                    "kubectl.kubernetes.io/default-container": self.container["name"],
                    **(user.annotations or {}),
                    **self.annotations,
                },
            },
            "spec": spec,
        }

    def _security(self, user: PodTemplate) -> dict[str, Any]:
        number = self.fixed_user or USER
        chosen = user.security_context if self.fixed_user is None else None
        return {
            "runAsNonRoot": True,
            "runAsUser": number,
            "runAsGroup": number,
            "fsGroup": number,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
            **(chosen.to_wire() if chosen else {}),
        }

    def _spread(self, user: PodTemplate) -> list[dict[str, Any]]:
        ours = {"matchLabels": self.owner.selecting(self.component)}
        if user.topology_spread_constraints is None:
            return [
                {
                    "maxSkew": 1,
                    "topologyKey": "kubernetes.io/hostname",
                    "whenUnsatisfiable": "ScheduleAnyway",
                    "labelSelector": ours,
                }
            ]
        return [
            {"labelSelector": ours, **each.to_wire()} for each in user.topology_spread_constraints
        ]


def _hardened(container: Mapping[str, Any]) -> dict[str, Any]:
    """A container with what every one has."""
    return {
        **container,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            *container["volumeMounts"],
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - the pod's own
        ],
    }


def wire_list(models: Iterable[Model]) -> list[dict[str, Any]]:
    """Models as JSON."""
    return [model.to_wire() for model in models]


def identity_env() -> list[dict[str, Any]]:
    """Who the pod is, as environment."""
    fields = {
        "POD_NAME": "metadata.name",
        "POD_NAMESPACE": "metadata.namespace",
        "POD_IP": "status.podIP",
    }
    return [
        {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}
        for name, path in fields.items()
    ]


def http_probe(path: str, port: str, *, period: int, failures: int) -> dict[str, Any]:
    """A probe by HTTP GET, every `period` seconds."""
    return {
        "httpGet": {"path": path, "port": port},
        "periodSeconds": period,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    }


def service_ports(ports: Mapping[str, int]) -> list[dict[str, Any]]:
    """The ports of a Service, by name; its pods have ports of the same names."""
    return [
        {"name": name, "port": number, "targetPort": name, "protocol": "TCP"}
        for name, number in ports.items()
    ]


def ops_probes() -> dict[str, Any]:
    """Probes of a process that serves `/health` and `/ready` on its port named ops."""
    return {
        "startupProbe": http_probe("/health", "ops", period=1, failures=120),
        "livenessProbe": http_probe("/health", "ops", period=10, failures=6),
        "readinessProbe": http_probe("/ready", "ops", period=2, failures=3),
    }


def service_account(owner: Owner, name: str, component: str, wanted: ServiceAccount) -> Manifest:
    """A ServiceAccount; its token reaches only pods that ask for it."""
    metadata = owner.metadata(name, component)
    if wanted.annotations:
        metadata["annotations"] = dict(wanted.annotations)
    return SERVICE_ACCOUNTS.manifest(metadata, automountServiceAccountToken=False)


def disruption_budget(
    owner: Owner, name: str, component: str, max_unavailable: int | str
) -> Manifest:
    """How many pods a node drain may take at a time."""
    return DISRUPTION_BUDGETS.manifest(
        owner.metadata(name, component),
        spec={
            "maxUnavailable": max_unavailable,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": owner.selecting(component)},
        },
    )
