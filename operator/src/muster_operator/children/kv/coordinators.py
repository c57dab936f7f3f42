"""The coordinators of a KVCluster: alike, any number, without anything of their own to keep."""

from typing import Any

from muster_api.shared import Workload
from muster_operator import naming
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
from muster_operator.children.config_files import as_file, digest
from muster_operator.children.kv.config import coordinator_config
from muster_operator.children.kv.given import KvInput
from muster_operator.children.kv.paths import (
    COORDINATOR_FILE,
    DSN_PATH,
    FOLDER,
    REDIS_PATH,
    TOKEN_PATH,
)
from muster_operator.children.kv.security import coordinator_sources
from muster_operator.children.leases import lease_access
from muster_operator.children.network import ANY_POD, policy, tcp
from muster_operator.children.services import client_service
from muster_operator.resources import AUTOSCALERS, CONFIG_MAPS, DEPLOYMENTS, SERVICES, Manifest

CLIENT_PORTS = {"grpc": naming.KV_GRPC_PORT, "http": naming.KV_HTTP_PORT}
PORTS = {**CLIENT_PORTS, "ops": naming.KV_OPS_PORT}

_USUAL_REPLICAS = 2
_STOP_SERVING_SECONDS = 3
_SHUTDOWN_SECONDS = 30
_MARGIN_SECONDS = 12
_DOWN_WINDOW_SECONDS = 300


def coordinators(given: KvInput, defaults: Defaults) -> list[Manifest]:
    """Every object of the coordinators."""
    owner, spec = given.owner, given.spec
    name = naming.kv_coordinator_name(owner.key.name)
    config = as_file(coordinator_config(given))
    component = naming.KV_COORDINATOR
    objects = [
        service_account(owner, name, component, spec.coordinators.service_account),
        *lease_access(owner, name, component),
        CONFIG_MAPS.manifest(owner.metadata(name, component), data={COORDINATOR_FILE: config}),
        _service(owner, name),
        _deployment(given, name, config, defaults),
        disruption_budget(owner, name, component, 1),
    ]
    if spec.service:
        objects.append(client_service(owner, component, name, spec.service, CLIENT_PORTS))
    if autoscaled(given):
        objects.append(_autoscaler(given, name))
    if spec.network_policy.enabled:
        objects.append(_policy(owner, name))
    return objects


def autoscaled(given: KvInput) -> bool:
    """Whether the number of coordinators is an autoscaler's."""
    return given.spec.coordinators.autoscaling.enabled and not given.spec.suspend


def _service(owner: Owner, name: str) -> Manifest:
    return SERVICES.manifest(
        owner.metadata(name, naming.KV_COORDINATOR),
        spec={
            "type": "ClusterIP",
            "selector": owner.selecting(naming.KV_COORDINATOR),
            "ports": service_ports(PORTS),
        },
    )


def _deployment(given: KvInput, name: str, config: str, defaults: Defaults) -> Manifest:
    owner, spec = given.owner, given.spec
    secrets = (given.database, given.token, given.redis, given.keys, given.admin)
    versions = [*(each.version for each in secrets), given.node_tls]
    pod = PodSpec(
        owner=owner,
        component=naming.KV_COORDINATOR,
        container=_container(given, defaults),
        annotations={
            naming.CONFIG: digest(config),
            naming.CREDENTIALS: ".".join(filter(None, versions)),
        },
        volumes=(
            {
                "name": "config",
                "projected": {
                    "defaultMode": READ_BY_GROUP,
                    "sources": [
                        {"configMap": {"name": name}},
                        *given.database.source(DSN_PATH),
                        *given.token.source(TOKEN_PATH),
                        *given.redis.source(REDIS_PATH),
                        *coordinator_sources(given),
                    ],
                },
            },
        ),
        grace=_STOP_SERVING_SECONDS + _SHUTDOWN_SECONDS + _MARGIN_SECONDS,
        workload=Workload(
            image_pull_secrets=spec.image_pull_secrets,
            pod_template=spec.coordinators.pod_template,
        ),
        service_account=name,
        api_access=True,
    )
    return DEPLOYMENTS.manifest(
        owner.metadata(name, naming.KV_COORDINATOR),
        spec={
            **_replicas(given),
            "selector": {"matchLabels": owner.selecting(naming.KV_COORDINATOR)},
            "strategy": dict(ONE_MORE_FIRST),
            "template": pod.template(),
        },
    )


def _replicas(given: KvInput) -> dict[str, int]:
    if autoscaled(given):
        return {}
    wanted = given.spec.coordinators.replicas or _USUAL_REPLICAS
    return {"replicas": 0 if given.spec.suspend else wanted}


def _container(given: KvInput, defaults: Defaults) -> dict[str, Any]:
    spec = given.spec.coordinators
    return {
        "name": naming.COORDINATOR,
        "image": spec.image or defaults.coordinator_image,
        "imagePullPolicy": defaults.pull_policy,
        "command": ["muster-kv-coordinator"],
        "args": ["--config", f"{FOLDER}/{COORDINATOR_FILE}"],
        "env": identity_env(),
        "ports": [
            {"name": port, "containerPort": number, "protocol": "TCP"}
            for port, number in PORTS.items()
        ],
        # New connections go elsewhere before the process hears of its end.
        "lifecycle": {"preStop": {"sleep": {"seconds": _STOP_SERVING_SECONDS}}},
        **ops_probes(),
        "resources": spec.resources.to_wire(),
        "volumeMounts": [{"name": "config", "mountPath": FOLDER, "readOnly": True}],
    }


def _autoscaler(given: KvInput, name: str) -> Manifest:
    limits = given.spec.coordinators.autoscaling
    target = {"type": "Utilization", "averageUtilization": limits.target_cpu_percent}
    return AUTOSCALERS.manifest(
        given.owner.metadata(name, naming.KV_COORDINATOR),
        spec={
            "scaleTargetRef": {
                "apiVersion": DEPLOYMENTS.api_version,
                "kind": DEPLOYMENTS.kind,
                "name": name,
            },
            "minReplicas": limits.min_replicas,
            "maxReplicas": limits.max_replicas,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": _DOWN_WINDOW_SECONDS}},
        },
    )


def _policy(owner: Owner, name: str) -> Manifest:
    """Everyone reaches both faces, from outside of the cluster too; its pods the operations port.

    What it connects to is not restricted: the database and Redis may be anywhere.
    """
    return policy(
        owner,
        name,
        naming.KV_COORDINATOR,
        ingress=[
            {"ports": tcp(*CLIENT_PORTS.values())},
            {"from": [ANY_POD], "ports": tcp(naming.KV_OPS_PORT)},
        ],
    )
