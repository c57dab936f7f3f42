"""Label selectors in the form of a query parameter; pure."""

import re
from collections.abc import Callable, Mapping

Matches = Callable[[Mapping[str, str]], bool]

_KEY = r"(?P<key>[A-Za-z0-9][-A-Za-z0-9_./]*)"
_SET = re.compile(rf"^{_KEY}\s+(?P<operator>in|notin)\s+\((?P<values>[^()]*)\)$")
_EQUALITY = re.compile(rf"^{_KEY}\s*(?P<operator>==|=|!=)\s*(?P<value>[-A-Za-z0-9_.]*)$")
_EXISTENCE = re.compile(rf"^(?P<operator>!?)\s*{_KEY}$")
_BETWEEN = re.compile(r",(?![^()]*\))")


class SelectorError(ValueError):
    """The text is no label selector."""


def parse_selector(text: str) -> Matches:
    """A predicate on labels for `a=b`, `a!=b`, `a in (b,c)`, `a notin (b)`, `a` and `!a`, joined
    by commas; the empty text matches all.

    Raises:
        SelectorError: the text is none of that.
    """
    parts = [_requirement(part.strip()) for part in _BETWEEN.split(text)] if text.strip() else []
    return lambda labels: all(holds(labels) for holds in parts)


def _requirement(text: str) -> Matches:
    if match := _SET.match(text):
        key = match["key"]
        values = {value.strip() for value in match["values"].split(",")}
        if match["operator"] == "in":
            return lambda labels: labels.get(key) in values
        return lambda labels: labels.get(key) not in values
    if match := _EQUALITY.match(text):
        key, value = match["key"], match["value"]
        if match["operator"] == "!=":
            return lambda labels: labels.get(key) != value
        return lambda labels: labels.get(key) == value
    if match := _EXISTENCE.match(text):
        key, absent = match["key"], bool(match["operator"])
        return lambda labels: (key in labels) is not absent
    raise SelectorError(f"{text!r} is no label selector; write proverpool=NAME")
