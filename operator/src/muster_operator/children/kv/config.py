"""The configuration files of a KVCluster's coordinators and storage nodes."""

from typing import Any

from muster_operator import naming
from muster_operator.children.kv.given import KvInput
from muster_operator.children.kv.paths import (
    BACKUPS,
    DATA,
    DSN_PATH,
    FOLDER,
    REDIS_PATH,
    TOKEN_PATH,
)
from muster_operator.children.kv.security import client_settings, node_settings

_CONNECTIONS = 20
_IDLE_CONNECTIONS = 2


def storage_config(given: KvInput) -> dict[str, Any]:
    """The configuration of the storage nodes; each is named by its pod."""
    tls = node_settings(given.spec)
    return {
        "storage": {
            "cluster": cluster_name(given),
            "port": naming.KV_STORAGE_PORT,
            "ops_port": naming.KV_STORAGE_OPS_PORT,
            "data_dir": DATA,
            "backup_dir": BACKUPS if given.spec.backup else "",
            "token_file": f"{FOLDER}/{TOKEN_PATH}",
            "sync": True,
        },
        **({"tls": tls} if tls else {}),
    }


def coordinator_config(given: KvInput) -> dict[str, Any]:
    """The configuration of the coordinators."""
    spec = given.spec
    settings: dict[str, Any] = {
        "server": {"port": naming.KV_GRPC_PORT, "http_port": naming.KV_HTTP_PORT},
        "database": {
            "dsn_file": f"{FOLDER}/{DSN_PATH}",
            "max_connections": _CONNECTIONS,
            "min_connections": _IDLE_CONNECTIONS,
        },
        "hash_ring": {"virtual_nodes": spec.virtual_nodes},
        "consistency": {"default_level": spec.consistency.lower()},
        "storage": {
            "cluster": cluster_name(given),
            "token_file": f"{FOLDER}/{TOKEN_PATH}",
            **node_settings(spec),
        },
        "leader_election": {
            "backend": "lease",
            "lease_name": naming.kv_coordinator_name(given.owner.key.name),
            "namespace": given.owner.key.namespace,
        },
        "metrics": {"port": naming.KV_OPS_PORT},
        **client_settings(given),
    }
    if spec.redis:
        password = {"password_file": f"{FOLDER}/{REDIS_PATH}"} if given.redis else {}
        settings["redis"] = {
            "host": spec.redis.host,
            "port": spec.redis.port,
            "db": spec.redis.db,
            **password,
        }
    return settings


def cluster_name(given: KvInput) -> str:
    """What all processes of the cluster call it; others are not spoken to."""
    return f"{given.owner.key.namespace}.{given.owner.key.name}"
