"""Anti-entropy that was asked for, as the leader sees and answers it."""

from collections.abc import Collection
from dataclasses import replace

from muster_kv_coordinator.core.model import AskedRepair
from muster_kv_coordinator.store import repairs_table
from muster_kv_coordinator.topology.ledger import Ledger, View


class Wishes:
    """The repairs that are open, written down under the epoch of one reign.

    Every method raises `DeposedError` where another leads, `UnavailableError` where the database is
    away.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._told: dict[str, str] = {}

    async def open(self) -> tuple[AskedRepair, ...]:
        """All that are not completed."""
        async with self._ledger.fenced() as connection:
            return await repairs_table.open_repairs(connection)

    def news(self, repairs: Collection[AskedRepair]) -> bool:
        """Whether one of them has not been tried yet."""
        return any(one.repair_id not in self._told for one in repairs)

    async def begin(self, repairs: Collection[AskedRepair]) -> None:
        """They are begun with."""
        if repairs:
            async with self._ledger.fenced() as connection:
                await repairs_table.begin(connection, repairs)

    async def wait(self, repairs: Collection[AskedRepair], reason: str) -> None:
        """Say why they are not completed, once for each reason."""
        untold = [one for one in repairs if self._told.get(one.repair_id) != reason]
        if untold:
            async with self._ledger.fenced() as connection:
                await repairs_table.wait(connection, untold, reason)
            self._told |= {one.repair_id: reason for one in untold}

    async def complete(
        self, repairs: Collection[AskedRepair], differing: int = 0, repaired: int = 0
    ) -> None:
        """They have come to their end."""
        if repairs:
            async with self._ledger.fenced() as connection:
                await repairs_table.complete(connection, repairs, differing, repaired)
            for one in repairs:
                self._told.pop(one.repair_id, None)


def of_tenants(view: View, repairs: Collection[AskedRepair]) -> View:
    """The view with no other tenants than those that repairs were asked for."""
    asked = {one.tenant_id for one in repairs}
    tenants = {
        factor: tuple(name for name in names if name in asked)
        for factor, names in view.tenants.items()
    }
    return replace(view, tenants={factor: names for factor, names in tenants.items() if names})
