"""The last lines of a bench and its JSON say the same."""

import json
import re
from pathlib import Path

import pytest

from bench.figures import Figure, publish

KEPT = Figure("a_cpu", "ms", 3.0, 4.0, "other", limit=0.76)
BROKEN = Figure("b_cpu", "ms", 3.0, 4.0, "other", limit=0.75)
FREE = Figure("c_cpu", "ms", 9.0, 4.0, "other")


def test_lines_come_last_and_equal_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    versions = {"other": "1.2"}
    assert publish(
        "x", [KEPT, FREE], command="make x", versions=versions, details={}, results=tmp_path
    )
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["a_cpu ours=3 anchor=4 ratio=0.750", "c_cpu ours=9 anchor=4 ratio=2.250"]
    document = json.loads((tmp_path / "x.json").read_text())
    assert document["command"] == "make x"
    assert document["versions"] == versions
    assert [figure["metric"] for figure in document["figures"]] == ["a_cpu", "c_cpu"]
    assert [figure["ratio"] for figure in document["figures"]] == [0.75, 2.25]


def test_every_line_has_the_one_form() -> None:
    form = re.compile(r"[a-z0-9_]+ ours=\S+ anchor=\S+ ratio=[0-9.]+")
    for ours, anchor in [(1e-9, 3.0), (123456.789, 0.001), (0.0, 1.0)]:
        assert form.fullmatch(Figure("m_1", "s", ours, anchor, "x").line())


def test_a_promise_may_be_absolute(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = Figure("d_ms", "ms", 1.0, 4.0, "other", most=1.0)
    assert publish("x", [kept], command="", versions={}, details={}, results=tmp_path)
    broken = Figure("d_ms", "ms", 1.1, 4.0, "other", most=1.0)
    assert not publish("x", [broken], command="", versions={}, details={}, results=tmp_path)
    assert capsys.readouterr().err == "d_ms: ours must be at most 1.0 ms\n"


def test_more_may_be_better(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = Figure("e_per_second", "1/s", 6.0, 5.0, "other", least=1.2)
    assert publish("x", [kept], command="", versions={}, details={}, results=tmp_path)
    broken = Figure("e_per_second", "1/s", 5.9, 5.0, "other", least=1.2)
    assert not publish("x", [broken], command="", versions={}, details={}, results=tmp_path)
    assert capsys.readouterr().err == "e_per_second: the ratio must be at least 1.2\n"


def test_ours_alone_may_have_to_reach_something(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = Figure("f_per_second", "1/s", 10.0, 50.0, "other", floor=10.0)
    assert publish("x", [kept], command="", versions={}, details={}, results=tmp_path)
    broken = Figure("f_per_second", "1/s", 9.9, 5.0, "other", floor=10.0)
    assert not publish("x", [broken], command="", versions={}, details={}, results=tmp_path)
    assert capsys.readouterr().err == "f_per_second: ours must be at least 10.0 1/s\n"


def test_a_broken_promise_is_said_and_returned(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = publish("x", [KEPT, BROKEN], command="", versions={}, details={}, results=tmp_path)
    assert not kept
    assert capsys.readouterr().err == "b_cpu: the ratio must stay below 0.75\n"
