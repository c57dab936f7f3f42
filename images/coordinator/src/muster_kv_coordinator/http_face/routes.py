"""Every endpoint: how its request becomes a message, and its answer JSON."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from google.protobuf.message import Message
from pydantic import BaseModel

from muster_kv_coordinator.core.errors import invalid
from muster_kv_coordinator.http_face import bodies, views
from muster_protos import kv_pb2 as pb


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it came."""

    path: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter in the query."""

    name: str
    text: str
    required: bool = False
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "string"})


@dataclass(frozen=True, slots=True)
class Route:
    """One endpoint.

    Args:
        call: the method of the service that answers.
        message: makes its request.
        success: the status of an answer that is none of an error.
        idempotent: whether the header Idempotency-Key means something.
    """

    method: str
    path: str
    summary: str
    call: str
    message: Callable[[Asked], Message]
    view: views.View
    body: type[BaseModel] | None = None
    query: Sequence[Parameter] = ()
    success: HTTPStatus = HTTPStatus.OK
    idempotent: bool = False


_WHERE = (
    Parameter("tenant_id", "whose", required=True),
    Parameter("key", "which", required=True),
    Parameter("consistency", "one, quorum, all; the default where left out"),
)
_CONTEXT = Parameter("context", "the vector_clock of what was read, as a JSON object")
_SCAN = (
    Parameter("tenant_id", "whose", required=True),
    Parameter("prefix", "what the keys begin with"),
    Parameter("page_size", "1 to 1000; 100 where left out", schema={"type": "integer"}),
    Parameter("page_token", "next_page_token of the page before"),
    Parameter("consistency", "one, quorum, all; the default where left out"),
    Parameter("keys_only", "leave the values out", schema={"type": "boolean"}),
)
_FORCE = Parameter(
    "force", "for a node that will not come back: nothing waits for it", schema={"type": "boolean"}
)


def _write(asked: Asked) -> pb.WriteKeyValueRequest:
    body = bodies.parse(bodies.WriteBody, asked.body)
    request = pb.WriteKeyValueRequest(
        tenant_id=_text("tenant_id", body.tenant_id),
        key=_text("key", body.key),
        value=body.bytes_of_value(),
        consistency=_text("consistency", body.consistency),
        idempotency_key=_text("Idempotency-Key", asked.headers.get("Idempotency-Key", "")),
        ttl_seconds=body.ttl_seconds,
    )
    if body.context is not None:
        request.context.CopyFrom(bodies.clock(body.context))
    return request


def _read(asked: Asked) -> pb.ReadKeyValueRequest:
    return pb.ReadKeyValueRequest(
        tenant_id=_asked(asked, "tenant_id"),
        key=_asked(asked, "key"),
        consistency=_asked(asked, "consistency"),
    )


def _delete(asked: Asked) -> pb.DeleteKeyValueRequest:
    request = pb.DeleteKeyValueRequest(
        tenant_id=_asked(asked, "tenant_id"),
        key=_asked(asked, "key"),
        consistency=_asked(asked, "consistency"),
        idempotency_key=_text("Idempotency-Key", asked.headers.get("Idempotency-Key", "")),
    )
    if "context" in asked.query:
        request.context.CopyFrom(bodies.clock(_context(asked.query["context"])))
    return request


def _context(text: str) -> dict[str, int]:
    allowed = "a JSON object of names with counters above 0"
    try:
        found = json.loads(text)
    except ValueError:
        raise invalid("context", text, allowed) from None
    if not isinstance(found, dict) or not all(_counter(value) for value in found.values()):
        raise invalid("context", text, allowed)
    return found


def _counter(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value < 2**63


def _scan(asked: Asked) -> pb.ScanKeyValuesRequest:
    return pb.ScanKeyValuesRequest(
        tenant_id=_asked(asked, "tenant_id"),
        prefix=_asked(asked, "prefix"),
        page_size=_number(asked, "page_size"),
        page_token=_asked(asked, "page_token"),
        consistency=_asked(asked, "consistency"),
        keys_only=_flag(asked, "keys_only"),
    )


def _create_tenant(asked: Asked) -> pb.CreateTenantRequest:
    body = bodies.parse(bodies.TenantBody, asked.body)
    return pb.CreateTenantRequest(
        tenant_id=_text("tenant_id", body.tenant_id),
        replication_factor=body.replication_factor,
        policy=body.policy.message(),
    )


def _tenant(asked: Asked) -> pb.GetTenantRequest:
    return pb.GetTenantRequest(tenant_id=asked.path["tenant_id"])


def _factor(asked: Asked) -> pb.UpdateReplicationFactorRequest:
    body = bodies.parse(bodies.FactorBody, asked.body)
    return pb.UpdateReplicationFactorRequest(
        tenant_id=asked.path["tenant_id"], new_replication_factor=body.replication_factor
    )


def _policy(asked: Asked) -> pb.UpdateTenantPolicyRequest:
    body = bodies.parse(bodies.PolicyBody, asked.body)
    return pb.UpdateTenantPolicyRequest(tenant_id=asked.path["tenant_id"], policy=body.message())


def _add_node(asked: Asked) -> pb.AddStorageNodeRequest:
    body = bodies.parse(bodies.NodeBody, asked.body)
    return pb.AddStorageNodeRequest(
        node_id=_text("node_id", body.node_id),
        host=_text("host", body.host),
        port=body.port,
        virtual_nodes=body.virtual_nodes,
        zone=_text("zone", body.zone),
    )


def _remove_node(asked: Asked) -> pb.RemoveStorageNodeRequest:
    return pb.RemoveStorageNodeRequest(node_id=asked.path["node_id"], force=_flag(asked, "force"))


def _migration(asked: Asked) -> pb.GetMigrationStatusRequest:
    return pb.GetMigrationStatusRequest(migration_id=asked.path["migration_id"])


def _cancel(asked: Asked) -> pb.CancelMigrationRequest:
    return pb.CancelMigrationRequest(migration_id=asked.path["migration_id"])


def _start_repair(asked: Asked) -> pb.StartRepairRequest:
    body = bodies.parse(bodies.RepairBody, asked.body or b"{}")
    return pb.StartRepairRequest(tenant_id=_text("tenant_id", body.tenant_id))


def _repair(asked: Asked) -> pb.GetRepairStatusRequest:
    return pb.GetRepairStatusRequest(repair_id=asked.path["repair_id"])


def _nodes(_: Asked) -> pb.ListStorageNodesRequest:
    return pb.ListStorageNodesRequest()


def _text(name: str, text: str) -> str:
    bodies.utf8(name, text)
    return text


def _asked(asked: Asked, name: str) -> str:
    return _text(name, asked.query.get(name, ""))


def _flag(asked: Asked, name: str) -> bool:
    text = asked.query.get(name, "false")
    if text not in {"true", "false"}:
        raise invalid(name, text, "true, false")
    return text == "true"


def _number(asked: Asked, name: str) -> int:
    text = asked.query.get(name, "0")
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise invalid(name, text, "a whole number")
    return int(text)


_KV, _TENANTS, _ADMIN = "/v1/key-value", "/v1/tenants", "/v1/admin"
_TENANT = f"{_TENANTS}/{{tenant_id}}"
_NODES = f"{_ADMIN}/storage-nodes"
_MIGRATION = f"{_ADMIN}/migrations/{{migration_id}}"
_REPAIRS = f"{_ADMIN}/repairs"

ROUTES = (
    Route(
        "POST", _KV, "Write a value", "WriteKeyValue", _write, views.written,
        body=bodies.WriteBody, idempotent=True,
    ),
    Route("GET", _KV, "Read a value", "ReadKeyValue", _read, views.read, query=_WHERE),
    Route(
        "DELETE", _KV, "Delete a value", "DeleteKeyValue", _delete, views.written,
        query=(*_WHERE, _CONTEXT), idempotent=True,
    ),
    Route(
        "GET", "/v1/key-values", "Scan keys by prefix", "ScanKeyValues", _scan, views.scanned,
        query=_SCAN,
    ),
    Route(
        "POST", _TENANTS, "Make a tenant", "CreateTenant", _create_tenant, views.tenant_made,
        body=bodies.TenantBody, success=HTTPStatus.CREATED,
    ),
    Route("GET", _TENANT, "Look at a tenant", "GetTenant", _tenant, views.tenant),
    Route(
        "PUT", f"{_TENANT}/replication-factor", "Change how many replicas there are",
        "UpdateReplicationFactor", _factor, views.factor, body=bodies.FactorBody,
    ),
    Route(
        "PUT", f"{_TENANT}/policy", "Change how data is treated", "UpdateTenantPolicy", _policy,
        views.tenant_policy, body=bodies.PolicyBody,
    ),
    Route(
        "POST", _NODES, "Add a storage node", "AddStorageNode", _add_node, views.node_change,
        body=bodies.NodeBody, success=HTTPStatus.ACCEPTED,
    ),
    Route("GET", _NODES, "List the storage nodes", "ListStorageNodes", _nodes, views.nodes),
    Route(
        "DELETE", f"{_NODES}/{{node_id}}", "Remove a storage node", "RemoveStorageNode",
        _remove_node, views.node_change, query=(_FORCE,), success=HTTPStatus.ACCEPTED,
    ),
    Route(
        "GET", _MIGRATION, "Look at a migration", "GetMigrationStatus", _migration,
        views.migration,
    ),
    Route(
        "POST", f"{_MIGRATION}/cancel", "Cancel a migration", "CancelMigration", _cancel,
        views.cancelled, success=HTTPStatus.ACCEPTED,
    ),
    Route(
        "POST", _REPAIRS, "Compare and repair replicas now", "StartRepair", _start_repair,
        views.repair_begun, body=bodies.RepairBody, success=HTTPStatus.ACCEPTED,
    ),
    Route(
        "GET", f"{_REPAIRS}/{{repair_id}}", "Look at what came of a repair", "GetRepairStatus",
        _repair, views.repair,
    ),
)  # fmt: skip
