"""From checked requests to calls of the engine, for all faces of the workload API."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from muster_coordinator.engine import affinity
from muster_coordinator.engine.customers import Customer, WorkloadConfig
from muster_coordinator.engine.errors import NotFound
from muster_coordinator.engine.identity import new_id
from muster_coordinator.engine.model import NewWorkload, Once, Requirement, Workload, WorkloadQuery
from muster_coordinator.engine.ports import ConfigStore
from muster_coordinator.engine.queue import Queue
from muster_coordinator.http_face.bodies import checked, shown
from muster_coordinator.http_face.intake import Intake, Origin
from muster_coordinator.http_face.requests import AdditionTask, MerkleTask, RangeTask, Task
from muster_coordinator.proving.offers import PREFIX, Offers
from muster_coordinator.workload_face.requests import (
    Affinity,
    Listing,
    NewConfiguration,
    Submission,
)
from muster_proving import InvalidInput, parse_circuit

_TASKS: Mapping[str, type[Task]] = {
    "merkle": MerkleTask,
    "range": RangeTask,
    "addition": AdditionTask,
}
# What a submission says for all kinds of work is not said among the inputs of a proof.
_NO_INPUTS = ("pool", "priority", "deadline", "timeout_seconds")
_PRIORITY = 10


@dataclass(frozen=True, slots=True)
class Accepted:
    """A workload that is stored; `replayed` where an earlier request stored it."""

    id: UUID
    replayed: bool

    @property
    def created_at(self) -> datetime:
        """When it was made, as its id says (RFC 9562, version 7)."""
        return datetime.fromtimestamp((self.id.int >> 80) / 1000, UTC)


class Desk:
    """Takes in what customers ask for.

    Args:
        max_retries: how often a workload may be tried again that does not say.
    """

    def __init__(
        self,
        queue: Queue,
        configs: ConfigStore,
        intake: Intake,
        offers: Offers,
        max_retries: int,
    ) -> None:
        self._queue = queue
        self._configs = configs
        self._intake = intake
        self._offers = offers
        self._max_retries = max_retries

    async def replayed(self, once: Once, customer: Customer) -> Accepted | None:
        """What a request was taken in as before, if it was.

        Raises:
            Conflict: its key was used for another request.
        """
        stored = await self._queue.submitted(once, customer.id)
        return Accepted(stored[0], replayed=True) if stored else None

    async def submit(
        self, asked: Submission, customer: Customer, origin: Origin, once: Once | None
    ) -> Accepted:
        """Take in one workload; it is safe when this returns.

        Raises:
            InvalidInput, InvalidRequest: its parameters are wrong, or no pool offers its circuit.
            NotFound: there is no such configuration.
            Conflict: `once` was used for another request.
            QueueFull: it has no room.
            Unavailable: the database is away, or a key is not there yet.
        """
        workload = await self._workload(asked, customer, origin)
        [stored] = await self._queue.submit([workload], once, customer)
        # Another request with the same key may have been first.
        return Accepted(stored, replayed=stored != workload.id)

    async def configuration(self, config_id: UUID, customer: Customer) -> WorkloadConfig:
        """One configuration.

        Raises:
            NotFound: the customer has none such.
        """
        found = await self._configs.get(config_id, customer.id)
        if found is None:
            raise NotFound(f"configuration {config_id}: there is none")
        return found

    def made(self, asked: NewConfiguration, config_id: UUID, customer: Customer) -> WorkloadConfig:
        """A configuration as it is stored."""
        return WorkloadConfig(
            id=config_id,
            customer_id=customer.id,
            name=asked.name,
            workload_type=asked.workload_type,
            input_params=asked.input_params,
            priority=asked.priority,
            timeout_seconds=asked.timeout_seconds,
            max_retries=self._max_retries if asked.max_retries is None else asked.max_retries,
            affinity=_words(asked.affinity),
        )

    async def _workload(self, asked: Submission, customer: Customer, origin: Origin) -> NewWorkload:
        base = None
        if asked.workload_config_id is not None:
            base = await self.configuration(asked.workload_config_id, customer)
        kind = _kind(asked.workload_type, base)
        params = {**(base.input_params if base else {}), **(asked.input_params or {})}
        rules = base.affinity if base else {}
        if asked.affinity is not None:
            rules = _words(asked.affinity)
        made = (
            self._proof(kind, params, asked, origin)
            if kind.startswith(PREFIX)
            else self._job(kind, params, asked, origin)
        )
        return replace(
            made,
            customer_id=customer.id,
            weight=customer.terms.weight,
            priority=_first(asked.priority, base and base.priority, _PRIORITY),
            max_retries=_first(asked.max_retries, base and base.max_retries, self._max_retries),
            timeout_seconds=_first(asked.timeout_seconds, base and base.timeout_seconds, None),
            affinity=affinity.from_json(rules),
            config_id=asked.workload_config_id,
        )

    def _proof(
        self, kind: str, params: Mapping[str, Any], asked: Submission, origin: Origin
    ) -> NewWorkload:
        """A proof: its parameters are the inputs of the circuit, as the proof API takes them."""
        for name in _NO_INPUTS:
            if name in params:
                raise InvalidInput(
                    f"input_params.{name}", "not an input", f"{name} beside input_params"
                )
        try:
            model = _TASKS[parse_circuit(kind.removeprefix(PREFIX)).name]
        except InvalidInput:
            allowed = ", ".join(PREFIX + name for name in _TASKS)
            raise InvalidInput("workload_type", shown(kind), allowed) from None
        pool = {} if asked.pool is None else {"pool": asked.pool}
        try:
            [made] = self._intake.workloads(checked(model, {**params, **pool}), origin)
        except InvalidInput as error:
            field = f"input_params.{error.field}"
            raise InvalidInput(field, error.value, error.allowed) from None
        return made

    def _job(
        self, kind: str, params: Mapping[str, Any], asked: Submission, origin: Origin
    ) -> NewWorkload:
        return NewWorkload(
            id=new_id(),
            requirement=Requirement(self._offers.for_type(kind, asked.pool).name, kind),
            input=json.dumps(params, separators=(",", ":")).encode(),
            request_id=origin.request_id,
            traceparent=origin.traceparent,
            keeps_input=True,
        )


def query(asked: Listing, customer: Customer) -> WorkloadQuery:
    """What a request lists, with one more than its page, so that it is known whether there is more.

    Raises:
        InvalidInput: a cursor beside an order that it means nothing in, or beside an offset.
    """
    if asked.cursor is not None and asked.offset:
        raise InvalidInput("offset", "beside cursor", "one of the two")
    if asked.cursor is not None and not asked.ordering.endswith("created_at"):
        raise InvalidInput("cursor", f"beside ordering={asked.ordering}", "offset beside that")
    return WorkloadQuery(
        customer_id=customer.id,
        state=frozenset(asked.status),
        type=asked.type,
        created_after=asked.created_after,
        created_before=asked.created_before,
        ordering=asked.ordering,
        cursor=asked.cursor,
        offset=asked.offset,
        limit=asked.limit + 1,
    )


def page(asked: Listing, found: list[Workload]) -> tuple[list[Workload], UUID | None]:
    """What `query` found, and the cursor of the next page, None where there is none."""
    shown_here = found[: asked.limit]
    more = len(found) > asked.limit and asked.ordering.endswith("created_at")
    return shown_here, shown_here[-1].id if more else None


def _kind(asked: str | None, base: WorkloadConfig | None) -> str:
    if base is None:
        # One of the two is there, as the model has it.
        return str(asked)
    if asked not in {None, base.workload_type}:
        raise InvalidInput(
            "workload_type", shown(asked), f"{base.workload_type}, as in the configuration"
        )
    return base.workload_type


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def _words(rules: Affinity) -> dict[str, Any]:
    """Rules as they are kept: without what says nothing."""
    return affinity.to_json(affinity.from_json(rules.model_dump()))
