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
