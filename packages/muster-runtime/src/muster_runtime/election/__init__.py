"""Leader election: by a Kubernetes Lease, or by a PostgreSQL advisory lock outside Kubernetes.

An elected leader is only probably alone: a process that was stopped and continued still believes.
Every write of a leader must therefore be fenced where it is stored, by an epoch that rises.

Leases are in `kube_lease`, which whoever needs them imports: the client of the Kubernetes API takes
longer to import than all else here.
"""

from muster_runtime.election.advisory_lock import AdvisoryLockElector
from muster_runtime.election.elector import Elector, LeaseElector
from muster_runtime.election.record import LeaseRecord, Term, Timings
from muster_runtime.election.reign import Lead

__all__ = [
    "AdvisoryLockElector",
    "Elector",
    "Lead",
    "LeaseElector",
    "LeaseRecord",
    "Term",
    "Timings",
]
