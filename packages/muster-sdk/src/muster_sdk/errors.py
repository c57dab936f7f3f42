"""How a task ends without a result."""

from muster_sdk.wish import Wish


class InvalidInput(ValueError):  # noqa: N818 - named after the cause, as all here
    """The input is at fault, and fails everywhere: the task is not tried again.

    Args:
        field: as in `headers.accept` or `argv[0]`.
        value: shows or describes what is there; no secret, as whoever sees the task reads it.
        allowed: what may be there.
    """

    def __init__(self, field: str, value: str, allowed: str) -> None:
        super().__init__(field, value, allowed)
        self.field = field
        self.value = value
        self.allowed = allowed

    def __str__(self) -> str:
        return f"{self.field} is {self.value}; allowed: {self.allowed}"


class Failed(Exception):  # noqa: N818 - likewise
    """The task failed, and the message says why to whoever submitted it.

    Args:
        transient: whether another try may succeed.
    """

    def __init__(self, message: str, *, transient: bool = True) -> None:
        super().__init__(message)
        self.message = message
        self.transient = transient


class Stopped(BaseException):
    """The task is to end before it has a result.

    No `Exception`, so that a workload that survives errors of its own does not survive this.
    """

    def __init__(self, wish: Wish) -> None:
        super().__init__(wish)
        self.wish = wish
