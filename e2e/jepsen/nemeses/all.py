"""The nemeses of a plan, together."""

import asyncio
from collections import Counter

from e2e.jepsen.cluster import Store
from e2e.jepsen.nemeses.clocks import Clocks
from e2e.jepsen.nemeses.disks import Disks
from e2e.jepsen.nemeses.forgetting import Forgetting, Rounds
from e2e.jepsen.nemeses.nemesis import Nemesis, Span, named
from e2e.jepsen.nemeses.partitions import Partitions
from e2e.jepsen.nemeses.processes import Processes
from e2e.jepsen.nemeses.topology import Topology
from e2e.jepsen.plan import Kind, Plan

_KINDS: tuple[type[Nemesis], ...] = (Processes, Partitions, Clocks, Disks, Topology)


class Nemeses:
    """All that a plan has against a store, side by side."""

    def __init__(self, store: Store, plan: Plan) -> None:
        made = [nemesis(store, plan.seed) for nemesis in _KINDS if nemesis.kind in plan.kinds]
        # A round past the leader would know nothing of a migration under way.
        rounds = Rounds if Kind.TOPOLOGY in plan.kinds else Forgetting
        self._store = store
        self._all = [*made, rounds(store, plan.seed)]

    async def run(self, stop: asyncio.Event) -> None:
        """Break things until `stop`, then mend them all."""
        async with asyncio.TaskGroup() as group:
            for nemesis in self._all:
                group.create_task(nemesis.run(stop))
        ended = [machine for machine in self._store.members if not machine.node.running]
        for machine in ended:
            self._all[0].noted["nodes that ended by themselves"] += 1
            await machine.start()
        for nemesis in self._all:
            await nemesis.heal()

    @property
    def spans(self) -> list[Span]:
        """What was done, and when."""
        return [span for nemesis in self._all for span in nemesis.spans]

    @property
    def noted(self) -> Counter[str]:
        """What happened besides, and how often."""
        return sum((nemesis.noted for nemesis in self._all), Counter())

    @property
    def faults(self) -> dict[str, list[str]]:
        """All that can be done, by kind, whether it was or not."""
        return {
            nemesis.kind.value: [named(fault) for fault in nemesis.faults()]
            for nemesis in self._all
            if nemesis.kind is not None
        }
