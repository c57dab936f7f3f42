"""Configuration: a YAML file, the environment over it, defaults under it, validated whole.

A configuration is a `Section` of `Section`s. The key `coordinator.grpc_port` is overridden by the
environment variable `COORDINATOR_GRPC_PORT`; keys that the models do not know are errors.
"""

import contextlib
import os
import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
)
from pydantic_core import ErrorDetails

_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_DURATION = re.compile(rf"(?:{_DURATION_PART.pattern})+")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}

_SHA256 = re.compile(r"[0-9a-f]{64}")

_QUANTITY = re.compile(r"(\d+)(Ki|Mi|Gi|Ti|k|M|G|T)?")
_BYTES = {
    "": 1,
    "k": 10**3,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
    "Ti": 2**40,
}


def parse_duration(value: object) -> timedelta:
    """Read a duration as in `500ms`, `2s`, `5m` or `1h30m`.

    Raises:
        ValueError: the text is no such duration.
    """
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str) or _DURATION.fullmatch(value) is None:
        raise ValueError("a duration such as 500ms, 2s, 5m or 1h30m")
    parts = _DURATION_PART.findall(value)
    return timedelta(seconds=sum(float(number) * _SECONDS[unit] for number, unit in parts))


def format_duration(value: timedelta) -> str:
    """Write a duration so that `parse_duration` reads the same back."""
    milliseconds = round(value.total_seconds() * 1000)
    return f"{milliseconds // 1000}s" if milliseconds % 1000 == 0 else f"{milliseconds}ms"


def parse_quantity(value: object) -> int:
    """Read a number of bytes as in `512Mi`, `1Gi` or `1000000`.

    Raises:
        ValueError: the text is no such quantity.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    match = _QUANTITY.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("a quantity of bytes such as 512Mi, 1Gi or 1000000")
    return int(match[1]) * _BYTES[match[2] or ""]


Duration = Annotated[
    timedelta, BeforeValidator(parse_duration), PlainSerializer(format_duration, when_used="json")
]
"""A time span in configuration, such as `30s`."""

Quantity = Annotated[int, BeforeValidator(parse_quantity)]
"""A number of bytes in configuration, such as `512Mi`."""


def between(least: timedelta, most: timedelta, allowed: str) -> AfterValidator:
    """Bounds of a `Duration`, both of them allowed; `allowed` is what the error says."""

    def check(value: timedelta) -> timedelta:
        if not least <= value <= most:
            raise ValueError(allowed)
        return value

    return AfterValidator(check)


Span = Annotated[
    Duration,
    between(timedelta(milliseconds=10), timedelta(days=1), "a duration from 10ms to 24h"),
]
"""A duration that somebody waits for."""

Port = Annotated[int, Field(ge=0, le=65535)]
"""A TCP port; 0 takes a free one, which is logged."""


def _empty_to_none(value: object) -> object:
    return None if value == "" else value


def _absolute(value: Path) -> Path:
    if not value.is_absolute():
        raise ValueError("an absolute path")
    return value


def _writable_directory(value: Path) -> Path:
    # Only making it shows whether it can be made.
    with contextlib.suppress(OSError):
        value.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not (value.is_dir() and os.access(value, os.W_OK | os.X_OK)):
        raise ValueError("a directory that this process can make and write")
    return value


def _sha256(value: str) -> str:
    if _SHA256.fullmatch(value) is None:
        raise ValueError("64 lower-case hex digits")
    return value


EmptyIsNone = BeforeValidator(_empty_to_none)
"""Lets an empty text in a file, or in the environment, stand for none."""

OptionalFile = Annotated[Path | None, EmptyIsNone, Field(validate_default=True)]
"""A file that need not be named; validators of the field see it even where it is not."""

AbsolutePath = Annotated[Path, AfterValidator(_absolute)]
"""A path that means the same wherever the process was started."""

WritableDirectory = Annotated[
    Path, AfterValidator(_writable_directory), Field(validate_default=True)
]
"""A directory that the process may write in; it is made where it is missing."""

Sha256 = Annotated[str, AfterValidator(_sha256)]
"""A digest, 64 lower-case hex digits."""


class Section(BaseModel):
    """A part of a configuration: frozen, and unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


S = TypeVar("S", bound=Section)


class ConfigError(Exception):
    """Configuration that can't be used; its text has one line for each error."""

    def __init__(self, errors: list[str]) -> None:
        super().__init__("\n".join(errors))
        self.errors = errors


def load(model: type[S], path: Path | None, env: Mapping[str, str]) -> S:
    """Read `path` (if any), lay `env` over it, and validate the whole against `model`.

    Raises:
        ConfigError: the file can't be read, or any key is wrong; every error is named at once,
            with its key, its value and what is allowed.
    """
    document = _read(path) if path is not None else {}
    _override(model, document, env)
    try:
        return model.model_validate(document)
    except ValidationError as invalid:
        raise ConfigError([_sentence(error) for error in invalid.errors()]) from None


def _read(path: Path) -> dict[str, Any]:
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError([f"{path}: {error.strerror}; name a file that can be read"]) from error
    except yaml.YAMLError as error:
        raise ConfigError([f"{path}: not YAML: {error}"]) from error
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ConfigError([f"{path}: holds no mapping; write sections such as `worker:`"])
    return document


def _override(model: type[Section], document: dict[str, Any], env: Mapping[str, str]) -> None:
    for section, field in model.model_fields.items():
        kind = field.annotation
        if not (isinstance(kind, type) and issubclass(kind, Section)):
            continue
        for key in kind.model_fields:
            value = env.get(f"{section}_{key}".upper())
            if value is None:
                continue
            held = document.setdefault(section, {})
            if isinstance(held, dict):
                held[key] = yaml.safe_load(value)


def _sentence(error: ErrorDetails) -> str:
    key = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return f"{key}: unknown key; remove it or correct its name"
    if error["type"] == "missing":
        return f"{key}: missing; it has no default"
    allowed = error["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    return f"{key}: got {error['input']!r}; allowed: {allowed}"
