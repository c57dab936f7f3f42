"""Processes killed and stopped."""

import asyncio
import signal
from collections.abc import Sequence
from contextlib import AsyncExitStack

from e2e.jepsen.cluster import Machine
from e2e.jepsen.nemeses.nemesis import Fault, Nemesis
from e2e.jepsen.plan import Kind


class Processes(Nemesis):
    """SIGKILL and SIGSTOP for storage nodes, one or many, and for coordinators."""

    kind = Kind.PROCESSES

    def faults(self) -> Sequence[Fault]:
        return [
            self.kill_a_node,
            self.stop_a_node,
            self.stop_two_nodes,
            self.kill_all_nodes,
            self.stop_a_coordinator,
            self.kill_a_coordinator,
        ]

    async def kill_a_node(self) -> None:
        """One storage node."""
        await self._killed(1, wait=True)

    async def kill_all_nodes(self) -> None:
        """All of them at once, as where the power fails."""
        await self._killed(len(self.store.members), wait=False)

    async def stop_a_node(self) -> None:
        """Its connections stay, it answers nothing."""
        await self._stopped(1)

    async def stop_two_nodes(self) -> None:
        """Most keys have no quorum then."""
        await self._stopped(2)

    async def stop_a_coordinator(self) -> None:
        """It goes on with what it had begun."""
        front = self.chance.choice(self.store.fronts)
        async with front.lock:
            front.send(signal.SIGSTOP)
            try:
                await self.a_while()
            finally:
                front.send(signal.SIGCONT)

    async def kill_a_coordinator(self) -> None:
        """Nobody finishes what it had begun."""
        front = self.chance.choice(self.store.fronts)
        async with front.lock:
            front.kill()
            await self.a_while()
            await self.store.restart(front)

    async def _killed(self, number: int, *, wait: bool) -> None:
        async with AsyncExitStack() as held:
            machines = await self._held(held, number)
            for machine in machines:
                machine.node.kill()
            if wait:
                await self.a_while()
            await asyncio.gather(*(machine.start() for machine in machines))

    async def _stopped(self, number: int) -> None:
        async with AsyncExitStack() as held:
            machines = await self._held(held, number)
            for machine in machines:
                machine.node.freeze()
            try:
                await self.a_while()
            finally:
                for machine in machines:
                    machine.node.thaw()

    async def _held(self, held: AsyncExitStack, number: int) -> list[Machine]:
        """So many members that nobody else stops or starts meanwhile, in order of their names."""
        drawn = self.chance.sample(self.store.members, number)
        machines = sorted(drawn, key=lambda machine: machine.name)
        for machine in machines:
            await held.enter_async_context(machine.lock)
        # One may have left while it was waited for.
        return [machine for machine in machines if machine in self.store.members]
