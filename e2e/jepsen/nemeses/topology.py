"""Storage nodes that come, go and lose their disks, as administrators ask for it."""

from collections.abc import Sequence
from typing import Any

import grpc

from e2e.jepsen.cluster import Machine
from e2e.jepsen.nemeses.nemesis import Fault, Nemesis
from e2e.jepsen.plan import Kind
from e2e.jepsen.replicas import folders
from muster_kv.ring import Phase
from muster_testing.waiting import eventually

_VIRTUAL_NODES = 16
_ASK_SECONDS = 5.0
# Nodes that take part may be away meanwhile, as may be whoever leads.
_CHANGE_SECONDS = 300.0
_OPEN = "SELECT count(*) FROM migrations WHERE status IN ('pending', 'in_progress')"


class Topology(Nemesis):
    """Changes who is a member, one change at a time, while all others do what they do."""

    kind = Kind.TOPOLOGY

    def faults(self) -> Sequence[Fault]:
        return [self.come_or_go, self.lose_a_disk]

    async def come_or_go(self) -> None:
        """The spare node comes; where there is none, a member goes, and is the spare one."""
        spare = self.store.spare
        if spare is None:
            await self.go(self.chance.choice(self.store.members))
        else:
            await self.come(spare)

    async def come(self, machine: Machine) -> None:
        """A node with an empty disk becomes a member."""
        async with machine.lock:
            await machine.start()
        self.store.spare = None
        reached = machine.reached
        await self._changed(
            "AddStorageNode",
            node_id=reached.node_id,
            host=reached.host,
            port=reached.port,
            virtual_nodes=_VIRTUAL_NODES,
        )

    async def go(self, machine: Machine) -> None:
        """A member leaves, its data moved first; then its disk is taken."""
        await self._changed("RemoveStorageNode", leaving=machine, node_id=machine.name)
        async with machine.lock:
            self.store.spare = machine
            machine.node.kill()
            machine.wipe()

    async def lose_a_disk(self) -> None:
        """A member comes back with an empty disk, and is filled from the others."""
        await self.settled()
        machine = self.chance.choice(self.store.members)
        async with machine.lock:
            machine.node.kill()
            machine.wipe()
            await self.a_while()
            await machine.start()
        await self.settled()

    async def heal(self) -> None:
        """Wait until nothing is under way."""
        await self.settled()

    async def settled(self, without: Machine | None = None) -> None:
        """Wait until members are as they should be, each with the data folder that it has."""
        what = "no migration is under way, and all members are whole"
        await eventually(
            lambda: self._is_settled(without), deadline=_CHANGE_SECONDS, every=0.2, what=what
        )

    async def _is_settled(self, without: Machine | None) -> bool:
        ring = await self.store.ring()
        wanted = [machine for machine in self.store.members if machine is not without]
        assert ring.phase is Phase.STABLE, ring.phase
        assert await self.store.database.fetchval(_OPEN) == 0
        members = {member.node_id: member.folder for member in ring.members}
        assert set(members) == {machine.name for machine in wanted}, members
        held = await folders([machine.node for machine in wanted])
        assert members == held, (members, held)
        return True

    async def _changed(self, call: str, leaving: Machine | None = None, **fields: Any) -> None:
        """Ask until somebody has taken it, and wait until it is done."""

        async def asked() -> bool:
            front = self.chance.choice(self.store.fronts)
            try:
                answer = await front.client.call(call, _ASK_SECONDS, **fields)
            except grpc.aio.AioRpcError as error:
                raise AssertionError(error.details()) from error
            # Taken before, where its answer was lost.
            if leaving is not None and await self._has_left(leaving):
                return True
            assert answer.success, answer.error_message
            return True

        await eventually(asked, deadline=_CHANGE_SECONDS, every=0.2, what=call)
        await self.settled(leaving)

    async def _has_left(self, machine: Machine) -> bool:
        return (await self.store.ring()).member(machine.name) is None
