"""Priority with aging, as one number that never has to be computed again.

The score of a waiting workload is `priority * weight + 5 * minutes waited`. All scores grow at the
same rate, so their order is fixed at submission and can be indexed; nothing starves, because a
workload that came early enough is ahead of every later one, whatever its priority.
"""

POINTS_PER_SECOND = 5.0 / 60


def rank(priority: int, submitted: float, weight: float = 1.0) -> float:
    """The key to order a queue by, greatest first.

    Args:
        priority: 0 to 1000.
        submitted: Unix time, seconds; 0 where the database is to take off its own time, as the
            clocks of replicas differ.
        weight: of the customer's tier.
    """
    return priority * weight - POINTS_PER_SECOND * submitted
