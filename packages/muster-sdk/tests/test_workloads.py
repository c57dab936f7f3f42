"""A workload's life, as its author tests it."""

import subprocess
import sys

import pytest

from muster_sdk import Context, Environment, Failed, Stopped, Task, Wish, Workload
from muster_sdk.testing import Bench, Outcome, run


class Steps(Workload):
    """Counts to `steps`; writes down what is asked of it."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self._done = 0

    def init(self, environment: Environment) -> None:
        self.calls.append(f"init {dict(environment.options)}")

    def execute(self, task: Task, context: Context) -> object:
        self._done = int(task.checkpoint or 0)
        while self._done < task.input["steps"]:
            try:
                context.safe_point()
            except Exception:  # noqa: BLE001 - a workload that survives its own errors
                self.calls.append("survived")
            self._done += 1
            context.progress(100 * self._done / task.input["steps"])
            context.log(f"step {self._done}", "debug")
            context.save(b"%d" % self._done)
        if task.input.get("fail"):
            raise Failed("told to", transient=False)
        return {"steps": self._done}

    def checkpoint(self) -> bytes:
        return b"%d" % self._done

    def close(self) -> None:
        self.calls.append("close")


def test_a_run_gives_its_result_and_keeps_what_was_said() -> None:
    steps, bench = Steps(), Bench()
    assert run(steps, {"steps": 2}, context=bench, options={"a": 1}) == Outcome({"steps": 2})
    assert steps.calls == ["init {'a': 1}", "close"]
    assert bench.reports == [(50, ""), (100, "")]
    assert bench.lines == [("debug", "step 1"), ("debug", "step 2")]
    assert bench.saved == [b"1", b"2"]


@pytest.mark.parametrize("wish", [Wish.PAUSE, Wish.CANCEL])
def test_a_run_stops_at_a_safe_point_though_it_survives_errors(wish: Wish) -> None:
    steps = Steps()
    stopped = run(steps, {"steps": 9}, context=Bench(stop_at=4, stop_wish=wish))
    assert stopped == Outcome(stopped=True, checkpoint=b"3")
    assert steps.calls == ["init {}", "close"]
    assert run(Steps(), {"steps": 9}, checkpoint=b"3").result == {"steps": 9}


def test_what_a_run_raises_comes_out_and_the_workload_is_closed() -> None:
    steps = Steps()
    with pytest.raises(Failed) as failed:
        run(steps, {"steps": 0, "fail": True})
    assert (failed.value.message, failed.value.transient) == ("told to", False)
    assert steps.calls[-1] == "close"


def test_a_stop_is_no_error_that_a_workload_could_survive() -> None:
    assert not issubclass(Stopped, Exception)


def test_importing_the_sdk_imports_nothing_but_python() -> None:
    script = (
        "import sys; import muster_sdk.testing; "
        "foreign = {name.partition('.')[0] for name in sys.modules} - sys.stdlib_module_names; "
        "print(sorted(name for name in foreign if not name.startswith('_')))"
    )
    found = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}; {script}"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert found == "['muster_sdk']\n"
