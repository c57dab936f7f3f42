"""Messages in and out of WorkloadService: the same models check what REST does."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID

from google.protobuf.struct_pb2 import Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp
from pydantic import BaseModel

from muster_coordinator.engine import affinity
from muster_coordinator.engine.errors import InvalidRequest
from muster_coordinator.engine.model import Workload
from muster_coordinator.engine.states import State
from muster_coordinator.http_face.bodies import checked
from muster_coordinator.workload_face.requests import WORKLOAD_ID, Listing, Submission
from muster_coordinator.workload_face.views import result_data
from muster_protos import workload_pb2 as pb
from muster_proving import InvalidInput

_STATUS = "WORKLOAD_STATUS_"

M = TypeVar("M", bound=BaseModel)


def workload_id(text: str) -> UUID:
    """An id of a workload.

    Raises:
        InvalidRequest: it is none.
    """
    try:
        return UUID(text)
    except ValueError:
        raise InvalidRequest(f"workload_id is {text[:64]!r}; allowed: {WORKLOAD_ID}") from None


def submission(request: pb.SubmitWorkloadRequest) -> Submission:
    """What is submitted; fields with their zero values are not said, as proto3 has it.

    Raises:
        InvalidRequest: the first field that can't be right.
    """
    said: dict[str, Any] = {
        "workload_type": request.workload_type,
        "timeout_seconds": request.timeout_seconds,
        "workload_config_id": request.workload_config_id,
        "pool": request.pool,
    }
    document = {name: value for name, value in said.items() if value}
    if request.HasField("input_params"):
        document["input_params"] = _plain(request.input_params)
    if request.HasField("priority"):
        document["priority"] = request.priority
    if request.HasField("max_retries"):
        document["max_retries"] = request.max_retries
    if request.HasField("affinity_rules"):
        document["affinity"] = _rules(request.affinity_rules)
    return _checked(Submission, document)


def listing(request: pb.ListWorkloadsRequest) -> Listing:
    """What is to be listed.

    Raises:
        InvalidRequest: the first field that can't be right.
    """
    said: dict[str, Any] = {
        "type": request.workload_type,
        "ordering": request.ordering,
        "limit": request.limit,
        "offset": request.offset,
        "cursor": request.cursor,
    }
    document = {name: value for name, value in said.items() if value}
    document["status"] = [_state(one) for one in request.status]
    for name in ("created_after", "created_before"):
        if request.HasField(name):
            document[name] = _time(name, getattr(request, name))
    return _checked(Listing, document)


def workload(known: Workload) -> pb.Workload:
    """A workload as its owner sees it."""
    message = pb.Workload(
        workload_id=str(known.id),
        customer_id=known.customer_id,
        workload_type=known.requirement.type,
        status=status(known.state),
        priority=known.priority,
        progress_percent=int(known.progress_percent),
        worker_id=known.worker_id or "",
        error_message=known.error or "",
        retry_count=known.retry_count,
        created_at=timestamp(known.created_at),
        scheduled_at=timestamp(known.scheduled_at),
        started_at=timestamp(known.started_at),
        completed_at=timestamp(known.completed_at),
        progress_message=known.progress_message,
        pool=known.requirement.pool,
        max_retries=known.max_retries,
        timeout_seconds=int(known.timeout_seconds or 0),
        workload_config_id=str(known.config_id or ""),
    )
    if known.input is not None:
        message.input_params.update(json.loads(known.input))
    if known.result is not None:
        message.result_data.update(_object(result_data(known.result)))
    if known.affinity:
        message.affinity_rules.CopyFrom(_affinity(known.affinity))
    return message


def update(known: Workload) -> pb.WorkloadStatusUpdate:
    """What a workload has become."""
    return pb.WorkloadStatusUpdate(
        workload_id=str(known.id),
        status=status(known.state),
        progress_percent=int(known.progress_percent),
        timestamp=timestamp(datetime.now(UTC)),
        message=known.error or known.progress_message,
    )


def status(state: State) -> pb.WorkloadStatus.ValueType:
    """A state on the wire."""
    return pb.WorkloadStatus.Value(_STATUS + state)


def timestamp(at: datetime | None) -> Timestamp | None:
    """A time on the wire."""
    if at is None:
        return None
    made = Timestamp()
    made.FromDatetime(at)
    return made


def _checked(model: type[M], document: Mapping[str, Any]) -> M:
    try:
        return checked(model, document)
    except InvalidInput as error:
        raise InvalidRequest(str(error)) from None


def _state(number: pb.WorkloadStatus.ValueType) -> str:
    try:
        return pb.WorkloadStatus.Name(number).removeprefix(_STATUS)
    except ValueError:
        return str(number)


def _time(name: str, at: Timestamp) -> str:
    try:
        return at.ToJsonString()
    except ValueError:
        raise InvalidRequest(f"{name} is {at.seconds} s; allowed: a time that can be") from None


def _plain(given: Struct) -> dict[str, Any]:
    """Parameters as JSON has them; a Struct knows no integers, so whole numbers become those."""
    return {name: _value(value) for name, value in given.fields.items()}


def _value(value: Value) -> Any:
    match value.WhichOneof("kind"):
        case "struct_value":
            return _plain(value.struct_value)
        case "list_value":
            return [_value(one) for one in value.list_value.values]
        case "number_value":
            number = value.number_value
            return int(number) if number.is_integer() else number
        case "string_value":
            return value.string_value
        case "bool_value":
            return value.bool_value
        case _:
            return None


def _object(result: Any) -> dict[str, Any]:
    """A result as an object: whatever else a worker makes is its `value`."""
    return result if isinstance(result, dict) else {"value": result}


def _rules(given: pb.AffinityRules) -> dict[str, Any]:
    return {
        name: {
            "worker_id": rule.worker_id,
            "worker_tags": dict(rule.worker_tags),
            "workload_types": list(rule.workload_types),
        }
        for name, rule in (
            ("hard_affinity", given.hard_affinity),
            ("soft_affinity", given.soft_affinity),
            ("anti_affinity", given.anti_affinity),
        )
    }


def _affinity(rules: affinity.Affinity) -> pb.AffinityRules:
    return pb.AffinityRules(
        hard_affinity=_rule(rules.hard),
        soft_affinity=_rule(rules.soft),
        anti_affinity=_rule(rules.anti),
    )


def _rule(rule: affinity.Rule) -> pb.AffinityRule | None:
    if not rule:
        return None
    return pb.AffinityRule(
        worker_id=rule.worker_id,
        worker_tags=dict(rule.worker_tags),
        workload_types=sorted(rule.workload_types),
    )
