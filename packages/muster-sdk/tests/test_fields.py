"""One clear error for what cannot be right: field, value, and what is allowed."""

from collections.abc import Callable
from typing import Any

import pytest

from muster_sdk import Fields, InvalidInput

Read = Callable[[Fields], object]


def text(fields: Fields) -> str:
    return fields.text("f", most=3)


def choice(fields: Fields) -> str:
    return fields.text("f", one_of=("GET", "PUT"))


def number(fields: Fields) -> float:
    return fields.number("f", least=0, most=2.5)


def whole(fields: Fields) -> int:
    return fields.whole("f", least=-1, most=9)


def flag(fields: Fields) -> bool:
    return fields.flag("f")


def texts(fields: Fields) -> tuple[str, ...]:
    return fields.texts("f", least=1, most=2)


def table(fields: Fields) -> dict[str, str]:
    return fields.table("f", most=1)


@pytest.mark.parametrize(
    ("read", "value", "found"),
    [
        (text, "abc", "abc"),
        (choice, "PUT", "PUT"),
        (number, 2, 2.0),
        (whole, 9, 9),
        (whole, 9.0, 9),
        (flag, False, False),
        (texts, ["a", ""], ("a", "")),
        (table, {"a": "b"}, {"a": "b"}),
    ],
)
def test_what_is_allowed_is_read(read: Read, value: object, found: object) -> None:
    fields = Fields({"f": value})
    assert read(fields) == found
    fields.end()


@pytest.mark.parametrize(
    ("read", "value", "error"),
    [
        (text, "", 'f is ""; allowed: text of 1 to 3 characters'),
        (text, "abcd", 'f is "abcd"; allowed: text of 1 to 3 characters'),
        (text, 7, "f is 7; allowed: text of 1 to 3 characters"),
        (text, "x" * 99, f'f is "{"x" * 63}…; allowed: text of 1 to 3 characters'),
        (choice, "DROP", 'f is "DROP"; allowed: GET, PUT'),
        (number, 3, "f is 3; allowed: a number from 0 to 2.5"),
        (number, float("nan"), "f is NaN; allowed: a number from 0 to 2.5"),
        (number, True, "f is true; allowed: a number from 0 to 2.5"),
        (whole, 1.5, "f is 1.5; allowed: a whole number from -1 to 9"),
        (whole, "1", 'f is "1"; allowed: a whole number from -1 to 9'),
        (flag, 1, "f is 1; allowed: true or false"),
        (texts, [], "f is []; allowed: a list of 1 to 2 texts"),
        (texts, "ab", 'f is "ab"; allowed: a list of 1 to 2 texts'),
        (texts, ["a", 1], "f[1] is 1; allowed: text without NUL"),
        (texts, ["a\0"], 'f[0] is "a\\u0000"; allowed: text without NUL'),
        (table, [], "f is []; allowed: an object of at most 1 texts"),
        (table, {"k": 7}, "f.k is a number; allowed: text without NUL"),
    ],
)
def test_what_is_not_is_named(read: Read, value: object, error: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read(Fields({"f": value}))
    assert str(caught.value) == error


@pytest.mark.parametrize("given", [{}, {"f": None}])
@pytest.mark.parametrize("read", [text, choice, number, whole, flag, texts])
def test_a_field_without_a_default_has_to_be_there(read: Read, given: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=r"^f is missing; allowed: "):
        read(Fields(given))


def test_a_default_stands_for_what_is_not_there() -> None:
    fields = Fields({})
    assert fields.text("a", "") == ""
    assert fields.number("b", 0.5, least=0, most=1) == 0.5
    assert fields.whole("c", 3, least=0, most=9) == 3
    assert fields.flag("d", default=True) is True
    assert fields.texts("e", ("x",)) == ("x",)
    assert fields.table("f") == {}
    assert fields.anything("g", [0]) == [0]
    fields.end()


def test_what_nobody_reads_is_refused() -> None:
    fields = Fields({"seconds": 1, "sceonds": 2}, path="input.")
    fields.number("seconds", least=0, most=9)
    with pytest.raises(InvalidInput) as caught:
        fields.end()
    assert str(caught.value) == "input.sceonds is unknown; allowed: seconds"
