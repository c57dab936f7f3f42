"""The storage nodes of a KVCluster: a StatefulSet, each pod with a volume and a name of its own."""

from typing import Any

from muster_operator import naming
from muster_operator.children.base import (
    READ_BY_GROUP,
    Defaults,
    PodSpec,
    disruption_budget,
    identity_env,
    ops_probes,
    service_ports,
)
from muster_operator.children.config_files import as_file, digest
from muster_operator.children.kv.backup import (
    backup_job,
    backup_mount,
    backup_peers,
    backup_volume,
    restoring,
)
from muster_operator.children.kv.config import storage_config
from muster_operator.children.kv.given import KvInput
from muster_operator.children.kv.paths import DATA, FOLDER, RESTORED_FILE, STORAGE_FILE, TOKEN_PATH
from muster_operator.children.kv.security import node_sources
from muster_operator.children.network import ANY_POD, DNS, policy, tcp
from muster_operator.children.volumes import volume_claim
from muster_operator.resources import CONFIG_MAPS, SERVICES, STATEFUL_SETS, Manifest

_SHUTDOWN_SECONDS = 30
_MARGIN_SECONDS = 15
# Coordinators try at least every four seconds to connect to a node that was away.
_REACHED_SECONDS = 5
# What evictions may take at a time. A second one would cost tenants with three replicas their
# quorum, and the API may make such; without the first, machines could never be drained where a
# tenant has one replica or two.
_AWAY = 1


def storage_nodes(given: KvInput, defaults: Defaults) -> list[Manifest]:
    """Every object of the storage nodes."""
    owner, spec = given.owner, given.spec
    name = naming.kv_storage_name(owner.key.name)
    config = as_file(storage_config(given))
    files = {STORAGE_FILE: config, **({RESTORED_FILE: given.restored} if given.restored else {})}
    objects = [
        CONFIG_MAPS.manifest(owner.metadata(name, naming.KV_STORAGE), data=files),
        _service(given, name),
        _stateful_set(given, name, config, defaults),
        disruption_budget(owner, name, naming.KV_STORAGE, _AWAY),
        *backup_job(given, defaults, _configuration(given, name)),
    ]
    return [*objects, _policy(given, name)] if spec.network_policy.enabled else objects


def _service(given: KvInput, name: str) -> Manifest:
    """Gives each pod its DNS name, ready or not: a node that starts has to be found."""
    owner = given.owner
    ports = {"storage": naming.KV_STORAGE_PORT, "ops": naming.KV_STORAGE_OPS_PORT}
    return SERVICES.manifest(
        owner.metadata(name, naming.KV_STORAGE),
        spec={
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": owner.selecting(naming.KV_STORAGE),
            "ports": service_ports(ports),
        },
    )


def _stateful_set(given: KvInput, name: str, config: str, defaults: Defaults) -> Manifest:
    owner, spec = given.owner, given.spec
    selector = owner.selecting(naming.KV_STORAGE)
    container = _container(given, defaults)
    pod = PodSpec(
        owner=owner,
        component=naming.KV_STORAGE,
        container=container,
        annotations={
            naming.CONFIG: digest(config),
            naming.CREDENTIALS: ".".join(filter(None, (given.token.version, given.node_tls))),
        },
        volumes=(_configuration(given, name), *backup_volume(given)),
        before=tuple(restoring(given, container)),
        grace=_SHUTDOWN_SECONDS + _MARGIN_SECONDS,
        workload=spec,
    )
    return STATEFUL_SETS.manifest(
        owner.metadata(name, naming.KV_STORAGE),
        spec={
            "replicas": 0 if spec.suspend else given.nodes,
            "serviceName": name,
            # They join together, and after a loss of all none waits for another; what is
            # replaced is so one by one nevertheless.
            "podManagementPolicy": "Parallel",
            # The next one is replaced when coordinators have reached the one before, or a quorum
            # would be missing for so long.
            "minReadySeconds": _REACHED_SECONDS,
            "selector": {"matchLabels": selector},
            "persistentVolumeClaimRetentionPolicy": {
                "whenDeleted": spec.deletion_policy,
                "whenScaled": "Retain",
            },
            "template": pod.template(),
            "volumeClaimTemplates": [
                volume_claim(spec.volume.size, spec.volume.storage_class_name, selector)
            ],
        },
    )


def _configuration(given: KvInput, name: str) -> dict[str, Any]:
    return {
        "name": "config",
        "projected": {
            "defaultMode": READ_BY_GROUP,
            "sources": [
                {"configMap": {"name": name}},
                *given.token.source(TOKEN_PATH),
                *node_sources(given.spec),
            ],
        },
    }


def _container(given: KvInput, defaults: Defaults) -> dict[str, Any]:
    spec = given.spec
    return {
        "name": "storage",
        "image": spec.image or defaults.worker_image,
        "imagePullPolicy": defaults.pull_policy,
        "command": ["muster-storage"],
        "args": ["--config", f"{FOLDER}/{STORAGE_FILE}"],
        "env": identity_env(),
        "ports": [
            {"name": "storage", "containerPort": naming.KV_STORAGE_PORT, "protocol": "TCP"},
            {"name": "ops", "containerPort": naming.KV_STORAGE_OPS_PORT, "protocol": "TCP"},
        ],
        **ops_probes(),
        "resources": spec.resources.to_wire(),
        "volumeMounts": [
            {"name": "config", "mountPath": FOLDER, "readOnly": True},
            {"name": "data", "mountPath": DATA},
            *backup_mount(given),
        ],
    }


def _policy(given: KvInput, name: str) -> Manifest:
    """Coordinators, storage nodes and backups of this cluster reach a storage node.

    It connects to the other storage nodes.
    """
    owner = given.owner
    coordinators, nodes = (
        {"podSelector": {"matchLabels": owner.selecting(component)}}
        for component in (naming.KV_COORDINATOR, naming.KV_STORAGE)
    )
    return policy(
        owner,
        name,
        naming.KV_STORAGE,
        ingress=[
            {
                "from": [coordinators, nodes, backup_peers(owner)],
                "ports": tcp(naming.KV_STORAGE_PORT),
            },
            {"from": [ANY_POD], "ports": tcp(naming.KV_STORAGE_OPS_PORT)},
        ],
        egress=[DNS, {"to": [nodes], "ports": tcp(naming.KV_STORAGE_PORT)}],
    )
