"""Answers as JSON."""

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from google.protobuf.message import Message

from muster_kv_coordinator.core.errors import ErrorCode
from muster_kv_coordinator.http_face.bodies import shown_clock, shown_value
from muster_protos import kv_pb2 as pb

STATUS: Mapping[ErrorCode, HTTPStatus] = {
    ErrorCode.UNKNOWN: HTTPStatus.INTERNAL_SERVER_ERROR,
    ErrorCode.INVALID_REQUEST: HTTPStatus.BAD_REQUEST,
    ErrorCode.TENANT_NOT_FOUND: HTTPStatus.NOT_FOUND,
    ErrorCode.TENANT_EXISTS: HTTPStatus.CONFLICT,
    ErrorCode.KEY_NOT_FOUND: HTTPStatus.NOT_FOUND,
    ErrorCode.QUORUM_NOT_REACHED: HTTPStatus.SERVICE_UNAVAILABLE,
    ErrorCode.IDEMPOTENCY_KEY_CONFLICT: HTTPStatus.CONFLICT,
    ErrorCode.INVALID_REPLICATION_FACTOR: HTTPStatus.BAD_REQUEST,
    ErrorCode.NODE_IN_USE: HTTPStatus.CONFLICT,
    ErrorCode.MIGRATION_NOT_FOUND: HTTPStatus.NOT_FOUND,
    ErrorCode.UNAUTHORIZED: HTTPStatus.UNAUTHORIZED,
    ErrorCode.FORBIDDEN: HTTPStatus.FORBIDDEN,
    ErrorCode.RATE_LIMIT_EXCEEDED: HTTPStatus.TOO_MANY_REQUESTS,
    ErrorCode.INTERNAL_ERROR: HTTPStatus.INTERNAL_SERVER_ERROR,
}


def status(code: ErrorCode, retry_after: float | None) -> HTTPStatus:
    """The status of an error; what will pass is never a fault of the server itself."""
    if code is ErrorCode.INTERNAL_ERROR and retry_after is not None:
        return HTTPStatus.SERVICE_UNAVAILABLE
    return STATUS[code]


def written(answer: pb.WriteKeyValueResponse | pb.DeleteKeyValueResponse) -> dict[str, Any]:
    """A write, or a deletion."""
    return {
        "key": answer.key,
        "idempotency_key": answer.idempotency_key,
        "vector_clock": shown_clock(answer.vector_clock),
        "replica_count": answer.replica_count,
        "consistency": answer.consistency,
        "is_duplicate": answer.is_duplicate,
        "sibling_count": answer.sibling_count,
    }


def read(answer: pb.ReadKeyValueResponse) -> dict[str, Any]:
    """A value; its siblings where there are any."""
    found = {
        "key": answer.key,
        **shown_value(answer.value),
        "vector_clock": shown_clock(answer.vector_clock),
    }
    if answer.expires_at_us:
        found["expires_at_us"] = answer.expires_at_us
    return found | _siblings(answer.siblings)


def _siblings(siblings: Any) -> dict[str, Any]:
    if not siblings:
        return {}
    shown = [shown_value(one.value) | {"timestamp_us": one.timestamp_us} for one in siblings]
    return {"siblings": shown}


def scanned(answer: pb.ScanKeyValuesResponse) -> dict[str, Any]:
    """A page."""
    entries = [
        {"key": entry.key}
        | shown_value(entry.value)
        | {"vector_clock": shown_clock(entry.vector_clock)}
        | _siblings(entry.siblings)
        for entry in answer.entries
    ]
    return {"entries": entries, "next_page_token": answer.next_page_token}


def tenant_made(answer: pb.CreateTenantResponse) -> dict[str, Any]:
    """A new tenant."""
    return _fields(answer, "tenant_id", "replication_factor", "created_at")


def tenant(answer: pb.GetTenantResponse) -> dict[str, Any]:
    """A tenant."""
    found = _fields(answer, "tenant_id", "replication_factor", "created_at", "updated_at")
    return found | {"policy": _policy(answer.policy)}


def tenant_policy(answer: pb.UpdateTenantPolicyResponse) -> dict[str, Any]:
    """A tenant's policy."""
    return {"tenant_id": answer.tenant_id, "policy": _policy(answer.policy)}


def factor(answer: pb.UpdateReplicationFactorResponse) -> dict[str, Any]:
    """A change of a replication factor."""
    return _fields(
        answer,
        "tenant_id",
        "old_replication_factor",
        "new_replication_factor",
        "migration_id",
        "updated_at",
    )


def node_change(answer: pb.AddStorageNodeResponse | pb.RemoveStorageNodeResponse) -> dict[str, Any]:
    """A node that comes or goes."""
    return _fields(answer, "node_id", "migration_id", "message", "estimated_completion")


def nodes(answer: pb.ListStorageNodesResponse) -> dict[str, Any]:
    """All nodes."""
    names = ("node_id", "host", "port", "status", "virtual_nodes", "keys_count")
    more = ("disk_usage_percent", "zone", "reachable")
    return {"nodes": [_fields(node, *names, *more) for node in answer.nodes]}


def migration(answer: pb.GetMigrationStatusResponse) -> dict[str, Any]:
    """A migration; `status` says whether the request went well, as everywhere."""
    found = _fields(answer, "migration_id", "type", "node_id", "tenant_id")
    progress = _fields(answer.progress, "keys_migrated", "total_keys", "percentage")
    return (
        found
        | {"migration_status": answer.status, "progress": progress}
        | _fields(answer, "started_at", "estimated_completion")
        | ({"error": answer.error_message} if answer.error_message else {})
    )


def repair_begun(answer: pb.StartRepairResponse) -> dict[str, Any]:
    """Anti-entropy that was asked for just now."""
    return {"repair_id": answer.repair_id, "repair_status": answer.status}


def repair(answer: pb.GetRepairStatusResponse) -> dict[str, Any]:
    """Anti-entropy that was asked for; `status` says whether the request went well."""
    return (
        _fields(answer, "repair_id", "tenant_id")
        | {"repair_status": answer.status}
        | _fields(answer, "ranges_differing", "records_repaired", "started_at", "finished_at")
        | _fields(answer, "waiting_for")
    )


def cancelled(answer: pb.CancelMigrationResponse) -> dict[str, Any]:
    """A migration that was asked to end."""
    return {"migration_id": answer.migration_id, "migration_status": answer.status}


def _fields(message: Message, *names: str) -> dict[str, Any]:
    return {name: getattr(message, name) for name in names}


def _policy(message: pb.TenantPolicy) -> dict[str, Any]:
    names = ("conflict_resolution", "durability", "idempotency")
    return _fields(message, *names, "writes_per_minute", "reads_per_minute")


View = Callable[[Any], dict[str, Any]]
