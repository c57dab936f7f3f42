from pathlib import Path

import pytest

from muster_worker.reports import Completion, Failure, decode, encode
from muster_worker.spool import Spool
from muster_worker.tasks import Reason, Ticket

DONE = Completion(
    task_id="../../etc/passwd",
    generation=3,
    started=True,
    output=bytes(range(256)),
    metadata_json='{"public": ["1"]}',
    merkle_root="0x1",
    duration_ms=174,
)
FAILED = Failure(
    task_id="task-2", generation=1, started=False, reason=Reason.TIMEOUT, message="too late"
)


@pytest.mark.parametrize("report", [DONE, FAILED])
def test_a_report_reads_back_as_it_was(report: Completion | Failure) -> None:
    assert decode(encode(report)) == report


def test_reports_survive_a_new_process(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "worker-1")
    spool.store(DONE)
    spool.store(FAILED)
    again = Spool(tmp_path, "worker-1").reports()
    assert sorted(again, key=lambda report: report.kind) == [DONE, FAILED]


def test_a_task_id_never_leaves_the_directory(tmp_path: Path) -> None:
    directory = tmp_path / "spool"
    directory.mkdir()
    Spool(directory, "worker-1").store(DONE)
    assert [path.parent for path in tmp_path.rglob("*.json")] == [directory]


def test_a_removed_report_is_gone(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "worker-1")
    spool.store(DONE)
    spool.remove(DONE.ticket)
    spool.remove(Ticket("never stored", 1))
    assert spool.reports() == []


def test_generations_of_one_task_do_not_meet(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "worker-1")
    spool.store(DONE)
    spool.remove(Ticket(DONE.task_id, 2))
    assert spool.reports() == [DONE]


def test_another_workers_reports_are_left_alone(tmp_path: Path) -> None:
    Spool(tmp_path, "worker-1").store(DONE)
    assert Spool(tmp_path, "worker-2").reports() == []


def test_a_damaged_report_is_set_aside_and_the_others_are_read(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "worker-1")
    spool.store(FAILED)
    (damaged,) = tmp_path.iterdir()
    damaged.write_bytes(damaged.read_bytes()[:-9])
    spool.store(DONE)
    assert spool.reports() == [DONE]
    assert spool.reports() == [DONE]
    assert len(list(tmp_path.glob("*.damaged"))) == 1


def test_half_written_files_are_swept_away(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "worker-1")
    spool.store(DONE)
    (whole,) = tmp_path.iterdir()
    whole.with_name(f"{whole.name}.123.partial").write_bytes(b"{")
    assert spool.reports() == [DONE]
    assert list(tmp_path.iterdir()) == [whole]


def test_only_the_worker_can_read_them(tmp_path: Path) -> None:
    Spool(tmp_path, "worker-1").store(DONE)
    (path,) = tmp_path.iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
