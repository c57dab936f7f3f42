"""What the control plane wishes of a task that runs."""

from enum import StrEnum


class Wish(StrEnum):
    """What a running task should do."""

    NONE = ""
    PAUSE = "pause"
    """Stop where the state is whole, to go on from there later, perhaps on another worker."""
    CANCEL = "cancel"
    """Stop; nobody wants the result. What does not stop by itself is killed."""
