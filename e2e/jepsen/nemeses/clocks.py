"""Wall clocks of single processes that jump, and stay wrong."""

from collections.abc import Sequence

from e2e.jepsen.nemeses.nemesis import Fault, Nemesis
from e2e.jepsen.plan import Kind

_MOST_SECONDS = 600.0


class Clocks(Nemesis):
    """Moves clocks ahead and back, of storage nodes and coordinators, while they run."""

    kind = Kind.CLOCKS

    def faults(self) -> Sequence[Fault]:
        return [self.move_a_clock, self.move_a_clock_a_little, self.move_all_clocks]

    async def move_a_clock(self) -> None:
        """By minutes; it stays so."""
        self._move(self.chance.choice(list(self.store.clocks)), _MOST_SECONDS)
        await self.a_while()

    async def move_a_clock_a_little(self) -> None:
        """By less than requests take."""
        self._move(self.chance.choice(list(self.store.clocks)), 0.2)
        await self.a_while()

    async def move_all_clocks(self) -> None:
        """Each to a time of its own."""
        for name in self.store.clocks:
            self._move(name, _MOST_SECONDS)
        await self.a_while()

    async def heal(self) -> None:
        """Let all be right again."""
        for clock in self.store.clocks.values():
            clock.move(0)

    def _move(self, name: str, most: float) -> None:
        self.store.clocks[name].move(self.chance.uniform(-most, most))
