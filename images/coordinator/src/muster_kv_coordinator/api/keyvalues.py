"""The calls that read and write."""

import asyncio
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from google.protobuf.message import Message

from muster_kv.clock import VectorClock
from muster_kv_coordinator.api import messages
from muster_kv_coordinator.api.caller import Caller
from muster_kv_coordinator.core import failures, limits
from muster_kv_coordinator.core.asking import BegunQuestion
from muster_kv_coordinator.core.consistency import Level, level
from muster_kv_coordinator.core.errors import ErrorCode, KeyNotFoundError, KvError, invalid
from muster_kv_coordinator.core.keyvalues import KeyValues, RateLimitedError
from muster_kv_coordinator.core.model import Tenant, Write
from muster_kv_coordinator.core.scans import Scan
from muster_kv_coordinator.core.spread import BegunWrite
from muster_kv_coordinator.tokens import Identity, Tokens
from muster_protos import kv_pb2 as pb

log = logging.getLogger(__name__)


class KeyValueCalls:
    """Requests and answers are messages; every method raises `KvError`.

    Args:
        default: the level of requests that name none.
    """

    def __init__(self, key_values: KeyValues, tokens: Tokens, default: Level) -> None:
        self._key_values = key_values
        self._tokens = tokens
        self._default = default

    async def write(
        self, request: pb.WriteKeyValueRequest, caller: Caller
    ) -> pb.WriteKeyValueResponse:
        """WriteKeyValue."""
        with _begun(caller):
            tenant = await self._admitted(request.tenant_id, caller, writes=1)
            return await self._write(tenant, request, caller)

    async def _write(
        self, tenant: Tenant, request: pb.WriteKeyValueRequest, caller: Caller
    ) -> pb.WriteKeyValueResponse:
        limits.check_value(request.value)
        done = await self._change(tenant, request, request.value, caller, request.ttl_seconds)
        return pb.WriteKeyValueResponse(**done)

    async def delete(
        self, request: pb.DeleteKeyValueRequest, caller: Caller
    ) -> pb.DeleteKeyValueResponse:
        """DeleteKeyValue."""
        with _begun(caller):
            tenant = await self._admitted(request.tenant_id, caller, writes=1)
            return await self._delete(tenant, request, caller)

    async def _delete(
        self, tenant: Tenant, request: pb.DeleteKeyValueRequest, caller: Caller
    ) -> pb.DeleteKeyValueResponse:
        return pb.DeleteKeyValueResponse(**await self._change(tenant, request, None, caller))

    async def _change(
        self,
        tenant: Tenant,
        request: pb.WriteKeyValueRequest | pb.DeleteKeyValueRequest,
        value: bytes | None,
        caller: Caller,
        ttl_seconds: int = 0,
    ) -> dict[str, Any]:
        """Write, or delete where there is no value; the fields of the answer."""
        asked = level(request.consistency, self._default)
        written = await self._key_values.write(
            tenant,
            Write(
                request.tenant_id,
                _key(request.key),
                value,
                asked,
                _idempotency_key(request.idempotency_key),
                _context(request),
                messages.expiry_us(ttl_seconds),
            ),
            caller.seconds,
            caller.begun,
        )
        return {
            "success": True,
            "key": request.key,
            "idempotency_key": request.idempotency_key,
            "vector_clock": messages.clock_message(written.clock),
            "replica_count": written.replicas,
            "consistency": asked.value,
            "is_duplicate": written.duplicate,
            "sibling_count": written.siblings,
        }

    async def read(
        self, request: pb.ReadKeyValueRequest, caller: Caller
    ) -> pb.ReadKeyValueResponse:
        """ReadKeyValue."""
        tenant = await self._admitted(request.tenant_id, caller, reads=1)
        return await self._read(tenant, request, caller)

    async def _read(
        self, tenant: Tenant, request: pb.ReadKeyValueRequest, caller: Caller
    ) -> pb.ReadKeyValueResponse:
        asked = level(request.consistency, self._default)
        begun = caller.begun if isinstance(caller.begun, BegunQuestion) else None
        found = await self._key_values.read(tenant, _key(request.key), asked, caller.seconds, begun)
        first = found.versions[0]
        return pb.ReadKeyValueResponse(
            success=True,
            key=request.key,
            value=first.value or b"",
            vector_clock=messages.clock_message(found.context),
            siblings=messages.siblings(found),
            expires_at_us=first.expires_at_us,
        )

    async def scan(
        self, request: pb.ScanKeyValuesRequest, caller: Caller
    ) -> pb.ScanKeyValuesResponse:
        """ScanKeyValues; a page counts as one read."""
        tenant = await self._admitted(request.tenant_id, caller, reads=1)
        limits.check_prefix(request.prefix)
        size = limits.page_size(request.page_size)
        asked = level(request.consistency, self._default)
        page = await self._key_values.scan(
            tenant, Scan(request.prefix, size, request.page_token, asked), caller.seconds
        )
        response = pb.ScanKeyValuesResponse(success=True, next_page_token=page.token)
        for key, found in page.entries:
            entry = response.entries.add(key=key)
            entry.vector_clock.CopyFrom(messages.clock_message(found.context))
            if not request.keys_only:
                entry.value = found.versions[0].value or b""
                entry.siblings.extend(messages.siblings(found))
        return response

    async def batch(self, request: pb.BatchRequest, caller: Caller) -> pb.BatchResponse:
        """Batch: all operations at once, each with its own outcome, in the order of the request.

        Admission is for the whole: a tenant without room for all of its operations does none.
        """
        limits.check_batch(len(request.operations), request.ByteSize())
        tenants = await self._admit_all(request, caller)
        outcomes = await asyncio.gather(
            *(self._operate(tenants, operation, caller) for operation in request.operations)
        )
        return pb.BatchResponse(outcomes=_fitting(request.operations, outcomes))

    async def operate(self, operation: pb.Operation, caller: Caller) -> pb.Outcome:
        """One operation of a stream, admitted by itself; what fails is in its outcome."""
        request = _request(operation)
        try:
            write = operation.WhichOneof("operation") != "read"
            tenant = await self._admitted(
                request.tenant_id, caller, writes=int(write), reads=int(not write)
            )
        except KvError as error:
            return _outcome(operation, failure(error, request))
        return await self._operate({request.tenant_id: tenant}, operation, caller)

    async def _admit_all(self, request: pb.BatchRequest, caller: Caller) -> dict[str, Tenant]:
        counts: dict[str, list[int]] = {}
        for operation in request.operations:
            count = counts.setdefault(_request(operation).tenant_id, [0, 0])
            count[operation.WhichOneof("operation") == "read"] += 1
        return {
            tenant: await self._admitted(tenant, caller, writes=writes, reads=reads)
            for tenant, (writes, reads) in counts.items()
        }

    async def _operate(
        self, tenants: dict[str, Tenant], operation: pb.Operation, caller: Caller
    ) -> pb.Outcome:
        request = _request(operation)
        try:
            answer = await self._answer(tenants[request.tenant_id], request, caller)
        except KvError as error:
            answer = failure(error, request)
        except Exception:
            # What the others of its batch have done, they have done.
            log.exception("operation failed")
            answer = failure(fault(request), request)
        return _outcome(operation, answer)

    async def _answer(self, tenant: Tenant, request: "_Request", caller: Caller) -> Message:
        if isinstance(request, pb.WriteKeyValueRequest):
            return await self._write(tenant, request, caller)
        if isinstance(request, pb.ReadKeyValueRequest):
            return await self._read(tenant, request, caller)
        return await self._delete(tenant, request, caller)

    async def _admitted(
        self, tenant_id: str, caller: Caller, *, writes: int = 0, reads: int = 0
    ) -> Tenant:
        identity: Identity = self._tokens.judge(caller.authorization, caller.common_name)
        limits.check_tenant(tenant_id)
        identity.check_tenant(tenant_id)
        tenant = await self._key_values.tenant(tenant_id)
        if caller.begun is not None:
            # Whoever began with it has counted it.
            return tenant
        try:
            if writes:
                caller.allowance = self._key_values.admit(tenant, write=True, operations=writes)
            if reads:
                caller.allowance = self._key_values.admit(tenant, write=False, operations=reads)
        except RateLimitedError as limited:
            caller.allowance = limited.allowance
            raise
        return tenant


