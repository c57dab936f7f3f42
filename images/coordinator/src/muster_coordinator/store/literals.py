"""Arrays as PostgreSQL writes them, where there are many.

The driver looks at each element of an array several times, for what it might contain; a text costs
a fifth of that.
"""

from collections.abc import Iterable
from uuid import UUID


def uuids(values: Iterable[UUID]) -> str:
    """For a parameter `$1::text::uuid[]`."""
    return "{" + ",".join([value.hex for value in values]) + "}"


def integers(values: Iterable[int]) -> str:
    """For a parameter `$1::text::bigint[]`, or of another type of integers."""
    return "{" + ",".join([str(value) for value in values]) + "}"


def numbered(names: Iterable[str]) -> tuple[list[str], str]:
    """Names, each once, and the numbers among these, from 1, of all names.

    For parameters `$1::text[]` and `$2::text::bigint[]`.
    """
    numbers: dict[str, int] = {}
    places = integers([numbers.setdefault(name, len(numbers) + 1) for name in names])
    return list(numbers), places
