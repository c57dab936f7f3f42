"""Reads the fields of an input, each with its check: one clear error names the first wrong one."""

import json
import math
from collections.abc import Collection, Iterable, Mapping
from enum import Enum
from typing import Any, Final

from muster_sdk.errors import InvalidInput

_SHOWN = 64


class _Required(Enum):
    REQUIRED = "required"


REQUIRED: Final = _Required.REQUIRED
"""In place of a default: the field has to be there."""


class Fields:
    """The fields of one JSON object. Each method takes one field, or the default where it is not
    there; `end` refuses what nobody took.

    Args:
        values: the object.
        path: what stands before the names of its fields in errors, as in `headers.`.
    """

    def __init__(self, values: Mapping[str, Any], path: str = "") -> None:
        self._values = values
        self._path = path
        self._taken: list[str] = []

    def text(
        self,
        name: str,
        default: str | _Required = REQUIRED,
        *,
        one_of: Collection[str] = (),
        most: int = 65536,
    ) -> str:
        """A string of at most `most` characters, or one of a few.

        Raises:
            InvalidInput: it is something else.
        """
        allowed = ", ".join(one_of) if one_of else f"text of 1 to {most} characters"
        value = self._take(name, default, allowed)
        wrong = not isinstance(value, str) or (
            value not in one_of if one_of else not 1 <= len(value) <= most
        )
        if wrong and value is not default:
            raise self.wrong(name, allowed, value)
        return str(value)

    def number(
        self, name: str, default: float | _Required = REQUIRED, *, least: float, most: float
    ) -> float:
        """A number from `least` to `most`.

        Raises:
            InvalidInput: it is something else.
        """
        allowed = f"a number from {least:g} to {most:g}"
        value = self._take(name, default, allowed)
        if not _is_number(value) or not least <= value <= most:
            raise self.wrong(name, allowed, value)
        return float(value)

    def whole(
        self, name: str, default: int | _Required = REQUIRED, *, least: int, most: int
    ) -> int:
        """A whole number from `least` to `most`.

        Raises:
            InvalidInput: it is something else.
        """
        allowed = f"a whole number from {least} to {most}"
        value = self._take(name, default, allowed)
        if not _is_number(value) or value != int(value) or not least <= value <= most:
            raise self.wrong(name, allowed, value)
        return int(value)

    def flag(self, name: str, default: bool | _Required = REQUIRED) -> bool:
        """True or false.

        Raises:
            InvalidInput: it is something else.
        """
        value = self._take(name, default, "true or false")
        if not isinstance(value, bool):
            raise self.wrong(name, "true or false", value)
        return value

    def texts(
        self,
        name: str,
        default: Iterable[str] | _Required = REQUIRED,
        *,
        least: int = 0,
        most: int = 1024,
    ) -> tuple[str, ...]:
        """A list of strings without NUL.

        Raises:
            InvalidInput: it is something else.
        """
        allowed = f"a list of {least} to {most} texts"
        value = self._take(name, default, allowed)
        if isinstance(value, tuple):
            return value
        if not isinstance(value, list) or not least <= len(value) <= most:
            raise self.wrong(name, allowed, value)
        for place, one in enumerate(value):
            if not isinstance(one, str) or "\0" in one:
                raise self.wrong(f"{name}[{place}]", "text without NUL", one)
        return tuple(value)

    def table(self, name: str, *, most: int = 256) -> dict[str, str]:
        """An object of strings; empty where it is not there. Errors don't show the values in it.

        Raises:
            InvalidInput: it is something else.
        """
        allowed = f"an object of at most {most} texts"
        value = self._take(name, {}, allowed)
        if not isinstance(value, Mapping) or len(value) > most:
            raise self.wrong(name, allowed, value)
        for key, one in value.items():
            if not isinstance(one, str) or "\0" in one:
                raise InvalidInput(f"{self._path}{name}.{key}", kind(one), "text without NUL")
        return dict(value)

    def anything(self, name: str, default: object = None) -> Any:
        """Any value."""
        return self._take(name, default, "")

    def wrong(self, name: str, allowed: str, value: object) -> InvalidInput:
        """The error for a field with this value."""
        return InvalidInput(self._path + name, shown(value), allowed)

    def end(self) -> None:
        """All fields are taken.

        Raises:
            InvalidInput: there is one that nobody took.
        """
        for name in self._values:
            if name not in self._taken:
                known = ", ".join(sorted(self._taken))
                raise InvalidInput(f"{self._path}{name[:_SHOWN]}", "unknown", known)

    def _take(self, name: str, default: object, allowed: str) -> Any:
        self._taken.append(name)
        value = self._values.get(name)
        if value is not None:
            return value
        if default is REQUIRED:
            raise InvalidInput(self._path + name, "missing", allowed)
        return default


def shown(value: object) -> str:
    """A value for an error: short, and JSON where it can be."""
    try:
        text = json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        return kind(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def kind(value: object) -> str:
    """What a value is, for an error that must not show it."""
    match value:
        case None:
            return "null"
        case bool():
            return "a truth value"
        case str():
            return f"a text of {len(value)} characters"
        case int() | float():
            return "a number"
        case Mapping():
            return "an object"
        case _:
            return "a list"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
