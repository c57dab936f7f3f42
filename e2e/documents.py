"""The commands that the documents tell a user to type."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]

_PARTS = re.compile(
    r"^(?:#+ (?P<heading>[^\n]*)|```(?P<language>\w*)\n(?P<text>.*?)^```)$",
    re.MULTILINE | re.DOTALL,
)
_COMMAND = re.compile(r"^\$ (.*)$", re.MULTILINE)
# Languages of what a user would type into a shell.
_SHELL = {"console", "bash", "sh", "shell"}


@dataclass(frozen=True)
class Section:
    """What stands below one heading: `commands` are to be run, `excused` are not run here."""

    document: str
    heading: str
    commands: tuple[str, ...]
    excused: tuple[str, ...]

    @property
    def name(self) -> tuple[str, str]:
        """Document and heading."""
        return self.document, self.heading


def sections() -> list[Section]:
    """Every section of README.md and docs/*.md in which there is something to type, in order."""
    documents = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    return [found for path in documents for found in _sections(path) if found != _empty(found)]


def _empty(section: Section) -> Section:
    return Section(section.document, section.heading, (), ())


def _sections(path: Path) -> Iterator[Section]:
    heading, commands, excused = "", list[str](), list[str]()
    document = path.relative_to(ROOT).as_posix()
    for part in _PARTS.finditer(path.read_text()):
        if part["heading"] is not None:
            yield Section(document, heading, tuple(commands), tuple(excused))
            heading, commands, excused = part["heading"], [], []
        elif part["language"] == "console":
            commands += _COMMAND.findall(part["text"])
        elif part["language"] in _SHELL:
            excused += part["text"].splitlines()
    yield Section(document, heading, tuple(commands), tuple(excused))
