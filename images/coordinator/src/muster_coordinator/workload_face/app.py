"""The HTTP application of the workload API, and its OpenAPI document."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI

from muster_coordinator.http_face import docs, errors, openapi
from muster_coordinator.workload_face.requests import PARAMETERS, NewConfiguration, Submission
from muster_coordinator.workload_face.rest import CustomerApi, WorkloadApi
from muster_coordinator.workload_face.rest_admin import AdminApi
from muster_coordinator.workload_face.rest_configs import ConfigApi
from muster_coordinator.workload_face.sockets import Sockets

PREFIX = "/v1"
DOCUMENT = f"{PREFIX}/openapi.json"
DOCS = f"{PREFIX}/docs"

OPEN_PATHS = frozenset({DOCUMENT, DOCS, *(f"{DOCS}/{name}" for name in docs.ASSETS)})
"""What may be read without a key: all that says how to use one."""


def create_app(
    workloads: WorkloadApi,
    configs: ConfigApi,
    customers: CustomerApi,
    admin: AdminApi,
    sockets: Sockets,
) -> FastAPI:
    """The application, without the way in and the frame around it."""
    app = FastAPI(
        title="Muster workloads",
        version="1",
        description="Submit work for the workers of this coordinator, and see what becomes of it.",
        openapi_url=DOCUMENT,
        # Their pages load scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
    )
    errors.install(app, PARAMETERS)
    add = _adder(app)
    _add_workloads(add, workloads)
    _add_configs(add, configs)
    add("GET", "/customer", customers.get)
    add("GET", "/customer/stats", customers.stats)
    add("GET", "/admin/workers", admin.workers)
    add("POST", "/admin/workers/{worker_id}/drain", admin.drain, 404, 409, status=204)
    add("DELETE", "/admin/workers/{worker_id}", admin.remove, 404, status=204)
    add("GET", "/admin/queue", admin.queue)
    app.add_api_websocket_route(f"{PREFIX}/ws/workloads/{{workload_id}}", sockets.updates)
    openapi.install(app, [Submission, NewConfiguration], keyed=True)
    docs.add(app, DOCS, DOCUMENT)
    return app


def _add_workloads(add: Callable[..., None], api: WorkloadApi) -> None:
    add("POST", "/workloads", api.submit, 404, 409, body=Submission, status=201)
    add("GET", "/workloads", api.find)
    add("GET", "/workloads/{workload_id}", api.get, 404)
    add("POST", "/workloads/{workload_id}/cancel", api.cancel, 404, 409)
    add("POST", "/workloads/{workload_id}/pause", api.pause, 404, 409, status=202)
    add("POST", "/workloads/{workload_id}/resume", api.resume, 404, 409)
    add("GET", "/workloads/{workload_id}/logs", api.logs, 404)
    add("GET", "/workloads/{workload_id}/audit", api.audit, 404)


def _add_configs(add: Callable[..., None], api: ConfigApi) -> None:
    add("POST", "/workload-configs", api.create, 409, body=NewConfiguration, status=201)
    add("GET", "/workload-configs", api.find)
    add("GET", "/workload-configs/{config_id}", api.get, 404)
    add("PUT", "/workload-configs/{config_id}", api.update, 404, 409, body=NewConfiguration)
    add("DELETE", "/workload-configs/{config_id}", api.delete, 404, 409, status=204)


def _adder(app: FastAPI) -> Callable[..., None]:
    """What adds an endpoint with the errors that it may answer beside those of all.

    To the application itself, whose routes then say together what may be done with a path.
    """

    def add(
        method: str,
        path: str,
        endpoint: Callable[..., Any],
        *statuses: int,
        body: type[Any] | None = None,
        status: int = HTTPStatus.OK,
    ) -> None:
        app.add_api_route(
            f"{PREFIX}{path}",
            endpoint,
            methods=[method],
            status_code=status,
            responses=openapi.errors(401, 403, *statuses, body=body is not None),
            openapi_extra=None if body is None else openapi.body(body),
        )

    return add
