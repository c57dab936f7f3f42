"""The configuration files of coordinators and workers."""

import hashlib
from typing import Any

import yaml

from muster_api.coordinator import CoordinatorSpec
from muster_api.duration import format_duration
from muster_api.proverpool import ProverPoolSpec
from muster_operator import naming
from muster_operator.children.key_volumes import key_file
from muster_operator.children.security import Security, server_settings, worker_settings
from muster_operator.resources import PROVER_POOLS, Key

COORDINATOR_FILE = "coordinator.yaml"
WORKER_FILE = "worker.yaml"
_WORKER_MARGIN = 5


def coordinator_config(
    name: str, namespace: str, spec: CoordinatorSpec, pools: dict[str, ProverPoolSpec]
) -> dict[str, Any]:
    """The configuration of a Coordinator that serves `pools`, by their names."""
    accounts = [Key(PROVER_POOLS.kind, namespace, pool) for pool in sorted(pools)]
    return {
        "coordinator": {
            "grpc_port": naming.GRPC_PORT,
            "http_port": naming.HTTP_PORT,
            "ops_port": naming.OPS_PORT,
            "poll_interval": format_duration(spec.poll_interval),
            "heartbeat_timeout": format_duration(spec.heartbeat_timeout),
            "stale_task_timeout": format_duration(spec.stale_task_timeout),
            "cleanup_interval": format_duration(spec.cleanup_interval),
            "strategy": spec.strategy,
            "max_retries": spec.max_retries,
            "max_queued": spec.max_queued,
            "drain_timeout": format_duration(spec.drain_timeout),
        },
        "database": {"dsn_file": "/etc/muster/database/dsn"},
        "leader_election": {
            "backend": "lease",
            "lease_name": naming.coordinator_name(name),
            "namespace": namespace,
        },
        "proving": {"pools": [_pool(pool, pools[pool]) for pool in sorted(pools)]},
        **server_settings(Security.of(name, spec), accounts),
    }


def _pool(name: str, spec: ProverPoolSpec) -> dict[str, Any]:
    return {
        "name": name,
        "insecure_setup": spec.keys is not None and spec.keys.insecure_setup,
        "verification": spec.verification,
        "circuits": circuits_config(spec),
    }


def circuits_config(spec: ProverPoolSpec) -> list[dict[str, Any]]:
    """What a pool proves and with which keys, as a coordinator is told."""
    imported = {key.statement: key for key in (spec.keys and spec.keys.imported) or []}
    circuits = []
    for circuit in spec.circuits:
        entry: dict[str, Any] = {
            "name": circuit.name,
            "curve": circuit.curve.lower(),
            "hash": circuit.hash.lower(),
        }
        if circuit.size is not None:
            entry["size"] = circuit.size
        key = imported.get(circuit.statement)
        if key:
            entry["import"] = {"path": key_file(key.source), "sha256": key.sha256}
        circuits.append(entry)
    return circuits


def worker_config(
    pool: str, coordinator: str, spec: ProverPoolSpec, security: Security
) -> dict[str, Any]:
    """The configuration of a pool's workers."""
    inner, outer = worker_settings(security)
    memory = spec.worker.task_memory_limit
    return {
        "worker": {
            "coordinator_address": f"{naming.coordinator_name(coordinator)}:{naming.GRPC_PORT}",
            "pool": pool,
            "concurrency": spec.concurrency,
            "heartbeat_interval": format_duration(spec.worker.heartbeat_interval),
            "shutdown_timeout": f"{spec.termination_grace_period_seconds - _WORKER_MARGIN}s",
            "ops_port": naming.WORKER_OPS_PORT,
            "cache_dir": "/var/cache/muster",
            "spool_dir": "/var/spool/muster",
            "task_timeout": format_duration(spec.worker.task_timeout),
            **({"task_memory_limit": memory} if memory else {}),
            **inner,
        },
        **outer,
    }


def as_file(config: dict[str, Any]) -> str:
    """A configuration as YAML text."""
    return yaml.safe_dump(config, sort_keys=False)


def digest(text: str) -> str:
    """A short name of a text's content; pods are replaced when it changes."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]
