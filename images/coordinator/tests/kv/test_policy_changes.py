"""What a tenant may ask for."""

import pytest

from muster_kv_coordinator.core.administration import PolicyChange
from muster_kv_coordinator.core.errors import ErrorCode, KvError
from muster_kv_coordinator.core.model import Policy


def test_no_write_is_acknowledged_before_it_is_on_the_disks() -> None:
    assert PolicyChange(durability="Sync").applied_to(Policy()) == Policy()
    with pytest.raises(KvError, match=r"durability: got .*Async.*; allowed: Sync$") as wrong:
        PolicyChange(durability="Async").applied_to(Policy())
    assert wrong.value.code is ErrorCode.INVALID_REQUEST
