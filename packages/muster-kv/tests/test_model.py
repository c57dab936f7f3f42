"""The data model under all that a network and clients do, and its rules broken one by one."""

import os

import pytest

from .model import Rules, World

# More by command: MUSTER_KV_SEEDS=100000 pytest packages/muster-kv/tests/test_model.py
SEEDS = int(os.environ.get("MUSTER_KV_SEEDS", "600"))


@pytest.mark.parametrize("replicas", [3, 5])
def test_no_acknowledged_write_is_lost_and_none_happens_twice(replicas: int) -> None:
    acked = 0
    for seed in range(SEEDS):
        world = World(seed, replicas=replicas)
        world.run(400)
        faults = world.faults()
        assert not faults, f"seed {seed}: {faults}"
        acked += sum(write.acked is not None for write in world.writes)
    assert acked > 2 * SEEDS  # the model does something


@pytest.mark.parametrize(
    ("rules", "fault"),
    [
        (Rules(coordinator_dots=True), "lost"),
        (Rules(last_write_wins=True), "lost"),
        (Rules(late_blind_takes=True), "lost"),
        (Rules(forget_ops=True), "came back"),
        (Rules(forget_counters=True), "lost"),
        (Rules(purge_alone=True), "came back"),
        (Rules(trust_lookup=True), "lost"),
        (Rules(bare_contexts=True), "replaced"),
        (Rules(unspread_reads=True), "replaced"),
    ],
)
@pytest.mark.parametrize("replicas", [3])
def test_a_broken_rule_is_found(rules: Rules, fault: str, replicas: int) -> None:
    for seed in range(20_000):
        world = World(seed, rules, replicas)
        world.run(400)
        if any(fault in sentence for sentence in world.faults()):
            return
    pytest.fail(f"nobody noticed {rules}")
