"""The workload type `command`: real programs."""

import os
from typing import Any

import pytest

from muster_sdk import Failed, InvalidInput
from muster_sdk.testing import Bench, Outcome, run
from muster_worker.processes import descendants
from muster_worker.workloads.command import Command


def _run(given: dict[str, Any], **options: Any) -> Any:
    return run(Command(), given, options=options).result


def test_a_program_runs_without_a_shell() -> None:
    assert _run({"argv": ["echo", "$HOME; ls", "*"]}) == {
        "exit_status": 0,
        "stdout": "$HOME; ls *\n",
        "stderr": "",
        "dropped_bytes": 0,
    }


def test_a_program_reads_what_it_is_given_however_much_that_is() -> None:
    given = "0123456789" * 50_000
    assert _run({"argv": ["wc", "-c"], "stdin": given})["stdout"].strip() == "500000"


def test_a_program_need_not_read_what_it_is_given() -> None:
    assert _run({"argv": ["true"], "stdin": "x" * 500_000})["exit_status"] == 0


def test_lines_of_both_outputs_are_lines_of_the_log() -> None:
    bench = Bench()
    script = "echo one; echo two >&2; printf three"
    run(Command(), {"argv": ["sh", "-c", script]}, context=bench)
    assert sorted(bench.lines) == [("info", "one"), ("info", "three"), ("warning", "two")]


def test_output_beyond_the_limit_is_dropped_and_counted() -> None:
    found = _run({"argv": ["head", "-c", "100000", "/dev/zero"]}, output_limit=1000)
    assert len(found["stdout"]) == 1000
    assert found["dropped_bytes"] == 99_000


def test_only_allowed_variables_reach_a_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKER_TOKEN", "secret")
    monkeypatch.setenv("REGION", "here")
    given = {"argv": ["env"], "env": {"REGION": "there"}}
    found = _run(given, allow_env=["PATH", "REGION", "NOWHERE"])
    names = dict(line.split("=", 1) for line in found["stdout"].splitlines())
    assert names == {"PATH": os.environ["PATH"], "REGION": "there"}


def test_an_expected_status_is_a_result() -> None:
    given = {"argv": ["sh", "-c", "exit 3"], "expected_status": [0, 3]}
    assert _run(given)["exit_status"] == 3


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["sh", "-c", "echo first >&2; echo last >&2; exit 3"], "sh ended with 3: last"),
        (["sh", "-c", "kill -9 $$"], "sh was killed by SIGKILL"),
        (["/no/such/program"], "/no/such/program can't be started here: No such file"),
        (["/etc/passwd"], "/etc/passwd can't be started here: Permission denied"),
    ],
)
def test_a_program_that_fails_says_how(argv: list[str], message: str) -> None:
    with pytest.raises(Failed) as failed:
        _run({"argv": argv})
    assert failed.value.message.startswith(message)
    assert failed.value.transient


def test_a_program_is_stopped_where_that_is_wished() -> None:
    outcome = run(Command(), {"argv": ["sleep", "600"]}, context=Bench(stop_at=0))
    assert outcome == Outcome(stopped=True)
    assert descendants(os.getpid()) == set()


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({}, "argv is missing; allowed: a list of 1 to 1024 texts"),
        ({"argv": "ls -l"}, 'argv is "ls -l"; allowed: a list of 1 to 1024 texts'),
        ({"argv": []}, "argv is []; allowed: a list of 1 to 1024 texts"),
        ({"argv": ["a", 1]}, "argv[1] is 1; allowed: text without NUL"),
        ({"argv": [""]}, 'argv[0] is ""; allowed: the name or path of a program'),
        ({"argv": ["a"], "stdin": 1}, "stdin is 1; allowed: text of 1 to 1048576 characters"),
        (
            {"argv": ["a"], "env": ["A=1"]},
            'env is ["A=1"]; allowed: an object of at most 256 texts',
        ),
        ({"argv": ["a"], "env": {"A": 1}}, "env.A is a number; allowed: text without NUL"),
        (
            {"argv": ["a"], "env": {"LD_PRELOAD": "x"}},
            "env.LD_PRELOAD is not allowed; allowed: LANG, LC_ALL, PATH, TZ",
        ),
        (
            {"argv": ["a"], "expected_status": 0},
            "expected_status is 0; allowed: a list of 1 to 256 whole numbers from 0 to 255",
        ),
        (
            {"argv": ["a"], "expected_status": [256]},
            "expected_status is [256]; allowed: a list of 1 to 256 whole numbers from 0 to 255",
        ),
        (
            {"argv": ["a"], "shell": True},
            "shell is unknown; allowed: argv, env, expected_status, stdin",
        ),
    ],
)
def test_what_cannot_be_right_is_named(given: dict[str, Any], error: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        _run(given)
    assert str(caught.value) == error


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"allow_env": "PATH"}, 'allow_env is "PATH"; allowed: a list of 0 to 1024 texts'),
        ({"output_limit": -1}, "output_limit is -1; allowed: a whole number from 0 to 262144"),
        ({"allow": []}, "allow is unknown; allowed: allow_env, output_limit"),
    ],
)
def test_an_option_that_cannot_be_right_is_named(options: dict[str, Any], error: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        _run({"argv": ["true"]}, **options)
    assert str(caught.value) == error
