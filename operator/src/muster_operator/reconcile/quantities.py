"""Amounts of resources such as `500m`, `1.5Gi` or `2`, which have several ways to be written."""

import math
from decimal import Decimal

from kubernetes.utils.quantity import parse_quantity

_MOST = Decimal(2**63 - 1)


def same_amount(one: object, other: object) -> bool:
    """Whether both are quantities, and of the same amount."""
    try:
        return _thousandths(one) == _thousandths(other)
    except ValueError:
        return False


def _thousandths(quantity: object) -> int:
    # Rounded up and bounded, as the API server does with what a container asks for.
    amount: Decimal = parse_quantity(quantity)
    return math.ceil(min(amount, _MOST) * 1000)
