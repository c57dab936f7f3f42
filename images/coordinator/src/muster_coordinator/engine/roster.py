"""The workers as the leader knows them: who they are is remembered, what they hold is read."""

from dataclasses import replace

from muster_coordinator.engine.model import Holding, Worker
from muster_coordinator.engine.ports import WorkerStore


class Roster:
    """Remembers all workers, so that a round of scheduling need not read them.

    What it says may be over: a worker has left, or lied, and nobody told. Whoever stores an
    assignment sees to it that its worker may still have it, and calls `doubt` where not.
    """

    def __init__(self, store: WorkerStore) -> None:
        self._store = store
        self._workers: list[Worker] = []
        self._doubts = 1
        self._settled = 0

    def doubt(self) -> None:
        """They may be others by now."""
        self._doubts += 1

    async def read(self) -> None:
        """Read them anew.

        Raises:
            Unavailable: the database is away.
        """
        # What is doubted while they are read is in doubt still.
        doubts = self._doubts
        found = await self._store.workers()
        self._workers = [replace(worker, load=0, shares=()) for worker in found]
        self._settled = doubts

    async def holding(self, holding: Holding) -> list[Worker]:
        """All workers, with what they hold.

        Raises:
            Unavailable: they are in doubt, and the database is away.
        """
        if self._doubts != self._settled:
            await self.read()
        return [
            replace(worker, load=sum(share.count for share in shares), shares=shares)
            if (shares := holding.get(worker.id))
            else worker
            for worker in self._workers
        ]
