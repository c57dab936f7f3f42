"""What a task says while it runs."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Line:
    """A line of its log; `at_ms` is Unix time in milliseconds."""

    at_ms: int
    level: str
    message: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Notes:
    """What there is to tell; the latest progress and the latest checkpoint say it all.

    Attributes:
        progress: percent, and a message.
        checkpoint: what the task can go on from.
    """

    progress: tuple[float, str] | None = None
    lines: tuple[Line, ...] = field(default=(), repr=False)
    checkpoint: bytes | None = field(default=None, repr=False)

    def __bool__(self) -> bool:
        return self.progress is not None or bool(self.lines) or self.checkpoint is not None
