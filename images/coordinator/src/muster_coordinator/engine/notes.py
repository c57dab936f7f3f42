"""What workers say on the way: progress, checkpoints, lines of a log."""

import logging
from collections.abc import Sequence

from muster_coordinator.engine.batching import Batcher
from muster_coordinator.engine.errors import EngineError, Fenced, InvalidRequest
from muster_coordinator.engine.model import Claim, LogLine
from muster_coordinator.engine.ports import (
    CheckpointNote,
    LogNote,
    Meter,
    NoteStore,
    ProgressNote,
)
from muster_coordinator.engine.words import clean

log = logging.getLogger(__name__)

MAX_CHECKPOINT_BYTES = 4 << 20
"""The message that brings one has at most 10 MB, with everything else in it."""

LOG_LEVELS = frozenset({"debug", "info", "warning", "error"})

# Under load, one statement keeps what several workers said.
_PACE = 0.02
# Ten large checkpoints are enough for the memory of one statement.
_CHECKPOINTS_AT_ONCE = 10


class Notes:
    """Takes notes in, in batches.

    Args:
        lease: for how many seconds a note is a sign of life.
    """

    def __init__(self, store: NoteStore, meter: Meter, lease: float) -> None:
        self._store = store
        self._meter = meter
        self._lease = lease
        self._progress: Batcher[ProgressNote, None] = Batcher(self._progress_batch, pace=_PACE)
        self._checkpoint: Batcher[CheckpointNote, None] = Batcher(
            self._checkpoint_batch, size=_CHECKPOINTS_AT_ONCE, lanes=2
        )
        self._log: Batcher[LogNote, None] = Batcher(self._log_batch, pace=_PACE)

    async def progress(self, claim: Claim, percent: float, message: str) -> None:
        """See `Reports.progress`."""
        if not 0 <= percent <= 100:
            raise InvalidRequest(f"percent is {percent}; allowed: a number from 0 to 100")
        await self._progress(ProgressNote(claim, percent, clean(message)))

    async def checkpoint(self, claim: Claim, data: bytes) -> None:
        """See `Reports.checkpoint`."""
        if len(data) > MAX_CHECKPOINT_BYTES:
            raise InvalidRequest(
                f"checkpoint has {len(data)} bytes; allowed: at most {MAX_CHECKPOINT_BYTES}"
            )
        await self._checkpoint(CheckpointNote(claim, data))

    async def log(self, claim: Claim, lines: Sequence[LogLine]) -> None:
        """See `Reports.log`."""
        for line in lines:
            if line.level not in LOG_LEVELS:
                allowed = ", ".join(sorted(LOG_LEVELS))
                raise InvalidRequest(f"level is {line.level[:64]!r}; allowed: {allowed}")
        kept = tuple(LogLine(line.at, line.level, clean(line.message)) for line in lines)
        if kept:
            await self._log(LogNote(claim, kept))

    async def idle(self) -> None:
        """Wait until all notes under way are answered."""
        for batcher in (self._progress, self._checkpoint, self._log):
            await batcher.idle()

    async def _progress_batch(self, notes: list[ProgressNote]) -> Sequence[EngineError | None]:
        answers = await self._store.progress(notes, self._lease)
        return self._counted("progress", [note.claim for note in notes], answers)

    async def _checkpoint_batch(self, notes: list[CheckpointNote]) -> Sequence[EngineError | None]:
        answers = await self._store.checkpoints(notes, self._lease)
        return self._counted("checkpoint", [note.claim for note in notes], answers)

    async def _log_batch(self, notes: list[LogNote]) -> Sequence[EngineError | None]:
        answers = await self._store.logs(notes)
        return self._counted("log", [note.claim for note in notes], answers)

    def _counted(
        self, kind: str, claims: Sequence[Claim], answers: Sequence[EngineError | None]
    ) -> Sequence[EngineError | None]:
        self._meter.noted(kind, sum(answer is None for answer in answers))
        for claim, answer in zip(claims, answers, strict=True):
            if isinstance(answer, Fenced):
                self._meter.fenced("generation")
                about = {"worker_id": claim.worker_id, "reason": str(answer)}
                log.warning("report refused", extra=about)
        return answers
