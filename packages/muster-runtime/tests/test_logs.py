import json
import logging
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from muster_runtime.logs import bind, configure


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def _lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_a_line_is_one_json_object_with_the_fields_of_its_record(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure("worker")
    logging.getLogger("some.where").warning("late by %d", 3, extra={"task_id": "t1"})
    (line,) = _lines(capsys)
    stamp = datetime.fromisoformat(line.pop("timestamp"))
    assert stamp.tzinfo is not None
    assert line.pop("caller").startswith("test_logs.py:")
    assert line == {
        "level": "warning",
        "component": "worker",
        "logger": "some.where",
        "message": "late by 3",
        "task_id": "t1",
    }


def test_bound_fields_are_on_the_lines_inside_only(capsys: pytest.CaptureFixture[str]) -> None:
    configure("worker")
    with bind(request_id="a"), bind(task_id="b"):
        logging.info("inside")
    logging.info("outside")
    inside, outside = _lines(capsys)
    assert (inside["request_id"], inside["task_id"]) == ("a", "b")
    assert "request_id" not in outside


def test_records_below_the_level_are_not_written(capsys: pytest.CaptureFixture[str]) -> None:
    configure("worker", level="error")
    logging.warning("quiet")
    assert _lines(capsys) == []


def test_an_exception_is_part_of_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure("worker")
    try:
        raise LookupError("gone")
    except LookupError:
        logging.exception("failed")
    (line,) = _lines(capsys)
    assert "LookupError: gone" in line["exc_info"]
