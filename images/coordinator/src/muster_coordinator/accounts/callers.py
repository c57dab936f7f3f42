"""Whoever asks, once it is known."""

from dataclasses import dataclass

from muster_coordinator.accounts.errors import Forbidden
from muster_coordinator.engine.customers import Customer, Tier


@dataclass(frozen=True, slots=True)
class Caller:
    """A customer or an administrator, never both.

    Attributes:
        name: for logs: the customer, or what an administrator showed.
        account: None for an administrator.
    """

    name: str
    account: Customer | None = None

    @property
    def tier(self) -> Tier:
        """How often it may ask."""
        return Tier.ENTERPRISE if self.account is None else self.account.tier

    @property
    def actor(self) -> str:
        """Its name among all customers and administrators."""
        return f"admin:{self.name}" if self.account is None else f"customer:{self.account.id}"

    def customer(self) -> Customer:
        """The customer that it is.

        Raises:
            Forbidden: it is an administrator, who has no workloads.
        """
        if self.account is None:
            raise Forbidden("this is for customers, and the credential is an administrator's")
        return self.account

    def must_administrate(self) -> None:
        """Let an administrator pass.

        Raises:
            Forbidden: it is a customer.
        """
        if self.account is not None:
            raise Forbidden("this is for administrators, and the credential is a customer's")


@dataclass(frozen=True, slots=True)
class Identity:
    """What a credential says by itself.

    Attributes:
        customer_id: None for an administrator.
        tier: None where the credential names none; then it is what the database has.
        until: Unix time from which it says nothing more; None where it has no end.
    """

    name: str
    customer_id: str | None
    tier: Tier | None = None
    until: float | None = None
