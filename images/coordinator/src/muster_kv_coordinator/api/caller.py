"""Who asks, how much time there is, and what a face may want to tell besides the answer."""

from dataclasses import dataclass

from muster_kv_coordinator.core.asking import BegunQuestion
from muster_kv_coordinator.core.ratelimit import Allowance
from muster_kv_coordinator.core.spread import BegunWrite


@dataclass(slots=True)
class Caller:
    """One request's surroundings.

    Args:
        authorization: the header or metadata of that name.
        common_name: of a client's certificate that an authority of ours has signed.
        seconds: that the client waits; None where it did not say.
        begun: what has become of this request already, where a front began with it.

    Attributes:
        allowance: what the tenant has left, once that is known.
        retry_after: seconds after which the same may succeed, where it failed for a while.
    """

    authorization: str = ""
    common_name: str = ""
    seconds: float | None = None
    begun: BegunQuestion | BegunWrite | None = None
    allowance: Allowance | None = None
    retry_after: float | None = None
