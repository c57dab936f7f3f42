"""No fault: what was deleted long enough ago is forgotten, where all members take part."""

from collections.abc import Sequence

from e2e.jepsen.nemeses.nemesis import Fault, Nemesis

FORGOTTEN = "records forgotten"


class Forgetting(Nemesis):
    """Rounds of anti-entropy all the time, past the store's leader."""

    def faults(self) -> Sequence[Fault]:
        return [self.forget]

    async def forget(self) -> None:
        """One round."""
        self.noted[FORGOTTEN] += await self.store.anti_entropy() or 0
        await self.a_while(4.0)


class Rounds(Nemesis):
    """The store's own rounds, between which members may change."""

    def faults(self) -> Sequence[Fault]:
        return [self.want_a_round]

    async def want_a_round(self) -> None:
        """Whoever leads begins one when it can."""
        await self.store.database.execute("UPDATE maintenance SET round_wanted = true")
        await self.a_while(4.0)
