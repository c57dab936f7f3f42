"""The endpoints of the proof API."""

from datetime import timedelta
from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, FastAPI, Path, Query, Request
from pydantic import BeforeValidator

from muster_coordinator.engine.errors import NotFound, Unavailable
from muster_coordinator.engine.identity import new_id
from muster_coordinator.engine.model import NewWorkload, Requirement, WorkloadQuery
from muster_coordinator.engine.queue import Queue
from muster_coordinator.engine.states import State
from muster_coordinator.http_face import bodies, errors, views
from muster_coordinator.http_face.frame import TIMEOUT_SECONDS
from muster_coordinator.proving.keyring import KeyRing, LoadedKey
from muster_coordinator.proving.offers import PREFIX, Offers, Pool
from muster_proving import CircuitSpec, InvalidInput, parse_circuit
from muster_runtime.config import parse_duration

MAX_PAGE = 500

# So that an answer is out before the request's time is.
_LONGEST_WAIT = TIMEOUT_SECONDS - 1


def _wait(value: object) -> timedelta:
    span = parse_duration(value)
    if not timedelta() <= span <= timedelta(seconds=TIMEOUT_SECONDS):
        raise ValueError(f"a duration from 0s to {TIMEOUT_SECONDS:g}s")
    return span


def _status(value: object) -> list[str]:
    named = [str(one) for one in value] if isinstance(value, list) else [str(value)]
    for one in named:
        if one not in views.STATUSES.values():
            raise ValueError(", ".join(dict.fromkeys(views.STATUSES.values())))
    return named


CircuitPath = Annotated[str, Path(description="merkle, range or addition")]
TaskPath = Annotated[UUID, Path(description="as in the answer to the submission")]
Wait = Annotated[
    timedelta,
    BeforeValidator(_wait),
    Query(description="how long to wait for the end of the task, as in 30s; at most 30s"),
]
Statuses = Annotated[list[str], BeforeValidator(_status), Query(description="one or more")]

_ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"model": errors.ErrorAnswer},
    404: {"model": errors.ErrorAnswer},
    503: {"model": errors.ErrorAnswer},
}


def _body(schema: dict[str, Any]) -> dict[str, Any]:
    content = {"application/json": {"schema": {"type": "object"} | schema}}
    return {"requestBody": {"required": True, "content": content}}


_SUBMIT_BODY = _body(
    {
        "description": "The circuit's inputs, and optionally curve, size, pool and priority.",
        "properties": {
            "curve": {"type": "string", "enum": ["bn254", "bls12-381"]},
            "size": {"type": "integer"},
            "pool": {"type": "string"},
            "priority": {"type": "integer", "minimum": 0, "maximum": 1000, "default": 10},
        },
        "additionalProperties": True,
    }
)

_VERIFY_BODY = _body(
    {
        "required": ["circuit", "proof_bytes", "public_inputs"],
        "properties": {
            "circuit": {"type": "string"},
            "curve": {"type": "string", "enum": ["bn254", "bls12-381"]},
            "size": {"type": "integer"},
            "pool": {"type": "string"},
            "key_version": {"type": "string"},
            "proof_bytes": {"type": "string", "format": "byte"},
            "public_inputs": {"type": "array", "items": {"type": "string"}},
        },
    }
)