_Request = pb.WriteKeyValueRequest | pb.ReadKeyValueRequest | pb.DeleteKeyValueRequest

_ANSWERS: dict[type[Message], type[Message]] = {
    pb.WriteKeyValueRequest: pb.WriteKeyValueResponse,
    pb.ReadKeyValueRequest: pb.ReadKeyValueResponse,
    pb.DeleteKeyValueRequest: pb.DeleteKeyValueResponse,
}


def failure(error: KvError, request: _Request) -> Message:
    """What one operation that failed is answered with."""
    answer = _ANSWERS[type(request)](
        key=request.key, error_message=str(error), error_code=int(error.code)
    )
    if isinstance(error, KeyNotFoundError):
        answer.vector_clock.CopyFrom(messages.clock_message(error.context))  # type: ignore[attr-defined]
    return answer


def fault(request: Message) -> KvError:
    """A fault of ours: what stopped a write may have come after it was taken."""
    error = KvError(ErrorCode.INTERNAL_ERROR, "internal error; see the coordinator's log")
    write = isinstance(request, pb.WriteKeyValueRequest | pb.DeleteKeyValueRequest)
    return failures.unsure(error) if write else error


def _fitting(
    operations: Iterable[pb.Operation], outcomes: Iterable[pb.Outcome]
) -> Iterator[pb.Outcome]:
    """The outcomes of a batch, without the values that its answer has no room for."""
    room = limits.BATCH_BYTES
    for operation, outcome in zip(operations, outcomes, strict=True):
        size = outcome.ByteSize()
        if outcome.WhichOneof("outcome") != "read" or size <= room:
            room -= size
            yield outcome
        else:
            what = f"{size} bytes, and the answer has room for {max(0, room)}"
            error = invalid("batch", what, f"reads of {limits.BATCH_BYTES} bytes in all")
            yield _outcome(operation, failure(error, operation.read))


@contextmanager
def _begun(caller: Caller) -> Iterator[None]:
    """Say of a write that was begun already that it may have happened, whatever stops it now."""
    try:
        yield
    except KvError as error:
        if isinstance(caller.begun, BegunWrite) and caller.begun.ending.unsure:
            raise failures.unsure(error) from None
        raise


def _outcome(operation: pb.Operation, answer: Message) -> pb.Outcome:
    kind = operation.WhichOneof("operation")
    return pb.Outcome(id=operation.id, **{str(kind): answer})  # type: ignore[arg-type]


def _request(operation: pb.Operation) -> _Request:
    kind = operation.WhichOneof("operation")
    if kind is None:
        raise invalid("operations", f"none in {operation.id}", "write, read or delete in each")
    request: _Request = getattr(operation, kind)
    return request


def _context(request: pb.WriteKeyValueRequest | pb.DeleteKeyValueRequest) -> VectorClock | None:
    return messages.clock(request.context) if request.HasField("context") else None


def _key(key: str) -> str:
    limits.check_key(key)
    return key


def _idempotency_key(key: str) -> str:
    limits.check_idempotency_key(key)
    return key
