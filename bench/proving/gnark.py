"""The contender that is gnark, from its Go module."""

from pathlib import Path

from bench import go_program

SOURCE = Path(__file__).parent / "gnark"


def build() -> Path:
    """The path of the program; see `go_program.build`."""
    return go_program.build(SOURCE)


def version() -> str:
    """The version of gnark that go.mod pins."""
    return go_program.version(SOURCE, "github.com/consensys/gnark")
