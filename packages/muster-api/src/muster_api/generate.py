"""Write the CRDs and the API reference from the models, or check that they are up to date.

Run as `python -m muster_api.generate [--check]` in a checkout.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import yaml

from muster_api.crd import KINDS
from muster_api.reference import reference

_HEADER = "# Written by `python -m muster_api.generate`; change packages/muster-api instead.\n"


class _Plain(yaml.SafeDumper):
    """YAML without anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def generated() -> dict[str, str]:
    """What belongs into each file, by its path from the root of the checkout."""
    files = {"docs/api-reference.md": reference()}
    for kind in KINDS:
        text = _HEADER + yaml.dump(
            kind.manifest(), Dumper=_Plain, sort_keys=False, width=100, allow_unicode=True
        )
        files[f"crds/{kind.crd_name}.yaml"] = text
        files[f"charts/muster/files/crds/{kind.crd_name}.yaml"] = text
    return files


def outdated(root: Path) -> list[str]:
    """The files below `root` that are missing or differ from what they should be."""
    return [
        path
        for path, text in generated().items()
        if not (root / path).is_file() or (root / path).read_text(encoding="utf-8") != text
    ]


def write(root: Path) -> None:
    """Write every file below `root`."""
    for path, text in generated().items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; the exit status is 1 where `--check` finds differences."""
    parser = argparse.ArgumentParser(prog="python -m muster_api.generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, only compare")
    parser.add_argument(
        "--root", type=Path, default=Path(__file__).parents[4], help="root of the checkout"
    )
    options = parser.parse_args(arguments)
    if not options.check:
        write(options.root)
        return 0
    stale = outdated(options.root)
    for path in stale:
        sys.stderr.write(f"{path} is out of date: run `python -m muster_api.generate`\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
