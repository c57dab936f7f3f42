"""Reading single values of a request: integers, field elements, blindings.

Secret values are described, not shown, by the errors raised here.
"""

import re
import secrets
from collections.abc import Mapping
from typing import Any

from muster_proving.errors import InvalidInput

_DECIMAL = re.compile(r"[0-9]{1,80}")
_HEX = re.compile(r"(?:0[xX])?[0-9a-fA-F]{1,64}")
_PREFIXED_HEX = re.compile(r"0[xX][0-9a-fA-F]{1,64}")
_SHOWN = 40


def show(value: object) -> str:
    """A public value as it was given, shortened."""
    text = repr(value[: _SHOWN + 1] if isinstance(value, str) else value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def describe(value: object) -> str:
    """What kind of thing a secret value is, and how large, without the value."""
    match value:
        case None:
            return "missing"
        case bool():
            return "a boolean"
        case int():
            return f"an integer of {value.bit_length()} bits{' below 0' if value < 0 else ''}"
        case str():
            return f"a string of {len(value)} characters"
        case list():
            return f"a list of {len(value)} entries"
        case _:
            return f"of type {type(value).__name__}"


def check_fields(given: Mapping[str, Any], known: tuple[str, ...]) -> None:
    """Refuse fields that the circuit does not have, so that a misspelt one is not ignored."""
    for field in given:
        if field not in known:
            raise InvalidInput(show(field), "not a field of the inputs", ", ".join(known))


def decimal(field: str, value: object, *, below: int, allowed: str, secret: bool) -> int:
    """An integer from 0 to `below` - 1, given as a number or as decimal digits."""
    number = None
    if isinstance(value, int) and not isinstance(value, bool):
        number = value
    elif isinstance(value, str) and _DECIMAL.fullmatch(value):
        number = int(value)
    if number is None or not 0 <= number < below:
        shown = describe(value) if secret or value is None else show(value)
        raise InvalidInput(field, shown, allowed)
    return number


def hex_element(field: str, value: object, modulus: int, allowed: str) -> int:
    """A field element given as hex digits, with or without 0x, of odd or even length."""
    if isinstance(value, str) and _HEX.fullmatch(value):
        number = int(value, 16)
        if number < modulus:
            return number
        raise InvalidInput(field, "not below the modulus", allowed)
    raise InvalidInput(field, describe(value), allowed)


def blinding(field: str, value: object, modulus: int) -> int:
    """A blinding factor: a decimal or 0x-hex number below the modulus, random if not given."""
    if value is None:
        return secrets.randbelow(modulus)
    if isinstance(value, str) and _PREFIXED_HEX.fullmatch(value):
        value = int(value, 16)
    allowed = "a decimal or 0x-hex number below the field's modulus, or nothing for a random one"
    return decimal(field, value, below=modulus, allowed=allowed, secret=True)
