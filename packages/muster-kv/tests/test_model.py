"""The data model under all that a network and clients do, and its rules broken one by one."""

import os

import pytest

from .model import Rules, World

# More by command: MUSTER_KV_SEEDS=100000 pytest packages/muster-kv/tests/test_model.py
SEEDS = int(os.environ.get("MUSTER_KV_SEEDS", "40"))


@pytest.mark.parametrize(
    ("rules", "replicas"),
    [
        (Rules(), 3),
        (Rules(), 5),
        (Rules(keyed=0, reading=0, upkeep=False), 3),
        (Rules(keyed=0.2, reading=0), 3),
        (Rules(keyed=1), 3),
    ],
)
def test_no_acknowledged_write_is_lost_and_none_happens_twice(rules: Rules, replicas: int) -> None:
    acked = 0
    for seed in range(SEEDS):
        world = World(seed, rules, replicas)
        world.run(400)
        faults = world.faults()
        assert not faults, f"seed {seed}: {faults}"
        acked += sum(write.acked is not None for write in world.writes)
    assert acked > SEEDS  # the model does something


@pytest.mark.parametrize(
    ("rules", "steps", "seed", "fault"),
    [
        (Rules(coordinator_dots=True), 400, 0, "is lost"),
        (Rules(last_write_wins=True), 400, 0, "is lost"),
        (Rules(forget_ops=True), 400, 1, "came back"),
        (Rules(forget_counters=True), 400, 1844, "came back"),
        (Rules(purge_alone=True), 400, 3101, "came back"),
        (Rules(trust_lookup=True), 400, 150, "is lost"),
        (Rules(unspread_reads=True), 400, 668, "which replaced it"),
        (
            Rules(late_blind_takes=True, keyed=0, reading=0, upkeep=False),
            250,
            373,
            "came back",
        ),
        (Rules(bare_contexts=True, keyed=0.2, reading=0), 250, 143, "which replaced it"),
    ],
)
def test_a_broken_rule_is_found(rules: Rules, steps: int, seed: int, fault: str) -> None:
    """The seeds are the first to find it; if the model changes, the search goes on from there."""
    for number in range(seed, seed + 20_000):
        world = World(number, rules)
        world.run(steps)
        if any(fault in sentence for sentence in world.faults()):
            return
    pytest.fail(f"nobody noticed {rules}")
