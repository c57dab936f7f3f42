"""Messages in and out: checks of what workers send, and the words of the wire."""

import functools
import re
from collections.abc import Mapping, Sequence
from uuid import UUID

from muster_coordinator import jsonobject
from muster_coordinator.engine.errors import InvalidRequest
from muster_coordinator.engine.model import Assignment, Cancel, Claim, Pause, Registration
from muster_coordinator.engine.ports import Submission
from muster_coordinator.proving.offers import PREFIX
from muster_protos import coordinator_pb2 as pb
from muster_proving import CircuitSpec, InvalidInput, parse_circuit
from muster_runtime.tracing import Step, Tracer

MAX_CAPACITY = 1024
MAX_DURATION_MS = 7 * 24 * 3600 * 1000
_MAX_TEXT = 4000
_MAX_TAGS = 64
_MAX_KEYS = 1024
_MAX_TYPES = 256
_MAX_OUTPUT_BYTES = 2**20
_KEY_NAME = re.compile(r"[!-~]{1,512}")
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?")

INSTANCE_TAG = "instance"
"""The tag by which two processes of one worker name differ."""


def worker_id(value: str) -> str:
    """A worker's name.

    Raises:
        InvalidRequest: it is none.
    """
    if _NAME.fullmatch(value) is None:
        raise InvalidRequest(
            f"worker_id is {value[:64]!r}; allowed: 1 to 253 letters, digits, '.', '_' and '-', "
            "a letter or digit at both ends"
        )
    return value


def claim(request: object) -> Claim:
    """Whose assignment a report is about, from its task_id, worker_id and generation.

    Raises:
        InvalidRequest: one of them can't be right.
    """
    return claim_of(request, worker_id(str(getattr(request, "worker_id", ""))))


def claim_of(message: object, name: str) -> Claim:
    """Whose assignment the task_id and generation of a message of the worker `name` are about.

    Raises:
        InvalidRequest: one of them can't be right.
    """
    text = str(getattr(message, "task_id", ""))
    generation = int(getattr(message, "generation", 0))
    try:
        task_id = UUID(text)
    except ValueError:
        raise InvalidRequest(f"task_id is {text[:64]!r}; allowed: a UUID") from None
    if generation < 0:
        raise InvalidRequest(f"generation is {generation}; allowed: 0 or more")
    return Claim(task_id, name, generation)


def active(count: int) -> int:
    """How many tasks a worker says that it works on, within what can be."""
    return min(max(count, 0), MAX_CAPACITY)


def key_name(field: str, value: str) -> str:
    """The id or the version of a key.

    Raises:
        InvalidRequest: it is none.
    """
    if _KEY_NAME.fullmatch(value) is None:
        raise InvalidRequest(f"{field} is {value[:64]!r}; allowed: one that ListKeys gives")
    return value


def text(value: str, otherwise: str) -> str:
    """A message of a worker as it can be stored: no NUL, not endless, never empty."""
    return value.replace("\x00", "")[:_MAX_TEXT] or otherwise


def registration(request: pb.RegisterWorkerRequest, pool: str) -> Registration:
    """What a worker says of itself.

    Raises:
        InvalidRequest: a field can't be right.
    """
    capacity = request.max_concurrent_tasks
    if not 1 <= capacity <= MAX_CAPACITY:
        raise InvalidRequest(f"max_concurrent_tasks is {capacity}; allowed: 1 to {MAX_CAPACITY}")
    if len(request.tags) > _MAX_TAGS:
        raise InvalidRequest(f"tags has {len(request.tags)} entries; allowed: {_MAX_TAGS}")
    tags = {_tag(key): _tag(value) for key, value in request.tags.items()}
    return Registration(
        id=worker_id(request.worker_id),
        pool=pool,
        capacity=capacity,
        types=_types(request.capabilities.get("circuits", ""), request.types),
        keys=_keys(request.capabilities.get("keys", "")),
        version=_tag(request.version),
        tags=tags,
        instance=tags.get(INSTANCE_TAG, ""),
    )


def _types(circuits: str, others: Sequence[str]) -> frozenset[str]:
    """Kinds of work: those of circuits, of which one of a newer worker is not known and left out,
    and others by their names.
    """
    types = set()
    for name in circuits.split(","):
        try:
            types.add(parse_circuit(name.strip()).task_type)
        except InvalidInput:
            continue
    if len(others) > _MAX_TYPES:
        raise InvalidRequest(f"types has {len(others)} entries; allowed: {_MAX_TYPES}")
    for name in others:
        if _NAME.fullmatch(name) is None or name.startswith(PREFIX):
            raise InvalidRequest(
                f"types has {name[:64]!r}; allowed: letters, digits, '.', '_' and '-', a letter or "
                f"digit at both ends, and circuits of {PREFIX}* in capabilities"
            )
        types.add(name)
    if not types:
        raise InvalidRequest(
            f"capabilities[circuits] is {circuits[:64]!r}; allowed: a comma-separated list of "
            "merkle, range, addition; it may be empty where types is not"
        )
    return frozenset(types)


