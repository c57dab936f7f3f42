"""Who calls: an API key, a token or a certificate, and what is known of it."""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from muster_coordinator.accounts.callers import Caller, Identity
from muster_coordinator.accounts.certificates import Subjects
from muster_coordinator.accounts.errors import Unauthenticated
from muster_coordinator.accounts.keys import digest, looks_like_key, shown
from muster_coordinator.accounts.tokens import Tokens
from muster_coordinator.engine.customers import Customer, Tier
from muster_coordinator.engine.ports import AccountStore

REMEMBERED_SECONDS = 10.0
"""How long a credential counts as good after it was judged, even if it is revoked meanwhile."""

LONGEST_TOKEN = 16 * 1024
_KEPT = 16 * 1024


@dataclass(frozen=True, slots=True)
class Credential:
    """What a caller showed; a token counts before a certificate.

    Attributes:
        token: of `authorization: Bearer`.
        certificate: in DER.
    """

    token: str = ""
    certificate: bytes = b""

    @property
    def digest(self) -> bytes:
        """What it is remembered by, as credentials themselves are not kept."""
        kind, shown = (b"t", self.token.encode()) if self.token else (b"c", self.certificate)
        return hashlib.sha256(kind + shown).digest()


def bearer(header: str) -> str:
    """The token of an `authorization`.

    Raises:
        Unauthenticated: it has none.
    """
    scheme, _, token = header.partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not 0 < len(token) <= LONGEST_TOKEN or not token.isascii():
        raise Unauthenticated("authorization is something else; allowed: Bearer <key or token>")
    return token


@dataclass(frozen=True, slots=True)
class _Known:
    caller: Caller
    until: float


class Accounts:
    """Judges credentials, and remembers for a short while who was who.

    Args:
        tokens: None where no tokens are taken.
        administrators: digests of keys that are theirs, whatever the store says.
        clock: Unix time in seconds.
    """

    def __init__(
        self,
        store: AccountStore,
        tokens: Tokens | None = None,
        subjects: Subjects | None = None,
        administrators: frozenset[bytes] = frozenset(),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._tokens = tokens
        self._subjects = subjects or Subjects(())
        self._administrators = administrators
        self._clock = clock
        # In the order of their judgement.
        self._known: OrderedDict[bytes, _Known] = OrderedDict()

    def remembered(self, credential: Credential) -> Caller | None:
        """Who showed this a short while ago."""
        known = self._known.get(credential.digest)
        return known.caller if known is not None and self._clock() < known.until else None

    async def caller(self, credential: Credential) -> Caller:
        """Who shows this.

        Raises:
            Unauthenticated: nobody who is known.
            Unavailable: the database is away.
        """
        remembered = self.remembered(credential)
        if remembered is not None:
            return remembered
        caller, until = await self._judged(credential)
        self._remember(credential, caller, until)
        return caller

    async def _judged(self, credential: Credential) -> tuple[Caller, float | None]:
        if credential.token and looks_like_key(credential.token):
            return await self._owner(credential.token)
        if credential.token and self._tokens is not None:
            return await self._customer(self._tokens.identity(credential.token))
        if credential.token:
            raise Unauthenticated("the token in authorization is no key of this coordinator")
        if credential.certificate:
            return await self._customer(self._subjects.identity(credential.certificate))
        raise Unauthenticated("authorization is missing; allowed: Bearer <key or token>")

    async def _owner(self, text: str) -> tuple[Caller, float | None]:
        if digest(text) in self._administrators:
            return Caller(shown(text)), None
        found = await self._store.find_key(digest(text))
        if found is None or not found[0].valid(datetime.now(UTC)):
            raise Unauthenticated("the key in authorization is not known, or has ended")
        key, customer = found
        await self._store.touch_keys([key.id])
        until = None if key.expires_at is None else key.expires_at.timestamp()
        if key.admin:
            return Caller(key.prefix), until
        if customer is None:
            raise Unauthenticated("the key in authorization is nobody's")
        return Caller(customer.id, customer), until

    async def _customer(self, identity: Identity) -> tuple[Caller, float | None]:
        """Whom an identity stands for; a customer that is new is made known, as others may be."""
        if identity.customer_id is None:
            return Caller(identity.name), identity.until
        known = await self._store.customer(identity.customer_id)
        if known is None:
            new = Customer(identity.customer_id, tier=identity.tier or Tier.FREE)
            known = await self._store.put_customer(new)
        elif identity.tier not in {None, known.tier}:
            known = await self._store.put_customer(replace(known, tier=identity.tier))
        return Caller(known.id, known), identity.until

    def _remember(self, credential: Credential, caller: Caller, until: float | None) -> None:
        now = self._clock()
        while self._known and (
            len(self._known) >= _KEPT or next(iter(self._known.values())).until <= now
        ):
            self._known.popitem(last=False)
        end = now + REMEMBERED_SECONDS
        self._known[credential.digest] = _Known(caller, end if until is None else min(end, until))
