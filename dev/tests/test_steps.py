import io
import re
from pathlib import Path

import pytest

from muster_dev.errors import SetupError
from muster_dev.steps import Steps, duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0s"), (9.94, "9.9s"), (9.96, "10s"), (59.4, "59s"), (60, "1m00s"), (362, "6m02s")],
)
def test_durations_are_written_for_people(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_in_ci_each_step_is_one_line_at_its_end() -> None:
    out = io.StringIO()
    with Steps(out).step("Build it") as step:
        step.note("3 files")
    assert re.fullmatch(r"  ok +\d+(\.\d)?s  Build it \(3 files\)\n", out.getvalue())


def test_a_step_that_fails_says_so() -> None:
    out = io.StringIO()
    with pytest.raises(RuntimeError), Steps(out).step("Build it"):
        raise RuntimeError
    assert out.getvalue().startswith("FAIL")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_the_running_step_is_drawn_and_then_replaced() -> None:
    out = Terminal()
    with Steps(out).step("Build it"):
        assert re.match(r" \.\.\. Build it \d+(\.\d)?s", out.getvalue())
    assert "\r\033[K" in out.getvalue()
    assert out.getvalue().endswith("Build it\n")


def test_a_failure_shows_the_end_of_its_log_and_what_to_do(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("\n".join(f"line {n}" for n in range(100)))
    out = io.StringIO()
    Steps(out).failed(SetupError("It did not work.", hint="Try again.", log=log))
    assert "error: It did not work." in out.getvalue()
    assert "  | line 99\n" in out.getvalue()
    assert "line 80" not in out.getvalue()
    assert str(log) in out.getvalue()
    assert out.getvalue().rstrip().endswith("Try again.")
