"""What can go wrong in the engine; the faces translate each into their own status codes."""


class EngineError(Exception):
    """Base of all errors that a caller of the engine can be told about."""


class InvalidRequest(EngineError):  # noqa: N818 - named after the cause, as all here
    """The caller sent something that can't be right; the text names field, value and allowed."""


class NotFound(EngineError):  # noqa: N818 - likewise
    """No such workload, worker, pool or key."""


class InvalidState(EngineError):  # noqa: N818 - likewise
    """The object is in a state that does not allow this."""


class Conflict(EngineError):  # noqa: N818 - likewise
    """The caller contradicts what it said before."""


class Fenced(EngineError):  # noqa: N818 - likewise
    """A worker reported on an assignment that is no longer its own."""


class StaleEpoch(EngineError):  # noqa: N818 - likewise
    """A leader wrote after another one had followed it; the write was refused."""


class QueueFull(EngineError):  # noqa: N818 - likewise
    """The queue takes no more; the caller may come back after `retry_after` seconds."""

    def __init__(self, message: str, retry_after: int = 5) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class OverLimit(QueueFull):
    """One customer has as much in the queue as it may; others are not concerned."""


class Unavailable(EngineError):  # noqa: N818 - likewise
    """Something the engine needs is away; the same request may succeed after `retry_after` s."""

    def __init__(self, message: str, retry_after: int = 2) -> None:
        super().__init__(message)
        self.retry_after = retry_after
