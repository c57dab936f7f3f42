"""The managed NATS of a Coordinator: one pod with JetStream on a volume."""

from typing import Any

from muster_api.broker import ManagedBroker
from muster_api.coordinator import CoordinatorSpec
from muster_operator import naming
from muster_operator.children.base import (
    READ_BY_GROUP,
    USER,
    Defaults,
    Owner,
    PodSpec,
    http_probe,
)
from muster_operator.children.config_files import digest
from muster_operator.children.network import nats_policy
from muster_operator.children.volumes import managed_claim, retention
from muster_operator.resources import CONFIG_MAPS, SECRETS, SERVICES, STATEFUL_SETS, Manifest

URL_KEY = "url"
AUTH_KEY = "auth.conf"

_ROLE = "muster"
_FOLDER = "/etc/nats"
_FILE = "nats.conf"
_DATA = "/var/lib/nats"
_MAX_PAYLOAD = 8 * 2**20
_GRACE_SECONDS = 60

# What JetStream acknowledges is on the disk. The password is in a file of its own.
_CONFIG = f"""
listen: "0.0.0.0:{naming.NATS_PORT}"
http: "0.0.0.0:{naming.NATS_MONITOR_PORT}"
max_payload: {_MAX_PAYLOAD}
jetstream {{
  store_dir: "{_DATA}/jetstream"
  sync_interval: always
}}
include "./{AUTH_KEY}"
""".lstrip()


def nats_secret(owner: Owner, password: str) -> Manifest:
    """The Secret with the password and the URL; made once, never written again.

    Args:
        password: without quotes, backslashes, or what a URL can't have.
    """
    name = naming.nats_name(owner.key.name)
    host = f"{name}.{owner.key.namespace}.svc"
    user = f'{{user: "{_ROLE}", password: "{password}"}}'
    return SECRETS.manifest(
        owner.metadata(name, naming.NATS),
        type="Opaque",
        stringData={
            AUTH_KEY: f"authorization {{ users: [{user}] }}\n",
            URL_KEY: f"nats://{_ROLE}:{password}@{host}:{naming.NATS_PORT}",
        },
    )


def managed_nats(
    owner: Owner,
    spec: CoordinatorSpec,
    broker: ManagedBroker,
    defaults: Defaults,
    secret_version: str,
) -> list[Manifest]:
    """All objects of the broker but its Secret, of which `secret_version` is the version."""
    name = naming.nats_name(owner.key.name)
    selector = owner.selecting(naming.NATS)
    ports = {"nats": naming.NATS_PORT, "monitor": naming.NATS_MONITOR_PORT}
    service = SERVICES.manifest(
        owner.metadata(name, naming.NATS),
        spec={
            "clusterIP": "None",
            "selector": selector,
            "ports": [
                {"name": port, "port": number, "targetPort": port} for port, number in ports.items()
            ],
        },
    )
    pod = PodSpec(
        owner=owner,
        component=naming.NATS,
        container=_container(broker, defaults, ports),
        annotations={naming.CONFIG: digest(_CONFIG), naming.CREDENTIALS: secret_version},
        volumes=(_configuration(name),),
        grace=_GRACE_SECONDS,
        workload=spec,
        fixed_user=USER,
    )
    stateful_set = STATEFUL_SETS.manifest(
        owner.metadata(name, naming.NATS),
        spec={
            "replicas": 0 if spec.suspend else 1,
            "serviceName": name,
            "selector": {"matchLabels": selector},
            "persistentVolumeClaimRetentionPolicy": retention(broker),
            "template": pod.template(),
            "volumeClaimTemplates": [managed_claim(broker, selector)],
        },
    )
    config = CONFIG_MAPS.manifest(owner.metadata(name, naming.NATS), data={_FILE: _CONFIG})
    objects = [config, service, stateful_set]
    return [*objects, nats_policy(owner)] if spec.network_policy.enabled else objects


def _configuration(name: str) -> dict[str, Any]:
    auth = {"secret": {"name": name, "items": [{"key": AUTH_KEY, "path": AUTH_KEY}]}}
    sources = [{"configMap": {"name": name}}, auth]
    return {"name": "config", "projected": {"defaultMode": READ_BY_GROUP, "sources": sources}}


def _container(broker: ManagedBroker, defaults: Defaults, ports: dict[str, int]) -> dict[str, Any]:
    def probe(path: str, period: int, failures: int) -> dict[str, Any]:
        return http_probe(path, "monitor", period=period, failures=failures)

    return {
        "name": naming.NATS,
        "image": broker.image or defaults.nats_image,
        "imagePullPolicy": defaults.pull_policy,
        "args": ["--config", f"{_FOLDER}/{_FILE}"],
        "ports": [
            {"name": port, "containerPort": number, "protocol": "TCP"}
            for port, number in ports.items()
        ],
        "startupProbe": probe("/healthz", 1, 120),
        "livenessProbe": probe("/healthz?js-server-only=true", 10, 6),
        "readinessProbe": probe("/healthz", 5, 3),
        "resources": broker.resources.to_wire(),
        "volumeMounts": [
            {"name": "config", "mountPath": _FOLDER, "readOnly": True},
            {"name": "data", "mountPath": _DATA},
        ],
    }