def _keys(listed: str) -> dict[str, str]:
    keys: dict[str, str] = {}
    for entry in filter(None, (part.strip() for part in listed.split(","))):
        if len(keys) == _MAX_KEYS:
            raise InvalidRequest(f"capabilities[keys] has more entries; allowed: {_MAX_KEYS}")
        key_id, _, version = entry.partition("=")
        if not version:
            raise InvalidRequest(
                f"capabilities[keys] has {entry[:64]!r}; allowed: comma-separated key_id=version"
            )
        held = keys.get(_tag(key_id), "")
        keys[_tag(key_id)] = f"{held} {_tag(version)}".strip()
    return keys


def _tag(value: str) -> str:
    return value.replace("\x00", "")[:_MAX_TEXT]


def submission(request: pb.TaskCompletionRequest | pb.Completion) -> Submission:
    """A result as it was reported.

    Raises:
        InvalidRequest: there is none, its metadata are no JSON object, or it is no JSON.
    """
    if not 0 <= request.duration_ms <= MAX_DURATION_MS:
        raise InvalidRequest(
            f"duration_ms is {request.duration_ms}; allowed: 0 to {MAX_DURATION_MS}"
        )
    if request.output_json:
        return Submission(request.duration_ms, output=_output(request.output_json))
    if not request.proof_data:
        raise InvalidRequest("proof_data is empty; allowed: the bytes of a proof")
    return Submission(
        request.duration_ms,
        proof=request.proof_data,
        metadata=_metadata(request.proof_metadata_json),
        merkle_root=text(request.merkle_root, ""),
    )


def _output(data: bytes) -> bytes:
    """The result of work that is no proof: JSON as the database can keep it."""
    if len(data) > _MAX_OUTPUT_BYTES:
        raise InvalidRequest(
            f"output_json has {len(data)} bytes; allowed: at most {_MAX_OUTPUT_BYTES}"
        )
    try:
        jsonobject.check(data)
    except ValueError as error:
        raise InvalidRequest(f"output_json is {error}; allowed: JSON") from None
    return data


def _metadata(data: bytes) -> Mapping[str, object]:
    if not data:
        return {}
    try:
        return jsonobject.read(data)
    except ValueError as error:
        raise InvalidRequest(
            f"proof_metadata_json is {error}; allowed: a JSON object, or nothing"
        ) from None


def assignment(one: Assignment, timeout_ms: int, traceparent: str) -> pb.TaskAssignment:
    """An assignment on the wire.

    Args:
        timeout_ms: how long the worker may take, where the workload has no limit of its own.
        traceparent: of the step which sends it.
    """
    need = one.requirement
    wire_name = need.type.removeprefix(PREFIX)
    if need.key_id:
        wire_name = _wire_name(need.key_id)
    message = pb.TaskAssignment(
        task_id=str(one.workload_id),
        circuit_type=wire_name,
        input_data_json=one.input,
        created_at=int(one.created_at.timestamp()),
        generation=one.generation,
        key_id=need.key_id,
        key_version=need.key_version,
        timeout_ms=one.timeout_ms or timeout_ms,
        traceparent=traceparent,
        workload_type=need.type,
        customer_id=one.customer_id,
        attempt=one.attempt,
    )
    if one.checkpoint is not None:
        message.checkpoint = one.checkpoint.data
        message.has_checkpoint = True
    return message


def sent(one: Assignment, timeout_ms: int, tracer: Tracer) -> pb.TaskAssignment:
    """An assignment on the wire, as a step of its trace."""
    if not tracer.enabled:
        return assignment(one, timeout_ms, one.traceparent)
    step = Step("assign", one.traceparent, "producer", begun=one.created_at)
    with tracer.span(
        step,
        task_id=str(one.workload_id),
        worker_id=one.worker_id,
        generation=one.generation,
    ) as span:
        return assignment(one, timeout_ms, span.traceparent)


def stop(command: Cancel | Pause) -> pb.Stop:
    """What became of an assignment."""
    kind = pb.Stop.PAUSE if isinstance(command, Pause) else pb.Stop.CANCEL
    return pb.Stop(task_id=str(command.workload_id), generation=command.generation, kind=kind)


@functools.lru_cache(maxsize=256)
def _wire_name(key_id: str) -> str:
    return CircuitSpec.from_key_id(key_id).wire_name
