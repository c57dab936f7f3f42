"""The catalogue of words is closed, and no word of it is idle."""

from pathlib import Path

import pytest

import muster_operator
from muster_api.conditions import ConditionType, Documented, EventReason, Reason

CODE = "\n".join(
    path.read_text() for path in Path(next(iter(muster_operator.__path__))).rglob("*.py")
)
WORDS = [*ConditionType, *Reason, *EventReason]


@pytest.mark.parametrize("word", WORDS, ids=lambda word: f"{type(word).__name__}.{word.name}")
def test_every_word_is_said_somewhere(word: Documented) -> None:
    assert f"{type(word).__name__}.{word.name}" in CODE
