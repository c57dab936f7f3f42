"""The endpoints of the proof API."""

import asyncio
import functools
import logging
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, FastAPI, Header, Path, Query, Request, Response
from pydantic import TypeAdapter, WithJsonSchema

from muster_coordinator.engine.errors import NotFound
from muster_coordinator.engine.model import NewWorkload, WorkloadQuery
from muster_coordinator.engine.queue import Queue
from muster_coordinator.engine.states import State
from muster_coordinator.http_face import bodies, errors, openapi, views
from muster_coordinator.http_face.frame import TIMEOUT_SECONDS
from muster_coordinator.http_face.intake import Intake, Origin, once
from muster_coordinator.http_face.requests import (
    IDEMPOTENCY_KEY,
    PARAMETERS,
    TASK_ID,
    AdditionTask,
    Batch,
    CircuitName,
    KeyChoice,
    Listing,
    Look,
    MerkleTask,
    ProofToVerify,
    RangeTask,
    Task,
)
from muster_coordinator.proving.keyring import KeyRing
from muster_coordinator.proving.offers import PREFIX, Offers, Pool
from muster_proving import CircuitSpec, InvalidInput, parse_circuit

log = logging.getLogger(__name__)

_DOCUMENT = "/openapi.json"

OPEN_PATHS = frozenset({_DOCUMENT})
"""What may be read without a key: all that says how to use one."""

# So that an answer is out before the request's time is.
_LONGEST_WAIT = TIMEOUT_SECONDS - 1

TaskPath = Annotated[UUID, Path(description=TASK_ID)]
CircuitPath = Annotated[
    str,
    WithJsonSchema(TypeAdapter(CircuitName).json_schema()),
    Path(description="merkle, range or addition"),
]
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        pattern="^[!-~]+$",
        description=f"{IDEMPOTENCY_KEY}; the same request with the same key is taken in once",
    ),
]


@dataclass(frozen=True, slots=True)
class _Taken:
    """Tasks that are stored, in which pools; `replayed` where an earlier request stored them."""

    ids: list[UUID]
    pools: list[str]
    replayed: bool

    @property
    def message(self) -> str:
        if self.replayed:
            return "taken in before with this Idempotency-Key"
        return f"queued in pool {', '.join(self.pools)}"

    @property
    def headers(self) -> dict[str, str]:
        return {"Idempotency-Replayed": "true"} if self.replayed else {}


