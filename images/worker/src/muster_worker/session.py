"""The life of the connection to the coordinator: pure decisions, state and event to state.

PREPARING ── keys loaded ──> REGISTERING ── registered ──> SERVING
    ^  ^                          |                           |
    |  └────────── waited ── WAITING <── call failed ─────────┤ stream ended too soon
    └── stream ended, forgotten, heartbeats missed ───────────┘
"""

from dataclasses import dataclass, replace
from enum import Enum, auto

from muster_worker.backoff import delay

STEADY_SECONDS = 1.0
"""A stream that lived this long is reopened at once; a shorter one counts as a failed try."""

MISSED_HEARTBEATS = 3
"""So many unanswered heartbeats in a row mean that the connection is dead, even if it looks open.

Pings find a dead peer sooner; not one whose connections live while its process hangs.
"""


class Phase(Enum):
    """What the connection does next."""

    PREPARING = auto()
    """Ask for the pool's keys and load them."""
    REGISTERING = auto()
    SERVING = auto()
    """Registered, and the stream of assignments is open."""
    WAITING = auto()
    """Pause for `Session.delay` seconds."""


class Event(Enum):
    """What happened to the connection."""

    KEYS_LOADED = auto()
    REGISTERED = auto()
    CALL_FAILED = auto()
    WAITED = auto()
    STREAM_BROKE = auto()
    """The stream ended after a steady life."""
    STREAM_REFUSED = auto()
    """The stream ended before `STEADY_SECONDS`."""
    HEARTBEAT_ANSWERED = auto()
    HEARTBEAT_MISSED = auto()
    FORGOTTEN = auto()
    """The coordinator answered that it does not know this worker."""
    EXECUTORS_LOST = auto()
    """No process can be had to execute tasks with the loaded keys."""


@dataclass(frozen=True, slots=True)
class Session:
    """Where the connection stands.

    Attributes:
        failures: failed tries since the last steady stream.
        missed: heartbeats in a row without an answer.
        delay: seconds to pause while WAITING.
    """

    phase: Phase = Phase.PREPARING
    failures: int = 0
    missed: int = 0
    delay: float = 0.0


def advance(session: Session, event: Event, random: float) -> Session:
    """The state after `event`.

    Args:
        session: the state before.
        event: what happened; one that means nothing in the current phase changes nothing.
        random: from [0, 1), for the jitter of a pause.
    """
    after = session
    match session.phase, event:
        case Phase.PREPARING, Event.KEYS_LOADED:
            after = replace(session, phase=Phase.REGISTERING)
        case Phase.REGISTERING, Event.REGISTERED:
            after = replace(session, phase=Phase.SERVING, missed=0)
        case (Phase.PREPARING | Phase.REGISTERING, Event.CALL_FAILED) | (
            Phase.SERVING,
            Event.STREAM_REFUSED,
        ):
            failures = session.failures + 1
            after = Session(Phase.WAITING, failures, delay=delay(failures, random))
        case Phase.WAITING, Event.WAITED:
            after = replace(session, phase=Phase.PREPARING, delay=0.0)
        case Phase.SERVING, Event.STREAM_BROKE | Event.FORGOTTEN:
            after = Session(Phase.PREPARING)
        case Phase.REGISTERING | Phase.SERVING, Event.EXECUTORS_LOST:
            after = replace(session, phase=Phase.PREPARING)
        case Phase.SERVING, Event.HEARTBEAT_MISSED:
            missed = session.missed + 1
            dead = missed >= MISSED_HEARTBEATS
            after = Session(Phase.PREPARING) if dead else replace(session, missed=missed)
        case Phase.SERVING, Event.HEARTBEAT_ANSWERED:
            after = replace(session, missed=0, failures=0)
        case _:
            pass  # what the event says is no news in this phase
    return after
