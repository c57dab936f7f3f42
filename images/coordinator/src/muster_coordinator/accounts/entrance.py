"""Letting callers in: who they are, and whether they ask too often."""

import time
from collections.abc import Callable, Mapping

from muster_coordinator.accounts.authentication import Accounts, Credential
from muster_coordinator.accounts.callers import Caller
from muster_coordinator.accounts.ratelimit import Allowance, RateLimit
from muster_coordinator.engine.customers import TERMS, Tier


class Entrance:
    """One for all faces, so that a customer has one bucket whatever it comes by.

    A credential that was not judged a short while ago costs its address a token, so that nobody
    can try keys, or keep the database busy, by asking often.

    Args:
        strangers: by address; None for any number of them.
        clock: seconds, never going back.
    """

    def __init__(
        self,
        accounts: Accounts,
        strangers: RateLimit | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._accounts = accounts
        self._strangers = strangers
        self._customers: Mapping[Tier, RateLimit] = {
            tier: RateLimit(terms.rate, terms.burst, clock) for tier, terms in TERMS.items()
        }

    async def admit(self, credential: Credential, address: str) -> tuple[Caller, Allowance]:
        """Who asks, and what is left of its bucket after that.

        Raises:
            Unauthenticated: nobody who is known.
            TooOften: the bucket of the customer, or that of the address, is empty.
            Unavailable: the database is away.
        """
        caller = self._accounts.remembered(credential)
        if caller is None:
            self.stranger(address)
            caller = await self._accounts.caller(credential)
        return caller, self._customers[caller.tier].must_take(caller.actor)

    def stranger(self, address: str) -> Allowance | None:
        """Count a request of somebody unknown; None where none are counted.

        Raises:
            TooOften: the bucket of the address is empty.
        """
        return None if self._strangers is None else self._strangers.must_take(address)
