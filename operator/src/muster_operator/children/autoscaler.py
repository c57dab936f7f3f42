"""The HorizontalPodAutoscaler of workers, on the number of unfinished tasks."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from muster_api.workers import Autoscaling
from muster_operator import naming
from muster_operator.children.base import Owner
from muster_operator.resources import AUTOSCALERS, DEPLOYMENTS, Manifest

_SYNC_SECONDS = 15


@dataclass(frozen=True, slots=True)
class Metric:
    """An external metric by its name, and the labels that choose one value of it."""

    name: str
    labels: Mapping[str, str]


def fewest(limits: Autoscaling) -> int:
    """The least number of workers while the autoscaler sets it, which can't be zero."""
    return max(1, limits.min_replicas)


def autoscaler(
    owner: Owner, name: str, limits: Autoscaling, metric: Metric, spared: int
) -> Manifest:
    """One that scales Deployment `name`; `spared` workers are left, because they have tasks."""
    external = {
        "type": "External",
        "external": {
            "metric": {
                "name": metric.name,
                "selector": {"matchLabels": dict(metric.labels)},
            },
            "target": {"type": "AverageValue", "averageValue": str(limits.target_tasks_per_worker)},
        },
    }
    return AUTOSCALERS.manifest(
        owner.metadata(name, naming.WORKER),
        spec={
            "scaleTargetRef": {
                "apiVersion": DEPLOYMENTS.api_version,
                "kind": DEPLOYMENTS.kind,
                "name": name,
            },
            "minReplicas": max(fewest(limits), min(spared, limits.max_replicas)),
            "maxReplicas": limits.max_replicas,
            "metrics": [external],
            "behavior": {
                "scaleUp": _behavior(
                    limits.scale_up_stabilization_seconds, percent=100, pods=4, choose="Max"
                ),
                "scaleDown": _behavior(
                    limits.scale_down_stabilization_seconds, percent=50, pods=1, choose="Max"
                ),
            },
        },
    )


def _behavior(window: int, *, percent: int, pods: int, choose: str) -> dict[str, Any]:
    """At most `percent` or `pods`, whichever `choose` says, between two looks of the autoscaler."""
    return {
        "stabilizationWindowSeconds": window,
        "selectPolicy": choose,
        "policies": [
            {"type": "Percent", "value": percent, "periodSeconds": _SYNC_SECONDS},
            {"type": "Pods", "value": pods, "periodSeconds": _SYNC_SECONDS},
        ],
    }
