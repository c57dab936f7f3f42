"""The faces that customers see, put together over one engine."""

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

from starlette.types import ASGIApp, Receive, Scope, Send

from muster_coordinator.accounts.authentication import Accounts
from muster_coordinator.accounts.entrance import Entrance
from muster_coordinator.accounts.ratelimit import RateLimit
from muster_coordinator.accounts.tokens import Tokens
from muster_coordinator.config import CoordinatorConfig
from muster_coordinator.engine.ports import AccountStore, ConfigStore, HistoryStore, QueueStore
from muster_coordinator.engine.queue import Queue
from muster_coordinator.engine.registry import Registry
from muster_coordinator.http_face import api
from muster_coordinator.http_face.frame import Frame, Gate
from muster_coordinator.http_face.intake import Intake
from muster_coordinator.http_face.server import for_pages_of
from muster_coordinator.proving.keyring import KeyRing
from muster_coordinator.proving.offers import Offers
from muster_coordinator.workload_face import app
from muster_coordinator.workload_face.desk import Desk
from muster_coordinator.workload_face.entry import Entry
from muster_coordinator.workload_face.rest import CustomerApi, WorkloadApi
from muster_coordinator.workload_face.rest_admin import AdminApi
from muster_coordinator.workload_face.rest_configs import ConfigApi
from muster_coordinator.workload_face.service import WorkloadService
from muster_coordinator.workload_face.sockets import Sockets, Watches

Observe = Callable[[str, int, float], None]


@dataclass(frozen=True, slots=True)
class Engine:
    """What the faces of customers call."""

    queue: Queue
    registry: Registry
    keyring: KeyRing
    offers: Offers
    depths: QueueStore
    history: HistoryStore
    accounts: AccountStore
    configs: ConfigStore


class Faces:
    """Proofs and workloads over HTTP, workloads over gRPC.

    Raises:
        ValueError: the keys of tokens can't be read any more.
    """

    def __init__(self, engine: Engine, config: CoordinatorConfig, watches: Watches) -> None:
        self._engine = engine
        self._config = config
        section = config.http
        self._strangers = (
            RateLimit(section.rate_limit, section.rate_burst, time.monotonic)
            if section.rate_limit
            else None
        )
        issuer = config.accounts.issuer
        accounts = Accounts(
            engine.accounts,
            None if issuer is None else Tokens(issuer),
            config.accounts.subjects,
            config.accounts.administrators,
        )
        self._entrance = Entrance(accounts, self._strangers)
        max_retries = config.coordinator.max_retries
        self._intake = Intake(engine.keyring, engine.offers, max_retries)
        self._desk = Desk(engine.queue, engine.configs, self._intake, engine.offers, max_retries)
        self._watches = watches

    def web(self, observe: Observe) -> ASGIApp:
        """The application of the HTTP port.

        Args:
            observe: told method, status and seconds of each request.
        """
        trusted = self._config.http.trusted_proxies
        proofs = (
            Frame(self._entry(self._proofs(), api.OPEN_PATHS), observe)
            if self._config.http.require_keys
            else Frame(self._proofs(), observe, Gate(self._strangers, trusted))
        )
        workloads = Frame(self._entry(self._workloads(), app.OPEN_PATHS), observe)
        return for_pages_of(_ByPath(workloads, proofs), self._config.http.cors_origins)

    def service(self) -> WorkloadService:
        """The gRPC service."""
        return WorkloadService(self._entrance, self._engine.queue, self._desk, self._watches)

    def _entry(self, face: ASGIApp, open_paths: Collection[str]) -> Entry:
        return Entry(face, self._entrance, open_paths, self._config.http.trusted_proxies)

    def _proofs(self) -> ASGIApp:
        engine = self._engine
        return api.create_app(
            api.ProofApi(engine.queue, engine.keyring, engine.offers, self._intake),
            keyed=self._config.http.require_keys,
        )

    def _workloads(self) -> ASGIApp:
        engine = self._engine
        return app.create_app(
            WorkloadApi(engine.queue, engine.history, self._desk),
            ConfigApi(engine.configs, self._desk),
            CustomerApi(engine.accounts),
            AdminApi(engine.registry, engine.depths),
            Sockets(engine.queue, engine.history, self._watches),
        )


class _ByPath:
    """Workloads below their prefix, proofs everywhere else."""

    def __init__(self, workloads: ASGIApp, proofs: ASGIApp) -> None:
        self._workloads = workloads
        self._proofs = proofs

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope.get("path", "")
        below = path == app.PREFIX or path.startswith(f"{app.PREFIX}/")
        await (self._workloads if below else self._proofs)(scope, receive, send)
