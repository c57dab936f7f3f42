"""All calls by name: a request in, an answer out, whatever happens."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from google.protobuf.message import Message

from muster_kv_coordinator.api import keyvalues
from muster_kv_coordinator.api.admin import AdminCalls
from muster_kv_coordinator.api.caller import Caller
from muster_kv_coordinator.api.keyvalues import KeyValueCalls
from muster_kv_coordinator.core.errors import ErrorCode, KvError
from muster_protos import kv_pb2 as pb

log = logging.getLogger(__name__)

NAME = pb.DESCRIPTOR.services_by_name["CoordinatorService"].full_name

Handler = Callable[[Any, Caller], Awaitable[Message]]

METHODS = tuple(
    method.name
    for method in pb.DESCRIPTOR.services_by_name["CoordinatorService"].methods
    if not method.client_streaming
)
"""The names of all unary calls."""


class RequestMeter(Protocol):
    """Counts requests."""

    def request(self, method: str, code: str, seconds: float) -> None:
        """A call ended with a code of the contract, or `OK`."""
        ...


@dataclass(frozen=True, slots=True)
class Method:
    """One unary call."""

    request: type[Message]
    answer: type[Message]
    handle: Handler

    def failed(self, request: Message, error: KvError) -> Message:
        """The answer that says what went wrong."""
        if isinstance(
            request, pb.WriteKeyValueRequest | pb.ReadKeyValueRequest | pb.DeleteKeyValueRequest
        ):
            return keyvalues.failure(error, request)
        return self.answer(error_message=str(error), error_code=int(error.code))


class Service:
    """The unary calls of `proto.CoordinatorService`, and the operations of its stream."""

    def __init__(self, key_values: KeyValueCalls, admin: AdminCalls, meter: RequestMeter) -> None:
        self._meter = meter
        self._key_values = key_values
        self.methods: Mapping[str, Method] = {
            "WriteKeyValue": Method(
                pb.WriteKeyValueRequest, pb.WriteKeyValueResponse, key_values.write
            ),
            "ReadKeyValue": Method(
                pb.ReadKeyValueRequest, pb.ReadKeyValueResponse, key_values.read
            ),
            "DeleteKeyValue": Method(
                pb.DeleteKeyValueRequest, pb.DeleteKeyValueResponse, key_values.delete
            ),
            "Batch": Method(pb.BatchRequest, pb.BatchResponse, key_values.batch),
            "ScanKeyValues": Method(
                pb.ScanKeyValuesRequest, pb.ScanKeyValuesResponse, key_values.scan
            ),
            "CreateTenant": Method(
                pb.CreateTenantRequest, pb.CreateTenantResponse, admin.create_tenant
            ),
            "GetTenant": Method(pb.GetTenantRequest, pb.GetTenantResponse, admin.get_tenant),
            "UpdateTenantPolicy": Method(
                pb.UpdateTenantPolicyRequest, pb.UpdateTenantPolicyResponse, admin.update_policy
            ),
            "UpdateReplicationFactor": Method(
                pb.UpdateReplicationFactorRequest,
                pb.UpdateReplicationFactorResponse,
                admin.update_factor,
            ),
            "AddStorageNode": Method(
                pb.AddStorageNodeRequest, pb.AddStorageNodeResponse, admin.add_node
            ),
            "RemoveStorageNode": Method(
                pb.RemoveStorageNodeRequest, pb.RemoveStorageNodeResponse, admin.remove_node
            ),
            "GetMigrationStatus": Method(
                pb.GetMigrationStatusRequest, pb.GetMigrationStatusResponse, admin.migration
            ),
            "CancelMigration": Method(
                pb.CancelMigrationRequest, pb.CancelMigrationResponse, admin.cancel_migration
            ),
            "StartRepair": Method(
                pb.StartRepairRequest, pb.StartRepairResponse, admin.start_repair
            ),
            "GetRepairStatus": Method(
                pb.GetRepairStatusRequest, pb.GetRepairStatusResponse, admin.repair
            ),
            "ListStorageNodes": Method(
                pb.ListStorageNodesRequest, pb.ListStorageNodesResponse, admin.nodes
            ),
        }

    async def call(self, name: str, request: Message, caller: Caller) -> Message:
        """Answer one unary call; nothing is raised but cancellation."""
        method = self.methods[name]
        begun = time.perf_counter()
        code = "OK"
        try:
            return await method.handle(request, caller)
        except KvError as error:
            code = error.code.name
            caller.retry_after = error.retry_after
            return method.failed(request, error)
        except asyncio.CancelledError:
            code = "CANCELLED"
            raise
        except Exception:
            log.exception("call failed", extra={"method": name})
            code = ErrorCode.INTERNAL_ERROR.name
            return method.failed(request, keyvalues.fault(request))
        finally:
            self._ended(name, request, code, time.perf_counter() - begun)

    async def operate(self, operation: pb.Operation, caller: Caller) -> pb.Outcome:
        """Answer one operation of a stream; nothing is raised but cancellation."""
        begun = time.perf_counter()
        code = "OK"
        try:
            outcome = await self._key_values.operate(operation, caller)
            answered = getattr(outcome, str(outcome.WhichOneof("outcome")))
            if not answered.success:
                code = ErrorCode(answered.error_code).name
            return outcome
        except KvError as error:
            code = error.code.name
            return _failed(operation, error)
        except Exception:
            log.exception("operation failed")
            code = ErrorCode.INTERNAL_ERROR.name
            # It was not admitted: nothing has been done.
            return _failed(operation, keyvalues.fault(operation))
        finally:
            kind = operation.WhichOneof("operation")
            asked = getattr(operation, kind) if kind else operation
            self._ended("Stream", asked, code, time.perf_counter() - begun)

    def _ended(self, name: str, request: Message, code: str, seconds: float) -> None:
        self._meter.request(name, code, seconds)
        # A line for each of ten thousand requests a second is for who looks for something.
        if log.isEnabledFor(logging.DEBUG):
            said = {
                "operation": name,
                "tenant_id": getattr(request, "tenant_id", ""),
                "key": getattr(request, "key", ""),
                "duration_ms": round(seconds * 1000, 3),
                "success": code == "OK",
                "code": code,
            }
            log.debug("request processed", extra=said)


def _failed(operation: pb.Operation, error: KvError) -> pb.Outcome:
    kind = operation.WhichOneof("operation") or "read"
    answer = keyvalues.failure(error, getattr(operation, kind))
    return pb.Outcome(id=operation.id, **{kind: answer})  # type: ignore[arg-type]
