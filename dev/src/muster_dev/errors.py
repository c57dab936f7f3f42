"""The one way in which the tool says that it cannot go on."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class SetupError(Exception):
    """Something the user has to know, in one clear sentence.

    ``hint`` says what to do about it; ``log`` is the file whose last lines are worth a look.
    """

    def __init__(self, message: str, *, hint: str = "", log: Path | None = None) -> None:
        super().__init__(message)
        self.hint = hint
        self.log = log
