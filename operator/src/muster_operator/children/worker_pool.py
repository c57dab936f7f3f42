"""What one of a Coordinator's own worker pools becomes."""

from dataclasses import dataclass, replace
from typing import Any

from muster_api.coordinator import CoordinatorSpec
from muster_api.shared import Workload
from muster_api.worker_pools import WorkerPool
from muster_operator import naming
from muster_operator.children import config_files
from muster_operator.children.autoscaler import Queue, autoscaler
from muster_operator.children.base import (
    READ_BY_GROUP,
    Defaults,
    Owner,
    PodSpec,
    disruption_budget,
    service_account,
)
from muster_operator.children.coordinator_input import AWAKE, CoordinatorInput, PoolScale
from muster_operator.children.network import Reach, worker_policy
from muster_operator.children.secret_files import SecretFile, broker_source
from muster_operator.children.security import OPEN, Security, token_volumes, worker_sources
from muster_operator.children.worker_pods import (
    worker_container,
    worker_deployment,
    worker_volumes,
)
from muster_operator.resources import CONFIG_MAPS, Manifest

METRIC = "muster_worker_pool_outstanding_tasks"
COORDINATOR_LABEL = "coordinator"
POOL_LABEL = "pool"

_SECRETS_FOLDER = "/var/run/secrets/workloads"


@dataclass(frozen=True, slots=True)
class WorkerPoolInput:
    """All that decides what a pool becomes.

    Args:
        owner: the Coordinator, for this pool.
        spec: the Coordinator's.
        broker: where the broker's URL is, for pools that are reached by it.
        security: how its workers and the coordinators know each other.
    """

    owner: Owner
    spec: CoordinatorSpec
    pool: WorkerPool
    broker: SecretFile
    security: Security
    scale: PoolScale

    @property
    def name(self) -> str:
        """The name of its Deployment and all else."""
        return naming.worker_pool_name(self.owner.key.name, self.pool.name)

    @property
    def autoscaled(self) -> bool:
        """Whether an autoscaler owns the number of workers."""
        return self.pool.autoscaling.enabled and not (self.spec.suspend or self.scale.asleep)

    @property
    def replicas(self) -> int | None:
        """How many workers the operator sets; None where the autoscaler does."""
        if self.autoscaled:
            return None
        if self.spec.suspend or self.scale.asleep:
            return 0
        return 1 if self.pool.replicas is None else self.pool.replicas


def worker_pools(given: CoordinatorInput) -> list[WorkerPoolInput]:
    """The pools of a Coordinator."""
    return [
        WorkerPoolInput(
            replace(given.owner, pool=pool.name),
            given.spec,
            pool,
            given.credentials.broker,
            # Certificates and tokens are for the gRPC port.
            OPEN if pool.transport == "NATS" else given.security,
            given.scales.get(pool.name, AWAKE),
        )
        for pool in given.spec.worker_pools or []
    ]


def desired_worker_pool(given: WorkerPoolInput, defaults: Defaults) -> list[Manifest]:
    """Every object that belongs to a pool."""
    owner, name = given.owner, given.name
    config = config_files.as_file(
        config_files.worker_pool_config(
            owner.key.name, given.pool, given.security, given.spec.broker
        )
    )
    objects = [
        service_account(owner, name, naming.WORKER, given.pool.service_account),
        CONFIG_MAPS.manifest(
            owner.metadata(name, naming.WORKER), data={config_files.WORKER_FILE: config}
        ),
        _deployment(given, config, defaults),
        disruption_budget(owner, name, naming.WORKER, "25%"),
    ]
    if given.autoscaled:
        coordinator, pool = owner.key.name, given.pool.name
        labels = {COORDINATOR_LABEL: coordinator, POOL_LABEL: pool}
        queue = Queue(coordinator, pool, METRIC, labels)
        limits, spared, keda = given.pool.autoscaling, given.scale.spared, bool(defaults.keda)
        objects.append(autoscaler(owner, name, limits, queue, spared, keda=keda))
    if given.spec.network_policy.enabled:
        objects.append(worker_policy(owner, name, owner.key.name, _reach(given)))
    return objects


def _reach(given: WorkerPoolInput) -> Reach:
    by_broker = given.pool.transport == "NATS"
    broker = given.spec.broker
    managed = broker is not None and broker.managed is not None
    # Nobody knows where somebody else's broker is.
    anything = given.pool.network_access == "Any" or (by_broker and not managed)
    return Reach(broker=by_broker and managed, anything=anything)


def _deployment(given: WorkerPoolInput, config: str, defaults: Defaults) -> Manifest:
    pool, spec, name = given.pool, given.spec, given.name
    volumes, mounts = token_volumes(given.security)
    files = worker_sources(given.security)
    annotations = {naming.CONFIG: config_files.digest(config)}
    if pool.transport == "NATS":
        files += broker_source(given.broker)
        annotations[naming.CREDENTIALS] = given.broker.version
    for secret in pool.secrets or []:
        volume = f"secret-{len(volumes)}"
        source = {"secretName": secret.name, "defaultMode": READ_BY_GROUP}
        volumes.append({"name": volume, "secret": source})
        path = f"{_SECRETS_FOLDER}/{secret.name}"
        mounts.append({"name": volume, "mountPath": path, "readOnly": True})
    pod = PodSpec(
        owner=given.owner,
        component=naming.WORKER,
        container=worker_container(
            pool.image, defaults, pool.resources, env=_environment(pool), mounts=mounts
        ),
        annotations=annotations,
        volumes=(*worker_volumes(name, files), *volumes),
        grace=pool.termination_grace_period_seconds,
        workload=Workload(
            image_pull_secrets=spec.image_pull_secrets, pod_template=pool.pod_template
        ),
        service_account=name,
    )
    return worker_deployment(given.owner, name, pod, given.replicas)


def _environment(pool: WorkerPool) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for each in pool.env or []:
        if each.secret_key_ref:
            source = {"secretKeyRef": each.secret_key_ref.to_wire()}
            found.append({"name": each.name, "valueFrom": source})
        else:
            found.append({"name": each.name, "value": each.value or ""})
    return found