class ProofApi:
    """The endpoints, over one queue."""

    def __init__(self, queue: Queue, keyring: KeyRing, offers: Offers, intake: Intake) -> None:
        self._queue = queue
        self._keyring = keyring
        self._offers = offers
        self._intake = intake

    async def submit_merkle(
        self, request: Request, response: Response, idempotency_key: IdempotencyKey = None
    ) -> views.Submitted:
        """Take in one merkle task; it is safe when this is answered."""
        return await self._submit(MerkleTask, request, response, idempotency_key)

    async def submit_range(
        self, request: Request, response: Response, idempotency_key: IdempotencyKey = None
    ) -> views.Submitted:
        """Take in one range task; it is safe when this is answered."""
        return await self._submit(RangeTask, request, response, idempotency_key)

    async def submit_addition(
        self, request: Request, response: Response, idempotency_key: IdempotencyKey = None
    ) -> views.Submitted:
        """Take in one addition task; it is safe when this is answered."""
        return await self._submit(AdditionTask, request, response, idempotency_key)

    async def submit_unknown(self, circuit: str) -> None:
        """Say which circuits there are."""
        _circuit(circuit)

    async def submit_batch(
        self, request: Request, response: Response, idempotency_key: IdempotencyKey = None
    ) -> views.SubmittedBatch:
        """Take in several tasks together, or none of them; they are safe when this is answered."""
        taken = await self._take(Batch, request, idempotency_key)
        response.headers.update(taken.headers)
        return views.SubmittedBatch(
            task_ids=[str(one) for one in taken.ids],
            message=taken.message,
            request_id=request.state.request_id,
        )

    async def get(self, task_id: TaskPath, look: Annotated[Look, Query()]) -> views.ProvedTask:
        """One task, at its end or after `wait`, whichever comes first."""
        seconds = min(look.wait.total_seconds(), _LONGEST_WAIT)
        workload = await self._queue.wait(task_id, seconds)
        return views.proved_task(workload, self._keyring)

    async def find(self, listing: Annotated[Listing, Query()]) -> views.TaskList:
        """Tasks without their proofs, newest first."""
        states = frozenset(state for state in State if views.STATUSES[state] in listing.status)
        kind = None if listing.circuit is None else PREFIX + parse_circuit(listing.circuit).name
        found = await self._queue.find(
            WorkloadQuery(
                state=states,
                type=kind,
                pool=listing.pool,
                cursor=listing.cursor,
                # One more, to know whether this is the last page.
                limit=listing.limit + 1,
            )
        )
        page = found[: listing.limit]
        more = str(page[-1].id) if len(found) > len(page) else None
        return views.TaskList(tasks=[views.task(one) for one in page], next_cursor=more)

    async def cancel(self, task_id: TaskPath) -> views.ProvedTask:
        """Cancel a task that is not at its end; to cancel it again changes nothing."""
        workload = await self._queue.cancel(task_id)
        log.info("task cancelled", extra={"task_id": str(task_id)})
        return views.proved_task(workload, self._keyring)

    async def verification_key(
        self, circuit: CircuitPath, choice: Annotated[KeyChoice, Query()]
    ) -> views.VerificationKey:
        """The verifying key as snarkjs' verification_key.json."""
        pool, spec = self._meant(_circuit(circuit), choice)
        key = self._intake.key(pool, spec)
        return views.VerificationKey(key.verifier.verifying_key_json())

    async def verify(self, request: Request) -> views.Verification:
        """Check one proof, made here or elsewhere, against a key of this coordinator."""
        claim = await bodies.body(request, ProofToVerify)
        pool, spec = self._meant(parse_circuit(claim.circuit).name, claim)
        version = claim.key_version or self._intake.key(pool, spec).record.version
        verifier = self._keyring.verifier(spec.key_id, version)
        if verifier is None:
            raise InvalidInput("key_version", bodies.shown(version), "a version of this key")
        valid = await asyncio.to_thread(verifier.verify, claim.public_inputs, claim.proof_bytes)
        return views.Verification(
            valid=valid, circuit=spec.name, curve=spec.curve.value, key_version=version
        )

    def _meant(self, name: str, choice: KeyChoice | ProofToVerify) -> tuple[Pool, CircuitSpec]:
        """The circuit whose key is meant, and a pool that offers it.

        Raises:
            InvalidInput: no pool could ever offer such a size.
            InvalidRequest: none offers it.
        """
        parse_circuit(name, curve=choice.curve or "bn254", size=choice.size)
        return self._offers.find(name, choice.curve, choice.size, choice.pool, choice.hash)

    async def _submit(
        self, model: type[Task], request: Request, response: Response, key: str | None
    ) -> views.Submitted:
        taken = await self._take(model, request, key)
        response.headers.update(taken.headers)
        return views.Submitted(
            task_id=str(taken.ids[0]),
            message=taken.message,
            request_id=request.state.request_id,
        )

    async def _take(self, model: type[Task | Batch], request: Request, key: str | None) -> _Taken:
        """Take in what a request asks for, or find what it was taken in as before."""
        data = await request.body()
        unique = (
            await bodies.off_loop(len(data), lambda: once(key, request.url.path, data))
            if key
            else None
        )
        stored = await self._queue.submitted(unique) if unique else None
        made: list[NewWorkload] = []
        if stored is None:
            asked = await bodies.body(request, model)
            origin = Origin(request.state.request_id, bodies.traceparent(request))
            made = await bodies.off_loop(len(data), lambda: self._intake.workloads(asked, origin))
            stored = await self._queue.submit(made, unique)
        taken = _Taken(
            stored,
            sorted({workload.requirement.pool for workload in made}),
            # Another request with the same key may have been first.
            replayed=stored != [workload.id for workload in made],
        )
        log.info(
            "tasks submitted",
            extra={
                "task_id": str(stored[0]),
                "count": len(stored),
                "replayed": taken.replayed,
            },
        )
        return taken


def _circuit(name: str) -> str:
    """The circuit that a path names."""
    try:
        return parse_circuit(name).name
    except InvalidInput as error:
        raise NotFound(str(error)) from None


def create_app(api: ProofApi, *, keyed: bool = False) -> FastAPI:
    """The application, without the frame around it.

    Args:
        keyed: whether each request needs a key.
    """
    app = FastAPI(
        title="Muster proofs",
        version="1",
        description="Submit work to be proved, and fetch and verify the proofs.",
        openapi_url=_DOCUMENT,
        # Their pages load scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
    )
    errors.install(app, PARAMETERS)
    described = functools.partial(openapi.errors, *((401,) if keyed else ()))
    router = APIRouter(prefix="/api/v1")
    submissions = (
        ("merkle", "merkle_proof", api.submit_merkle, MerkleTask),
        ("range", "range_proof", api.submit_range, RangeTask),
        ("addition", None, api.submit_addition, AdditionTask),
        ("batch", None, api.submit_batch, Batch),
    )
    add = router.add_api_route
    accepted: dict[str, Any] = {"methods": ["POST"], "status_code": HTTPStatus.ACCEPTED}
    for name, wire_name, endpoint, model in submissions:
        add(
            f"/tasks/{name}",
            endpoint,
            responses=described(409, body=True),
            openapi_extra=openapi.body(model),
            **accepted,
        )
        if wire_name is not None:
            add(f"/tasks/{wire_name}", endpoint, include_in_schema=False, **accepted)
    add("/tasks/{task_id}", api.get, methods=["GET"], responses=described(404))
    add("/tasks/{circuit}", api.submit_unknown, methods=["POST"], include_in_schema=False)
    add("/tasks", api.find, methods=["GET"], responses=described())
    add(
        "/tasks/{task_id}/cancel",
        api.cancel,
        methods=["POST"],
        responses=described(404, 409),
    )
    add(
        "/circuits/{circuit}/verification-key",
        api.verification_key,
        methods=["GET"],
        responses=described(404),
    )
    add(
        "/verify",
        api.verify,
        methods=["POST"],
        responses=described(body=True),
        openapi_extra=openapi.body(ProofToVerify),
    )
    app.include_router(router)
    openapi.install(app, [model for *_, model in submissions] + [ProofToVerify], keyed=keyed)
    return app
