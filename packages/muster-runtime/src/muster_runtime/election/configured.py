"""The elector that a configuration asks for."""

import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Literal, Self

from pydantic import model_validator

from muster_runtime.config import Section, Span
from muster_runtime.election.advisory_lock import AdvisoryLockElector
from muster_runtime.election.elector import Elector, LeaseElector
from muster_runtime.election.record import Timings


class ElectionSection(Section):
    """How replicas agree on their leader."""

    backend: Literal["lease", "advisory-lock"] = "lease"
    lease_name: str = ""
    namespace: str = ""
    lease_duration: Span = timedelta(seconds=15)
    renew_deadline: Span = timedelta(seconds=10)
    retry_period: Span = timedelta(seconds=2)

    @property
    def timings(self) -> Timings:
        """The three times in seconds."""
        return Timings(
            self.lease_duration.total_seconds(),
            self.renew_deadline.total_seconds(),
            self.retry_period.total_seconds(),
        )

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.retry_period < self.renew_deadline < self.lease_duration:
            raise ValueError("retry_period < renew_deadline < lease_duration")
        return self


@contextlib.asynccontextmanager
async def open_elector(
    section: ElectionSection, identity: str, *, dsn: str, lock: str, namespace: str
) -> AsyncIterator[Elector]:
    """The elector of a replica, and its connection to the API server where it needs one.

    Args:
        identity: the replica's name.
        dsn: the database, for an advisory lock.
        lock: the name of that lock where `section` gives none.
        namespace: of the Lease where `section` gives none.
    """
    if section.backend == "advisory-lock":
        yield AdvisoryLockElector(dsn, section.lease_name or lock, identity, section.timings)
        return
    # Imported where it is used: Kubernetes' client costs a start a third of its time.
    from muster_runtime.election.kube_lease import kube_leases
    from muster_runtime.kube import connect

    async with connect() as api:
        leases = kube_leases(api, section.namespace or namespace, section.lease_name)
        yield LeaseElector(leases, identity, section.timings)
