"""Disks that are full for a while."""

import asyncio
from collections.abc import Sequence
from functools import partial

from e2e.jepsen.cluster import START_SECONDS, Machine
from e2e.jepsen.nemeses.nemesis import Fault, Nemesis
from e2e.jepsen.plan import Kind
from muster_testing.waiting import eventually

_MOST_SECONDS = 2.5


class Disks(Nemesis):
    """Leaves storage nodes no byte to write, and gives the room back."""

    kind = Kind.DISKS

    def faults(self) -> Sequence[Fault]:
        return [self.fill_a_disk, self.fill_two_disks, self.fill_again_and_again]

    async def fill_a_disk(self) -> None:
        """One node takes no write."""
        await self._filled(self._some(1), 1)

    async def fill_two_disks(self) -> None:
        """Most keys have no quorum for writes then."""
        await self._filled(self._some(2), 1)

    async def fill_again_and_again(self) -> None:
        """One disk has room now and then, and its node is never done with looking for it."""
        await self._filled(self._some(1), 3)

    def _some(self, number: int) -> list[Machine]:
        return self.chance.sample(self.store.members, number)

    async def _filled(self, machines: list[Machine], times: int) -> None:
        disks = [machine.disk for machine in machines if machine.disk is not None]
        for _ in range(times):
            try:
                for disk in disks:
                    disk.fill()
                await self.a_while(_MOST_SECONDS)
            finally:
                for disk in disks:
                    disk.empty()
        # It takes a node seconds to see that there is room. Who went on at once would have most
        # nodes refuse all writes most of the time: little could be lost then.
        for machine in machines:
            takes = partial(self._takes_writes, machine)
            what = f"{machine.name} takes writes"
            await eventually(takes, deadline=START_SECONDS, every=0.1, what=what)

    async def _takes_writes(self, machine: Machine) -> bool:
        """Whether it does, or is no member any more; started again where it has ended."""
        if machine not in self.store.members:
            return True
        if not machine.node.running and not machine.lock.locked():
            machine.node.spawn()
        _, said = await asyncio.to_thread(machine.node.ask, "/ready")
        return bool(said.get("takes_writes"))