class ProofApi:
    """The endpoints, over one queue."""

    def __init__(self, queue: Queue, keyring: KeyRing, offers: Offers, max_retries: int) -> None:
        self._queue = queue
        self._keyring = keyring
        self._offers = offers
        self._max_retries = max_retries

    async def submit(self, circuit: CircuitPath, request: Request) -> views.Submitted:
        """Take in one task; it is safe when this is answered."""
        name = _circuit(circuit)
        body = await bodies.json_object(request)
        options = bodies.take_options(body, name)
        pool, spec = self._offers.find(name, options.curve, options.size, options.pool)
        length = len(await request.body())
        inputs = await bodies.canonical_inputs(spec, body, length)
        key = self._key(pool, spec)
        need = Requirement(pool.name, spec.task_type, spec.key_id, key.record.version)
        workload = NewWorkload(
            id=new_id(),
            requirement=need,
            input=inputs,
            priority=options.priority,
            max_retries=self._max_retries,
            request_id=request.state.request_id,
            traceparent=bodies.traceparent(request),
        )
        await self._queue.submit(workload)
        return views.Submitted(
            task_id=str(workload.id),
            message=f"queued in pool {pool.name}",
            request_id=request.state.request_id,
        )

    async def get(self, task_id: TaskPath, wait: Wait = timedelta()) -> views.ProvedTask:
        """One task, at its end or after `wait`, whichever comes first."""
        seconds = min(wait.total_seconds(), _LONGEST_WAIT)
        workload = await self._queue.wait(task_id, seconds)
        return views.proved_task(workload, self._keyring)

    async def find(
        self,
        status: Statuses = [],  # noqa: B006 - FastAPI copies it
        circuit: Annotated[str | None, Query()] = None,
        pool: Annotated[str | None, Query()] = None,
        cursor: Annotated[UUID | None, Query(description="next_cursor of the page before")] = None,
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 50,
    ) -> views.TaskList:
        """Tasks without their proofs, newest first."""
        states = frozenset(state for state in State if views.STATUSES[state] in status)
        kind = None if circuit is None else PREFIX + _circuit(circuit)
        found = await self._queue.find(
            WorkloadQuery(state=states, type=kind, pool=pool, before=cursor, limit=limit)
        )
        more = str(found[-1].id) if len(found) == limit else None
        return views.TaskList(tasks=[views.task(one) for one in found], next_cursor=more)

    async def cancel(self, task_id: TaskPath) -> views.ProvedTask:
        """Cancel a task that is not at its end."""
        return views.proved_task(await self._queue.cancel(task_id), self._keyring)

    async def verification_key(
        self,
        circuit: CircuitPath,
        curve: Annotated[str | None, Query()] = None,
        size: Annotated[int | None, Query()] = None,
        pool: Annotated[str | None, Query()] = None,
    ) -> dict[str, Any]:
        """The verifying key as snarkjs' verification_key.json."""
        name = _circuit(circuit)
        options = bodies.take_options({"curve": curve, "size": size, "pool": pool}, name)
        offer, spec = self._offers.find(name, options.curve, size, pool)
        return self._key(offer, spec).verifier.verifying_key_json()

    async def verify(self, request: Request) -> views.Verification:
        """Check one proof, made here or elsewhere, against a key of this coordinator."""
        body = await bodies.json_object(request)
        circuit = parse_circuit(body.get("circuit")).name
        proof, public = bodies.proof_bytes(body), bodies.public_inputs(body)
        options = bodies.take_options(body, circuit)
        pool, spec = self._offers.find(circuit, options.curve, options.size, options.pool)
        version = body.get("key_version", self._key(pool, spec).record.version)
        known = isinstance(version, str)
        verifier = self._keyring.verifier(spec.key_id, version) if known else None
        if verifier is None:
            raise InvalidInput("key_version", repr(version)[:100], "a version of this key")
        return views.Verification(
            valid=verifier.verify(public, proof),
            circuit=spec.name,
            curve=spec.curve.value,
            key_version=version,
        )

    def _key(self, pool: Pool, spec: CircuitSpec) -> LoadedKey:
        key = self._keyring.current(pool, spec)
        if key is None:
            raise Unavailable(f"key {spec.key_id} of pool {pool.name} is not there yet")
        return key


def _circuit(name: str) -> str:
    """The circuit that a path names."""
    try:
        return parse_circuit(name).name
    except InvalidInput as error:
        raise NotFound(str(error)) from None


def create_app(api: ProofApi) -> FastAPI:
    """The application, without the frame around it."""
    app = FastAPI(
        title="Muster proofs",
        version="1",
        openapi_url="/api/v1/openapi.json",
        # Their pages load scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
    )
    errors.install(app)
    router = APIRouter(prefix="/api/v1", responses=_ERRORS)
    add = router.add_api_route
    add(
        "/tasks/{circuit}",
        api.submit,
        methods=["POST"],
        status_code=HTTPStatus.ACCEPTED,
        openapi_extra=_SUBMIT_BODY,
    )
    add("/tasks/{task_id}", api.get, methods=["GET"])
    add("/tasks", api.find, methods=["GET"])
    add(
        "/tasks/{task_id}/cancel",
        api.cancel,
        methods=["POST"],
        responses={409: {"model": errors.ErrorAnswer}},
    )
    add("/circuits/{circuit}/verification-key", api.verification_key, methods=["GET"])
    add("/verify", api.verify, methods=["POST"], openapi_extra=_VERIFY_BODY)
    app.include_router(router)
    return app
