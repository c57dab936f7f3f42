from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from muster_runtime.config import (
    ConfigError,
    Duration,
    Quantity,
    Section,
    format_duration,
    load,
    parse_duration,
    parse_quantity,
)


class Engine(Section):
    port: int = Field(default=9090, ge=1, le=65535)
    poll_interval: Duration = timedelta(seconds=2)
    memory: Quantity = 0


class Document(Section):
    engine: Engine = Engine()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "engine.yaml"


def test_defaults_lie_under_the_file_and_the_environment_over_it(file: Path) -> None:
    file.write_text("engine: {port: 7000, poll_interval: 500ms}")
    read = load(Document, file, {"ENGINE_PORT": "8000", "OTHER": "x"})
    assert read.engine == Engine(port=8000, poll_interval=timedelta(milliseconds=500), memory=0)


def test_without_a_file_the_defaults_and_the_environment_make_the_whole() -> None:
    assert load(Document, None, {"ENGINE_MEMORY": "512Mi"}).engine.memory == 512 * 2**20


def test_every_error_is_named_at_once_with_key_value_and_what_is_allowed(file: Path) -> None:
    file.write_text("engine: {port: 99999, poll_interval: soon, prot: 1}\nengines: {}")
    with pytest.raises(ConfigError) as refused:
        load(Document, file, {})
    assert refused.value.errors == [
        "engine.port: got 99999; allowed: less than or equal to 65535",
        "engine.poll_interval: got 'soon'; allowed: a duration such as 500ms, 2s, 5m or 1h30m",
        "engine.prot: unknown key; remove it or correct its name",
        "engines: unknown key; remove it or correct its name",
    ]


def test_a_wrong_environment_variable_is_an_error_of_its_key() -> None:
    with pytest.raises(ConfigError, match=r"^engine\.port: got 'many'; allowed: a valid integer"):
        load(Document, None, {"ENGINE_PORT": "many"})


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("[1]", "holds no mapping"), ("a: [", "not YAML"), (None, "No such file")],
)
def test_a_file_that_is_no_configuration_is_refused(
    file: Path, text: str | None, sentence: str
) -> None:
    if text is not None:
        file.write_text(text)
    with pytest.raises(ConfigError, match=sentence):
        load(Document, file, {})


@given(st.integers(min_value=0, max_value=10**9))
def test_durations_survive_writing_and_reading(milliseconds: int) -> None:
    span = timedelta(milliseconds=milliseconds)
    assert parse_duration(format_duration(span)) == span


@pytest.mark.parametrize(
    ("text", "seconds"), [("2s", 2), ("500ms", 0.5), ("1h30m", 5400), ("1.5m", 90)]
)
def test_durations_are_read_as_written(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("value", ["", "5", "5 s", "-1s", "s", 5, None])
def test_what_is_no_duration_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="a duration such as"):
        parse_duration(value)


@pytest.mark.parametrize(("text", "size"), [("1Ki", 1024), ("5k", 5000), ("7", 7), (8, 8)])
def test_quantities_are_read_as_kubernetes_does(text: object, size: int) -> None:
    assert parse_quantity(text) == size


@pytest.mark.parametrize("value", ["1KB", "-1", "", "1.5Gi", True, -1])
def test_what_is_no_quantity_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="a quantity of bytes"):
        parse_quantity(value)
