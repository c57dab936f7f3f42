"""Disks that are full for a while."""

from collections.abc import Sequence

from e2e.jepsen.disk import Disk
from e2e.jepsen.nemeses.nemesis import Fault, Nemesis
from e2e.jepsen.plan import Kind

_MOST_SECONDS = 2.5


class Disks(Nemesis):
    """Leaves storage nodes no byte to write, and gives the room back."""

    kind = Kind.DISKS

    def faults(self) -> Sequence[Fault]:
        return [self.fill_a_disk, self.fill_two_disks, self.fill_again_and_again]

    async def fill_a_disk(self) -> None:
        """One node takes no write."""
        await self._filled(self._some(1))

    async def fill_two_disks(self) -> None:
        """Most keys have no quorum for writes then."""
        await self._filled(self._some(2))

    async def fill_again_and_again(self) -> None:
        """One disk has room now and then."""
        disks = self._some(1)
        for _ in range(3):
            await self._filled(disks)

    def _some(self, number: int) -> list[Disk]:
        disks = [machine.disk for machine in self.store.members if machine.disk is not None]
        return self.chance.sample(disks, number)

    async def _filled(self, disks: list[Disk]) -> None:
        try:
            for disk in disks:
                disk.fill()
            await self.a_while(_MOST_SECONDS)
        finally:
            for disk in disks:
                disk.empty()
