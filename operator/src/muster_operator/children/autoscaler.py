"""What sets the number of workers by that of unfinished tasks: an autoscaler, or KEDA's like."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from muster_api.workers import Autoscaling
from muster_operator import naming
from muster_operator.children.base import Owner
from muster_operator.resources import AUTOSCALERS, DEPLOYMENTS, SCALED_OBJECTS, Manifest

Source = Literal["Muster", "KEDA", "Prometheus"]
"""Who tells autoscalers the number of tasks: the operator, KEDA, or an adapter of the user's."""

_SYNC_SECONDS = 15
# Where the autoscaler that we made before is still there, KEDA takes it over; it refuses otherwise.
_TAKE_OVER = {"scaledobject.keda.sh/transfer-hpa-ownership": "true"}


@dataclass(frozen=True, slots=True)
class Queue:
    """The tasks by which workers are scaled.

    Args:
        coordinator: the name of whose they are.
        pool: what it calls them.
        metric: the external metric that is their number.
        labels: by which one value of it is chosen.
    """

    coordinator: str
    pool: str
    metric: str
    labels: Mapping[str, str]


def fewest(limits: Autoscaling) -> int:
    """The least number of workers while the autoscaler sets it, which can't be zero."""
    return max(1, limits.min_replicas)


def autoscaler(
    owner: Owner, name: str, limits: Autoscaling, queue: Queue, spared: int, *, keda: bool
) -> Manifest:
    """One that scales Deployment `name`; `spared` workers are left, because they have tasks.

    Args:
        keda: whether KEDA is to make it; it then has the same name, and our labels.
    """
    least = max(fewest(limits), min(spared, limits.max_replicas))
    metadata = owner.metadata(name, naming.WORKER)
    target = {"apiVersion": DEPLOYMENTS.api_version, "kind": DEPLOYMENTS.kind, "name": name}
    if keda:
        return SCALED_OBJECTS.manifest(
            {**metadata, "annotations": _TAKE_OVER},
            spec={
                "scaleTargetRef": target,
                # Never 0: that last step is the operator's.
                "minReplicaCount": least,
                "maxReplicaCount": limits.max_replicas,
                "triggers": [_trigger(owner, limits, queue)],
                "advanced": {
                    "horizontalPodAutoscalerConfig": {"name": name, "behavior": _behavior(limits)}
                },
            },
        )
    return AUTOSCALERS.manifest(
        metadata,
        spec={
            "scaleTargetRef": target,
            "minReplicas": least,
            "maxReplicas": limits.max_replicas,
            "metrics": [_external(limits, queue)],
            "behavior": _behavior(limits),
        },
    )


def _external(limits: Autoscaling, queue: Queue) -> dict[str, Any]:
    return {
        "type": "External",
        "external": {
            "metric": {
                "name": queue.metric,
                "selector": {"matchLabels": dict(queue.labels)},
            },
            "target": {"type": "AverageValue", "averageValue": str(limits.target_tasks_per_worker)},
        },
    }


def _trigger(owner: Owner, limits: Autoscaling, queue: Queue) -> dict[str, Any]:
    host = f"{naming.coordinator_name(queue.coordinator)}.{owner.key.namespace}.svc"
    return {
        "type": "external",
        "metricType": "AverageValue",
        "metadata": {
            "scalerAddress": f"{host}:{naming.SCALER_PORT}",
            "pool": queue.pool,
            "targetTasksPerWorker": str(limits.target_tasks_per_worker),
        },
    }


def _behavior(limits: Autoscaling) -> dict[str, Any]:
    return {
        "scaleUp": _steps(limits.scale_up_stabilization_seconds, percent=100, pods=4),
        "scaleDown": _steps(limits.scale_down_stabilization_seconds, percent=50, pods=1),
    }


def _steps(window: int, *, percent: int, pods: int) -> dict[str, Any]:
    """At most `percent` or `pods`, whichever is more, between two looks of the autoscaler."""
    return {
        "stabilizationWindowSeconds": window,
        "selectPolicy": "Max",
        "policies": [
            {"type": "Percent", "value": percent, "periodSeconds": _SYNC_SECONDS},
            {"type": "Pods", "value": pods, "periodSeconds": _SYNC_SECONDS},
        ],
    }
