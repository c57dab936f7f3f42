"""What the pods of all workers have in common."""

from collections.abc import Sequence
from typing import Any

from muster_api.shared import Resources
from muster_operator import naming
from muster_operator.children import config_files
from muster_operator.children.base import (
    READ_BY_GROUP,
    Defaults,
    Owner,
    PodSpec,
    identity_env,
    ops_probes,
)
from muster_operator.resources import DEPLOYMENTS, Manifest

Part = dict[str, Any]
"""A part of a pod as JSON."""


def worker_container(
    image: str | None,
    defaults: Defaults,
    resources: Resources,
    *,
    env: Sequence[Part] = (),
    mounts: Sequence[Part] = (),
) -> Part:
    """The container of a worker; `env` and `mounts` are what it has beyond what all have."""
    return {
        "name": naming.WORKER,
        "image": image or defaults.worker_image,
        "imagePullPolicy": defaults.pull_policy,
        "args": ["--config", f"/etc/muster/{config_files.WORKER_FILE}"],
        "env": [*identity_env(), *env],
        "ports": [{"name": "ops", "containerPort": naming.WORKER_OPS_PORT, "protocol": "TCP"}],
        **ops_probes(),
        "resources": resources.to_wire(),
        "volumeMounts": [
            {"name": "config", "mountPath": "/etc/muster", "readOnly": True},
            {"name": "cache", "mountPath": "/var/cache/muster"},
            {"name": "spool", "mountPath": "/var/spool/muster"},
            *mounts,
        ],
    }


def worker_volumes(name: str, files: Sequence[Part]) -> tuple[Part, ...]:
    """The volumes of a worker: ConfigMap `name` with `files` of Secrets beside it, and its own."""
    config: Part = {"configMap": {"name": name, "defaultMode": READ_BY_GROUP}}
    if files:
        sources = [{"configMap": {"name": name}}, *files]
        config = {"projected": {"defaultMode": READ_BY_GROUP, "sources": sources}}
    return (
        {"name": "config", **config},
        {"name": "cache", "emptyDir": {}},
        {"name": "spool", "emptyDir": {}},
    )


def worker_deployment(owner: Owner, name: str, pod: PodSpec, replicas: int | None) -> Manifest:
    """The Deployment; without `replicas` their number is the autoscaler's."""
    return DEPLOYMENTS.manifest(
        owner.metadata(name, naming.WORKER),
        spec={
            **({} if replicas is None else {"replicas": replicas}),
            "selector": {"matchLabels": owner.selecting(naming.WORKER)},
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"},
            },
            "template": pod.template(),
        },
    )
