"""What a ProverPool becomes."""

from dataclasses import dataclass

from muster_api.proverpool import ProverPoolSpec
from muster_operator import naming
from muster_operator.children import config_files
from muster_operator.children.autoscaler import Queue, autoscaler, fewest
from muster_operator.children.base import (
    Defaults,
    Owner,
    PodSpec,
    disruption_budget,
    service_account,
)
from muster_operator.children.network import Reach, worker_policy
from muster_operator.children.security import OPEN, Security, token_volumes, worker_sources
from muster_operator.children.worker_pods import (
    worker_container,
    worker_deployment,
    worker_volumes,
)
from muster_operator.resources import CONFIG_MAPS, COORDINATORS, Manifest

METRIC = "muster_prover_outstanding_tasks"
METRIC_LABEL = "proverpool"


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
        """Whether an autoscaler owns the number of workers."""
        return self.spec.autoscaling.enabled and not (self.spec.suspend or self.asleep)

    @property
    def fewest(self) -> int:
        """The least number of workers while the autoscaler sets it."""
        return fewest(self.spec.autoscaling)


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
        service_account(owner, name, naming.WORKER, spec.service_account),
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
        pool = owner.key.name
        queue = Queue(given.coordinator, pool, METRIC, {METRIC_LABEL: pool})
        limits, keda = spec.autoscaling, bool(defaults.keda)
        objects.append(autoscaler(owner, name, limits, queue, given.spared, keda=keda))
    if spec.network_policy.enabled:
        objects.append(worker_policy(owner, name, given.coordinator, Reach()))
    return objects


def _deployment(given: PoolInput, name: str, config: str, defaults: Defaults) -> Manifest:
    owner, spec = given.owner, given.spec
    volumes, mounts = token_volumes(given.security)
    pod = PodSpec(
        owner=owner,
        component=naming.WORKER,
        container=worker_container(spec.image, defaults, spec.resources, mounts=mounts),
        annotations={
            naming.CONFIG: config_files.digest(config),
            naming.KEYS: config_files.digest(
                config_files.as_file({"circuits": config_files.circuits_config(spec)})
            ),
        },
        volumes=(*worker_volumes(name, worker_sources(given.security)), *volumes),
        grace=spec.termination_grace_period_seconds,
        workload=spec,
        service_account=name,
    )
    return worker_deployment(owner, name, pod, fixed_replicas(given))
