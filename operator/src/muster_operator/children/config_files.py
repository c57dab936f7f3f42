"""The configuration files of coordinators and workers."""

import hashlib
from typing import Any

import yaml

from muster_api.broker import Broker
from muster_api.duration import format_duration
from muster_api.http_api import HttpApi
from muster_api.proverpool import ProverPoolSpec
from muster_api.worker_pools import WorkerPool
from muster_operator import naming
from muster_operator.children.accounts import account_settings
from muster_operator.children.coordinator_input import CoordinatorInput
from muster_operator.children.key_volumes import key_file
from muster_operator.children.secret_files import BROKER_FILE
from muster_operator.children.security import (
    Security,
    http_settings,
    server_settings,
    worker_settings,
)

COORDINATOR_FILE = "coordinator.yaml"
WORKER_FILE = "worker.yaml"
_WORKER_MARGIN = 5


def coordinator_config(given: CoordinatorInput, *, keda: bool) -> dict[str, Any]:
    """The configuration of a Coordinator; `keda` asks it how much work there is."""
    spec, pools = given.spec, given.pools
    _, namespace, name = given.owner.key
    return {
        "coordinator": {
            "grpc_port": naming.GRPC_PORT,
            "http_port": naming.HTTP_PORT,
            "ops_port": naming.OPS_PORT,
            **({"scaler_port": naming.SCALER_PORT} if keda else {}),
            "poll_interval": format_duration(spec.poll_interval),
            "heartbeat_timeout": format_duration(spec.heartbeat_timeout),
            "stale_task_timeout": format_duration(spec.stale_task_timeout),
            "cleanup_interval": format_duration(spec.cleanup_interval),
            "strategy": spec.strategy,
            "max_retries": spec.max_retries,
            "max_queued": spec.max_queued,
            **({"max_pending": spec.max_pending} if spec.max_pending else {}),
            "drain_timeout": format_duration(spec.drain_timeout),
        },
        "http": _http(spec.http),
        "database": given.credentials.database_settings(),
        "leader_election": {
            "backend": "lease",
            "lease_name": naming.coordinator_name(name),
            "namespace": namespace,
        },
        "proving": {"pools": [_pool(pool, pools[pool]) for pool in sorted(pools)]},
        **_workload_settings(given),
        **account_settings(spec),
        **http_settings(spec),
        **server_settings(given.security, _accounts(given)),
    }


def _accounts(given: CoordinatorInput) -> list[tuple[str, str]]:
    """Namespaces and names of the ServiceAccounts of all workers that it serves."""
    _, namespace, name = given.owner.key
    pools = [naming.worker_name(pool) for pool in sorted(given.pools)]
    own = [naming.worker_pool_name(name, pool.name) for pool in given.spec.worker_pools or []]
    return [(namespace, account) for account in (*pools, *own)]


def _workload_settings(given: CoordinatorInput) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    pools = given.spec.worker_pools or []
    if pools:
        settings["workloads"] = {
            "pools": [{"name": pool.name, "types": pool.workloads} for pool in pools]
        }
    if given.spec.broker:
        settings["broker"] = broker_settings(given.spec.broker)
    return settings


def broker_settings(broker: Broker) -> dict[str, Any]:
    """The section `broker` of a coordinator's and of a worker's configuration."""
    prefix = {"prefix": broker.prefix} if broker.prefix else {}
    return {"url_file": BROKER_FILE, **prefix}


def _http(spec: HttpApi) -> dict[str, Any]:
    return {
        "rate_limit": spec.rate_limit,
        "rate_burst": spec.rate_burst,
        "trusted_proxies": spec.trusted_proxies,
        "cors_origins": spec.cors_origins,
        **({"require_keys": True} if spec.require_keys else {}),
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
    """The configuration of a ProverPool's workers."""
    inner, outer = worker_settings(security)
    inner["coordinator_address"] = coordinator_address(coordinator)
    return {"worker": {**_worker(pool, spec), **inner}, **outer}


def worker_pool_config(
    coordinator: str, pool: WorkerPool, security: Security, broker: Broker | None
) -> dict[str, Any]:
    """The configuration of the workers of one of a Coordinator's own pools."""
    inner, outer = worker_settings(security)
    if pool.transport == "NATS" and broker:
        outer["broker"] = broker_settings(broker)
    else:
        inner["coordinator_address"] = coordinator_address(coordinator)
    if pool.options:
        outer["options"] = pool.options
    section = {
        **_worker(pool.name, pool),
        "workloads": pool.workloads,
        **({"tags": pool.tags} if pool.tags else {}),
        **inner,
    }
    return {"worker": section, **outer}


def coordinator_address(coordinator: str) -> str:
    """Where workers connect."""
    return f"{naming.coordinator_name(coordinator)}:{naming.GRPC_PORT}"


def _worker(name: str, pool: ProverPoolSpec | WorkerPool) -> dict[str, Any]:
    memory = pool.worker.task_memory_limit
    return {
        "pool": name,
        "concurrency": pool.concurrency,
        "heartbeat_interval": format_duration(pool.worker.heartbeat_interval),
        "shutdown_timeout": f"{pool.termination_grace_period_seconds - _WORKER_MARGIN}s",
        "ops_port": naming.WORKER_OPS_PORT,
        "cache_dir": "/var/cache/muster",
        "spool_dir": "/var/spool/muster",
        "task_timeout": format_duration(pool.worker.task_timeout),
        **({"task_memory_limit": memory} if memory else {}),
    }


def as_file(config: dict[str, Any]) -> str:
    """A configuration as YAML text."""
    return yaml.safe_dump(config, sort_keys=False)


def digest(text: str) -> str:
    """A short name of a text's content; pods are replaced when it changes."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]
