"""Who calls: a bearer token, judged by an authority, and whether that one may do what it asks."""

import asyncio
import hashlib
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Protocol

from muster_coordinator.accounts.errors import Forbidden, Unauthenticated
from muster_coordinator.engine.errors import Unavailable

ACCEPTED_SECONDS = 30.0
"""How long a token counts as good after it was judged, even if it is revoked meanwhile."""

REFUSED_SECONDS = 5.0
"""How long a token counts as bad, so that a stubborn caller does not burden the authority."""

REVIEW_SECONDS = 5.0
_KEPT = 4096
_LONGEST_TOKEN = 16 * 1024


@dataclass(frozen=True, slots=True)
class Principal:
    """Who a token belongs to.

    Attributes:
        username: as the authority calls it.
        account: `<namespace>:<name>` of a ServiceAccount; empty for anybody else.
        pod: name of the pod that the token is bound to; empty where it is bound to none.
    """

    username: str
    account: str = ""
    pod: str = ""


class TokenAuthority(Protocol):
    """Whoever knows which tokens are good."""

    async def review(self, token: str) -> Principal | None:
        """Whose token it is; None where it is not good for this service.

        Raises:
            Unavailable: nobody knows now.
        """
        ...


@dataclass(frozen=True, slots=True)
class _Judged:
    principal: Principal | None
    until: float


class Authentication:
    """Judges callers; answers of the authority are kept for a short while, tokens never are.

    Args:
        accounts: the ServiceAccounts that may call, as `<namespace>:<name>`.
        clock: seconds that only rise.
    """

    def __init__(
        self,
        authority: TokenAuthority,
        accounts: Collection[str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._authority = authority
        self._accounts = frozenset(accounts)
        self._clock = clock
        self._judged: dict[bytes, _Judged] = {}
        self._asking: dict[bytes, asyncio.Task[Principal | None]] = {}

    async def caller(self, headers: Collection[str]) -> Principal:
        """Who calls with these values of `authorization`.

        Raises:
            Unauthenticated, Forbidden: it may not.
            Unavailable: the authority does not answer.
        """
        principal = await self._principal(_token(headers))
        if principal is None:
            raise Unauthenticated("the token in authorization is not valid here")
        if principal.account not in self._accounts:
            raise Forbidden(f"{principal.username} is not in auth.allowed_service_accounts")
        return principal

    async def _principal(self, token: str) -> Principal | None:
        name = hashlib.sha256(token.encode()).digest()
        judged = self._judged.get(name)
        if judged is not None and self._clock() < judged.until:
            return judged.principal
        asking = self._asking.get(name)
        if asking is None:
            # One question for all calls of one worker, and a caller that gives up ends it for none.
            asking = asyncio.create_task(self._ask(name, token))
            self._asking[name] = asking
            asking.add_done_callback(lambda done: self._asked(name, done))
        return await asyncio.shield(asking)

    async def _ask(self, name: bytes, token: str) -> Principal | None:
        try:
            async with asyncio.timeout(REVIEW_SECONDS):
                principal = await self._authority.review(token)
        except TimeoutError:
            raise Unavailable(
                f"the token could not be judged within {REVIEW_SECONDS:g} s; try again"
            ) from None
        if len(self._judged) >= _KEPT:
            self._judged.clear()
        kept = REFUSED_SECONDS if principal is None else ACCEPTED_SECONDS
        self._judged[name] = _Judged(principal, self._clock() + kept)
        return principal

    def _asked(self, name: bytes, done: asyncio.Task[Principal | None]) -> None:
        self._asking.pop(name, None)
        if not done.cancelled():
            # Looked at here, as all who waited may have gone.
            done.exception()


def _token(headers: Collection[str]) -> str:
    if not headers:
        raise Unauthenticated("authorization is missing; allowed: Bearer <token>")
    if len(headers) > 1:
        raise Unauthenticated(f"authorization is there {len(headers)} times; allowed: once")
    (header,) = headers
    scheme, _, token = header.partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token or len(token) > _LONGEST_TOKEN:
        raise Unauthenticated("authorization is something else; allowed: Bearer <token>")
    return token


def act_as(principal: Principal, worker_id: str | None) -> None:
    """Look whether a caller may speak for a worker.

    A token that is bound to a pod is the pod's own, and worker pods are named like their workers.

    Args:
        worker_id: None where a call is about no worker.

    Raises:
        Forbidden: it may not.
    """
    if worker_id is not None and principal.pod and worker_id != principal.pod:
        raise Forbidden(
            f"worker_id is {worker_id[:64]!r}; allowed with this token: {principal.pod!r}, "
            "the pod that it is bound to"
        )
