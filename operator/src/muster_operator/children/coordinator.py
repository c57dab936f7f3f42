"""What a Coordinator becomes."""

from typing import Any

from muster_api.coordinator import CoordinatorSpec
from muster_operator import naming
from muster_operator.children import config_files
from muster_operator.children.base import (
    ONE_MORE_FIRST,
    READ_BY_GROUP,
    Defaults,
    Owner,
    PodSpec,
    disruption_budget,
    identity_env,
    ops_probes,
    service_account,
    service_ports,
)
from muster_operator.children.coordinator_input import CoordinatorInput
from muster_operator.children.key_volumes import key_volumes
from muster_operator.children.leases import lease_access
from muster_operator.children.nats import managed_nats
from muster_operator.children.network import coordinator_policy
from muster_operator.children.postgres import managed_postgres
from muster_operator.children.security import http_sources, server_sources
from muster_operator.children.services import client_service
from muster_operator.children.worker_pool import desired_worker_pool, worker_pools
from muster_operator.resources import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    SERVICES,
    Manifest,
)

_STOP_SERVING_SECONDS = 3
_MARGIN = 12


def desired_coordinator(given: CoordinatorInput, defaults: Defaults) -> list[Manifest]:
    """Every object that belongs to a Coordinator, but the Secrets that are made once."""
    owner, spec = given.owner, given.spec
    name = naming.coordinator_name(owner.key.name)
    keda = bool(defaults.keda)
    config = config_files.as_file(config_files.coordinator_config(given, keda=keda))
    objects = [
        service_account(owner, name, naming.COORDINATOR, spec.service_account),
        *lease_access(owner, name, naming.COORDINATOR),
        CONFIG_MAPS.manifest(
            owner.metadata(name, naming.COORDINATOR), data={config_files.COORDINATOR_FILE: config}
        ),
        _service(owner, name, _ports(defaults)),
        _deployment(given, name, config, defaults),
        disruption_budget(owner, name, naming.COORDINATOR, 1),
    ]
    objects += [certificates_anchor(owner, revision) for revision in given.certificates]
    if spec.service:
        ports = {"http": naming.HTTP_PORT}
        objects.append(client_service(owner, naming.COORDINATOR, name, spec.service, ports))
    if spec.network_policy.enabled:
        objects.append(coordinator_policy(owner, defaults.keda))
    if spec.database.managed:
        objects += managed_postgres(
            owner, spec, spec.database.managed, defaults, given.credentials.database.version
        )
    if spec.broker and spec.broker.managed:
        version = given.credentials.broker.version
        objects += managed_nats(owner, spec, spec.broker.managed, defaults, version)
    for pool in worker_pools(given):
        objects += desired_worker_pool(pool, defaults)
    return objects


def certificates_anchor(owner: Owner, revision: int) -> Manifest:
    """What owns the Secrets with one revision of the certificates, so that they go with it."""
    name = naming.certificates_name(owner.key.name, revision)
    return CONFIG_MAPS.manifest(owner.metadata(name, naming.COORDINATOR))


def _ports(defaults: Defaults) -> dict[str, int]:
    """By name, of pods and of their Service."""
    return {
        "grpc": naming.GRPC_PORT,
        "http": naming.HTTP_PORT,
        "ops": naming.OPS_PORT,
        **({"scaler": naming.SCALER_PORT} if defaults.keda else {}),
    }


def _service(owner: Owner, name: str, ports: dict[str, int]) -> Manifest:
    return SERVICES.manifest(
        owner.metadata(name, naming.COORDINATOR),
        spec={
            "type": "ClusterIP",
            "selector": naming.selecting(owner.key, naming.COORDINATOR),
            "ports": service_ports(ports),
        },
    )


def _deployment(given: CoordinatorInput, name: str, config: str, defaults: Defaults) -> Manifest:
    owner, spec = given.owner, given.spec
    drain = int(spec.drain_timeout.total_seconds())
    volumes, mounts = key_volumes(given.pools.values())
    pod = PodSpec(
        owner=owner,
        component=naming.COORDINATOR,
        container=_container(spec, defaults, mounts),
        annotations={
            naming.CONFIG: config_files.digest(config),
            **given.credentials.annotations(),
        },
        volumes=(_configuration(given, name), *volumes),
        grace=_STOP_SERVING_SECONDS + drain + _MARGIN,
        workload=spec,
        service_account=name,
        api_access=True,
    )
    return DEPLOYMENTS.manifest(
        owner.metadata(name, naming.COORDINATOR),
        spec={
            "replicas": 0 if spec.suspend else spec.replicas,
            "selector": {"matchLabels": naming.selecting(owner.key, naming.COORDINATOR)},
            "strategy": dict(ONE_MORE_FIRST),
            "template": pod.template(),
        },
    )


def _configuration(given: CoordinatorInput, name: str) -> dict[str, Any]:
    """One volume for file and Secrets: a mount inside a read-only mount can't be made."""
    return {
        "name": "config",
        "projected": {
            "defaultMode": READ_BY_GROUP,
            "sources": [
                {"configMap": {"name": name}},
                *given.credentials.sources(),
                *server_sources(given.security),
                *http_sources(given.spec),
            ],
        },
    }


def _container(
    spec: CoordinatorSpec, defaults: Defaults, mounts: list[dict[str, Any]]
) -> dict[str, Any]:
    return {
        "name": naming.COORDINATOR,
        "image": spec.image or defaults.coordinator_image,
        "imagePullPolicy": defaults.pull_policy,
        "args": ["--config", f"/etc/muster/{config_files.COORDINATOR_FILE}"],
        "env": identity_env(),
        "ports": [
            {"name": name, "containerPort": number, "protocol": "TCP"}
            for name, number in _ports(defaults).items()
        ],
        # New connections go elsewhere before the process hears of its end.
        "lifecycle": {"preStop": {"sleep": {"seconds": _STOP_SERVING_SECONDS}}},
        **ops_probes(),
        "resources": spec.resources.to_wire(),
        "volumeMounts": [
            {"name": "config", "mountPath": "/etc/muster", "readOnly": True},
            *mounts,
        ],
    }
