import signal

import pytest

from muster_worker.executor.causes import OUT_OF_MEMORY_STATUS, Remains, cause_of_death
from muster_worker.tasks import Reason

LIMIT = 512 * 2**20


def cause(
    returncode: int, *, allocation: bool = False, oom: bool = False, limit: int | None = LIMIT
) -> tuple[Reason, str]:
    return cause_of_death(Remains(returncode, allocation, oom, limit))


def test_an_allocation_beyond_the_limit_names_the_limit() -> None:
    expected = (Reason.OUT_OF_MEMORY, "out of memory: needs more than task_memory_limit, 512Mi")
    assert cause(OUT_OF_MEMORY_STATUS) == expected
    assert cause(-signal.SIGABRT, allocation=True) == expected


def test_without_a_limit_the_machine_is_to_blame() -> None:
    reason, sentence = cause(OUT_OF_MEMORY_STATUS, limit=None)
    assert reason is Reason.OUT_OF_MEMORY
    assert "task_memory_limit" not in sentence


def test_a_kill_counts_as_lack_of_memory_only_if_the_kernel_counted_one() -> None:
    assert cause(-signal.SIGKILL, oom=True)[0] is Reason.OUT_OF_MEMORY
    assert cause(-signal.SIGKILL) == (
        Reason.CRASHED,
        "the executing process was killed by SIGKILL",
    )


@pytest.mark.parametrize(
    ("returncode", "words"),
    [(-signal.SIGSEGV, "SIGSEGV"), (-signal.SIGABRT, "SIGABRT"), (1, "status 1")],
)
def test_a_crash_says_how(returncode: int, words: str) -> None:
    reason, sentence = cause(returncode)
    assert reason is Reason.CRASHED
    assert words in sentence


def test_only_wrong_input_is_wrong_everywhere() -> None:
    assert [reason for reason in Reason if not reason.transient] == [Reason.INVALID_INPUT]
