"""What a tenant may ask for."""

import pytest

from muster_kv.tenants import Durability
from muster_kv_coordinator.core.administration import PolicyChange
from muster_kv_coordinator.core.errors import ErrorCode, KvError
from muster_kv_coordinator.core.model import Policy


def test_where_a_write_is_when_it_is_acknowledged_is_one_of_two() -> None:
    assert PolicyChange(durability="Sync").applied_to(Policy()) == Policy()
    assert PolicyChange(durability="Async").applied_to(Policy()).durability is Durability.ASYNC
    with pytest.raises(KvError, match=r"durability: got .*Never.*; allowed: Sync, Async$") as wrong:
        PolicyChange(durability="Never").applied_to(Policy())
    assert wrong.value.code is ErrorCode.INVALID_REQUEST
