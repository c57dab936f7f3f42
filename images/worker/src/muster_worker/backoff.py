"""How long to wait before the next try."""

DELAYS = (1.0, 2.0, 4.0, 8.0, 16.0)
JITTER = 0.25


def delay(failures: int, random: float) -> float:
    """Seconds to wait after `failures` failures in a row: 1, 2, 4, 8, then 16 without end.

    Args:
        failures: at least 1.
        random: from [0, 1); spreads the result by a quarter to both sides, so that many workers
            that lost the same coordinator do not come back in the same instant.
    """
    base = DELAYS[min(failures, len(DELAYS)) - 1]
    return base * (1 - JITTER + 2 * JITTER * random)
