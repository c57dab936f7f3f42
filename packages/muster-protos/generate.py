"""Generate the Python of `protos/` into this package: `python generate.py [--check]`."""

import argparse
import filecmp
import shutil
import sys
import tempfile
from pathlib import Path

import grpc_tools
from grpc_tools import protoc

PACKAGE = Path(__file__).parent / "src" / "muster_protos"
PROTOS = Path(__file__).parents[2] / "protos"
WELL_KNOWN = Path(grpc_tools.__file__).parent / "_proto"


def generate(out: Path) -> list[Path]:
    """Write stubs and type stubs of every contract below `out`, and return the files."""
    scripts = Path(sys.executable).parent
    sources = sorted(PROTOS.glob("*.proto"))
    arguments = [
        "protoc",
        f"-Imuster_protos={PROTOS}",
        f"-I{WELL_KNOWN}",
        f"--plugin=protoc-gen-mypy={scripts / 'protoc-gen-mypy'}",
        f"--plugin=protoc-gen-mypy_grpc={scripts / 'protoc-gen-mypy_grpc'}",
        *(f"--{kind}_out={out}" for kind in ("python", "grpc_python", "mypy", "mypy_grpc")),
        *(f"muster_protos/{source.name}" for source in sources),
    ]
    if protoc.main(arguments) != 0:
        raise SystemExit("protoc failed; its message stands above")
    return sorted((out / "muster_protos").iterdir())


def main() -> int:
    """Generate into the package, or with `--check` only tell what differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; fail if stale")
    check = parser.parse_args().check
    stale = []
    with tempfile.TemporaryDirectory() as scratch:
        for made in generate(Path(scratch)):
            kept = PACKAGE / made.name
            if not kept.exists() or not filecmp.cmp(made, kept, shallow=False):
                stale.append(made.name)
                if not check:
                    shutil.copyfile(made, kept)
    if check and stale:
        sys.stderr.write(f"stale: {', '.join(stale)}; run `make protos`\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
