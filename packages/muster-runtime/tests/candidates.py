"""Candidates of an election, and what they did."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from muster_runtime.election import Elector, Term


@dataclass
class Candidate:
    """Runs an elector and remembers its terms."""

    elector: Elector
    terms: list[Term] = field(default_factory=list)
    leading: bool = False

    async def lead(self, term: Term) -> None:
        """Lead until cancelled."""
        self.terms.append(term)
        self.leading = True
        try:
            await asyncio.Event().wait()
        finally:
            self.leading = False


@contextlib.asynccontextmanager
async def campaigning(candidate: Candidate) -> AsyncIterator[asyncio.Task[None]]:
    """Run a candidate until the context ends."""
    task = asyncio.create_task(candidate.elector.run(candidate.lead))
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
