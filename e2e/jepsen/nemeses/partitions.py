"""Parties cut off from each other: storage nodes, coordinators, the database."""

from collections.abc import Sequence

from e2e.jepsen.nemeses.nemesis import Fault, Nemesis
from e2e.jepsen.plan import Kind

# Longer than a silent connection is kept.
_MOST_SECONDS = 4.0


class Partitions(Nemesis):
    """Cuts the network in two, both ways or one, or a single link."""

    kind = Kind.PARTITIONS

    def faults(self) -> Sequence[Fault]:
        return [
            self.cut_in_two,
            self.cut_a_minority,
            self.cut_one_way,
            self.cut_one_off,
            self.cut_a_link,
        ]

    async def cut_in_two(self) -> None:
        """Some here, some there; neither side hears of the other."""
        await self._cut(*self._sides(), one_way=False)

    async def cut_a_minority(self) -> None:
        """A coordinator has one node on its side, and may acknowledge nothing."""
        front = self.chance.choice(self.store.fronts)
        machine = self.chance.choice(self.store.members)
        some = [front.name, machine.name]
        others = [party for party in self.store.parties if party not in some]
        await self._cut(some, others, one_way=False)

    async def cut_one_way(self) -> None:
        """What one side sends arrives, and no answer to it."""
        await self._cut(*self._sides(), one_way=True)

    async def cut_one_off(self) -> None:
        """One party is alone."""
        one = self.chance.choice(self.store.parties)
        others = [party for party in self.store.parties if party != one]
        await self._cut([one], others, one_way=False)

    async def cut_a_link(self) -> None:
        """Two parties, which all others reach."""
        one, other = self.chance.sample(self.store.parties, 2)
        await self._cut([one], [other], one_way=self.chance.random() < 0.5)

    def _sides(self) -> tuple[list[str], list[str]]:
        parties = self.chance.sample(self.store.parties, len(self.store.parties))
        at = self.chance.randint(1, len(parties) - 1)
        return parties[:at], parties[at:]

    async def _cut(self, sources: list[str], sinks: list[str], *, one_way: bool) -> None:
        self.store.network.cut(sources, sinks, one_way=one_way)
        try:
            await self.a_while(_MOST_SECONDS)
        finally:
            self.store.network.mend()
