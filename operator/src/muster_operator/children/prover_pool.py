"""What a ProverPool becomes."""

from dataclasses import dataclass
from typing import Any

from muster_api.proverpool import ProverPoolSpec
from muster_operator import naming
from muster_operator.children import config_files
from muster_operator.children.base import (
    READ_BY_GROUP,
    Defaults,
    Owner,
    PodSpec,
    disruption_budget,
    identity_env,
    ops_probes,
    service_account,
)
from muster_operator.children.network import worker_policy
from muster_operator.children.security import OPEN, Security, token_volumes, worker_sources
from muster_operator.resources import (
    AUTOSCALERS,
    CONFIG_MAPS,
    COORDINATORS,
    DEPLOYMENTS,
    Manifest,
)

METRIC = "muster_prover_outstanding_tasks"
METRIC_LABEL = "proverpool"

_SYNC_SECONDS = 15


@dataclass(frozen=True, slots=True)
class PoolInput:
    """All that decides what a ProverPool becomes.

    Args:
        asleep: whether it has no work and therefore no workers.
        security: how its Coordinator and its workers know each other.
        spared: workers that the autoscaler has to leave, because they have tasks.
    """

    owner: Owner
    spec: ProverPoolSpec
    security: Security = OPEN
    asleep: bool = False
    spared: int = 0

    @property
    def coordinator(self) -> str:
        """The name of the Coordinator that hands out the work."""
        return coordinator_of(self.owner.key.name, self.spec)

    @property
    def autoscaled(self) -> bool:
        """Whether the HorizontalPodAutoscaler owns the number of workers."""
        return self.spec.autoscaling.enabled and not (self.spec.suspend or self.asleep)

    @property
    def fewest(self) -> int:
        """The least number of workers while the autoscaler sets it, which can't be zero."""
        return max(1, self.spec.autoscaling.min_replicas)


def coordinator_of(pool: str, spec: ProverPoolSpec) -> str:
    """The name of the Coordinator of a pool: the one it names, or its own."""
    return spec.coordinator_ref.name if spec.coordinator_ref else pool


def fixed_replicas(given: PoolInput) -> int | None:
    """How many workers the operator sets; None where the autoscaler does."""
    if given.autoscaled:
        return None
    if given.spec.suspend or given.asleep:
        return 0
    return 1 if given.spec.replicas is None else given.spec.replicas


def desired_pool(given: PoolInput, defaults: Defaults) -> list[Manifest]:
    """Every object that belongs to a ProverPool."""
    owner, spec = given.owner, given.spec
    name = naming.worker_name(owner.key.name)
    config = config_files.as_file(
        config_files.worker_config(owner.key.name, given.coordinator, spec, given.security)
    )
    objects = [
        service_account(owner, name, naming.WORKER),
        CONFIG_MAPS.manifest(
            owner.metadata(name, naming.WORKER), data={config_files.WORKER_FILE: config}
        ),
        _deployment(given, name, config, defaults),
        disruption_budget(owner, name, naming.WORKER, "25%"),
    ]
    if spec.coordinator_ref is None:
        objects.append(
            COORDINATORS.manifest(owner.metadata(owner.key.name, naming.COORDINATOR), spec={})
        )
    if given.autoscaled:
        objects.append(_autoscaler(given, name))
    if spec.network_policy.enabled:
        objects.append(worker_policy(owner, given.coordinator))
    return objects


def _deployment(given: PoolInput, name: str, config: str, defaults: Defaults) -> Manifest:
    owner, spec = given.owner, given.spec
    volumes, mounts = token_volumes(given.security)
    pod = PodSpec(
        owner=owner,
        component=naming.WORKER,
        container=_container(spec, defaults, mounts),
        annotations={
            naming.CONFIG: config_files.digest(config),
            naming.KEYS: config_files.digest(
                config_files.as_file({"circuits": config_files.circuits_config(spec)})
            ),
        },
        volumes=(
            _configuration(name, given.security),
            {"name": "cache", "emptyDir": {}},
            {"name": "spool", "emptyDir": {}},
            *volumes,
        ),
        grace=spec.termination_grace_period_seconds,
        workload=spec,
        service_account=name,
    )
    replicas = fixed_replicas(given)
    return DEPLOYMENTS.manifest(
        owner.metadata(name, naming.WORKER),
        spec={
            **({} if replicas is None else {"replicas": replicas}),
            "selector": {"matchLabels": naming.selecting(owner.key, naming.WORKER)},
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"},
            },
            "template": pod.template(),
        },
    )


def _configuration(name: str, security: Security) -> dict[str, Any]:
    files = worker_sources(security)
    if not files:
        return {"name": "config", "configMap": {"name": name, "defaultMode": READ_BY_GROUP}}
    sources = [{"configMap": {"name": name}}, *files]
    return {"name": "config", "projected": {"defaultMode": READ_BY_GROUP, "sources": sources}}


def _container(
    spec: ProverPoolSpec, defaults: Defaults, mounts: list[dict[str, Any]]
) -> dict[str, Any]:
    return {
        "name": naming.WORKER,
        "image": spec.image or defaults.worker_image,
        "imagePullPolicy": defaults.pull_policy,
        "args": ["--config", f"/etc/muster/{config_files.WORKER_FILE}"],
        "env": identity_env(),
        "ports": [{"name": "ops", "containerPort": naming.WORKER_OPS_PORT, "protocol": "TCP"}],
        **ops_probes(),
        "resources": spec.resources.to_wire(),
        "volumeMounts": [
            {"name": "config", "mountPath": "/etc/muster", "readOnly": True},
            {"name": "cache", "mountPath": "/var/cache/muster"},
            {"name": "spool", "mountPath": "/var/spool/muster"},
            *mounts,
        ],
    }


def _autoscaler(given: PoolInput, name: str) -> Manifest:
    owner, spec = given.owner, given.spec.autoscaling
    metric = {
        "type": "External",
        "external": {
            "metric": {
                "name": METRIC,
                "selector": {"matchLabels": {METRIC_LABEL: owner.key.name}},
            },
            "target": {"type": "AverageValue", "averageValue": str(spec.target_tasks_per_worker)},
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
            "minReplicas": max(given.fewest, min(given.spared, spec.max_replicas)),
            "maxReplicas": spec.max_replicas,
            "metrics": [metric],
            "behavior": {
                "scaleUp": _behavior(
                    spec.scale_up_stabilization_seconds, percent=100, pods=4, choose="Max"
                ),
                "scaleDown": _behavior(
                    spec.scale_down_stabilization_seconds, percent=50, pods=1, choose="Max"
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
