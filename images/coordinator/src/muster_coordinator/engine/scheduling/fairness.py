"""Fair share: customers get parts of the fleet that are in proportion to their weights.

Weighted max-min fairness: the next workload is always one of the customer that has the least of
the fleet for its weight, counting what workers hold already (as in "Dominant Resource Fairness",
Ghodsi et al. 2011, for a single resource).
"""

import heapq
from collections import deque
from collections.abc import Iterable, Mapping

from muster_coordinator.engine.scheduling.placement import Candidate


def fair_order(
    candidates: Iterable[Candidate], weights: Mapping[str, float], held: Mapping[str, int]
) -> list[Candidate]:
    """Candidates in the order in which customers should be given them.

    Those of one customer stay in their order; customers that are not in `weights` weigh 1.
    """
    queues: dict[str, deque[Candidate]] = {}
    for candidate in candidates:
        queues.setdefault(candidate.customer_id, deque()).append(candidate)
    has = {customer: held.get(customer, 0) for customer in queues}
    # The order in which customers first come up decides between equals.
    heap = [
        (has[customer] / weights.get(customer, 1.0), place, customer)
        for place, customer in enumerate(queues)
    ]
    heapq.heapify(heap)
    ordered = []
    while heap:
        _, place, customer = heapq.heappop(heap)
        ordered.append(queues[customer].popleft())
        has[customer] += 1
        if queues[customer]:
            share = has[customer] / weights.get(customer, 1.0)
            heapq.heappush(heap, (share, place, customer))
    return ordered
