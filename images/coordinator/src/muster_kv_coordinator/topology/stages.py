"""The order in which a migration is carried out; pure.

Clearing: nodes that are to get ranges drop what they may still have of them, from before; nobody
reads or writes it there. Copying: writes go to the old and the new owners, the data of the old are
copied. Settling: the same writes, reads go to the new. Cleaning: the old drop what they own no
more. A migration that is cancelled goes back while it clears or copies, never later.
"""

from dataclasses import dataclass
from enum import Enum, StrEnum


class Stage(StrEnum):
    """Where a migration is; stored, so that another leader goes on from there."""

    WAITING = "waiting"
    CLEARING = "clearing"
    COPYING = "copying"
    SETTLING = "settling"
    CLEANING = "cleaning"
    UNDOING = "undoing"
    ENDED = "ended"


class Action(Enum):
    """What the leader does next."""

    WAIT = "wait"
    CLEAR = "clear"
    MOVE = "move"
    COPY = "copy"
    SWITCH = "switch"
    SETTLE = "settle"
    CLEAN = "clean"
    COMPLETE = "complete"
    GO_BACK = "go back"
    UNDO = "undo"
    CANCEL = "cancel"


@dataclass(frozen=True, slots=True)
class Seen:
    """What decides.

    Args:
        spread: nodes hold the ring in force, so that the next step may be taken.
        done: the work of this stage is done.
    """

    stage: Stage
    cancelled: bool
    spread: bool
    done: bool


_BY_STAGE = {
    # What is to be done in a stage, and what follows when it is.
    Stage.CLEARING: (Action.CLEAR, Action.MOVE),
    Stage.COPYING: (Action.COPY, Action.SWITCH),
    Stage.SETTLING: (Action.SETTLE, Action.SETTLE),
    Stage.CLEANING: (Action.CLEAN, Action.COMPLETE),
    Stage.UNDOING: (Action.UNDO, Action.CANCEL),
}


def next_action(seen: Seen) -> Action:
    """What comes next for a migration that has begun."""
    if seen.cancelled and seen.stage is Stage.CLEARING:
        return Action.CANCEL
    if not seen.spread or seen.stage not in _BY_STAGE:
        return Action.WAIT
    if seen.cancelled and seen.stage is Stage.COPYING:
        return Action.GO_BACK
    work, after = _BY_STAGE[seen.stage]
    return after if seen.done else work
