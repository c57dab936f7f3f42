"""The names that clients of the broker rely on."""

import pytest

from muster_broker.subjects import Subjects


def test_the_names_are_those_of_the_contract() -> None:
    subjects = Subjects()
    assert subjects.events == "coordinator.events"
    assert subjects.broadcast == "coordinator.broadcast"
    assert subjects.commands("w-1") == "worker.w-1.commands"
    assert subjects.status("w-1") == "worker.w-1.status"


def test_a_prefix_parts_coordinators_on_one_server() -> None:
    subjects = Subjects("demo")
    assert subjects.events == "demo.coordinator.events"
    assert subjects.status("w") == "demo.worker.w.status"
    assert subjects.events_stream == "MUSTER_demo_EVENTS"
    assert subjects.events_stream != Subjects().events_stream


@pytest.mark.parametrize("prefix", ["", "demo"])
@pytest.mark.parametrize("worker_id", ["w", "pool-7c.ns", "a.b.c"])
def test_a_dot_in_a_name_is_no_level(prefix: str, worker_id: str) -> None:
    subjects = Subjects(prefix)
    status = subjects.status(worker_id)
    assert status.count(".") == subjects.statuses.count(".")
    assert subjects.worker_of(status) == worker_id
