"""Cassandra's programs, by Maven into the cache; every file is checked against its hash."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

JARS = Path(__file__).parent / "jars"


def version() -> str:
    """The version of Cassandra that pom.xml pins."""
    text = (JARS / "pom.xml").read_text(encoding="utf-8")
    return text.partition("<artifactId>cassandra-all</artifactId>")[2].split("version>")[1][:-2]


def jars() -> Path:
    """The folder with all that Cassandra is made of; fetched if it is not there yet.

    Raises:
        SystemExit: Maven is missing or fails, or a file is another than SHA256SUMS says.
    """
    pinned = [(JARS / name).read_bytes() for name in ("pom.xml", "SHA256SUMS")]
    digest = hashlib.sha256(b"\0".join(pinned)).hexdigest()[:16]
    cache = Path(os.environ.get("MUSTER_CACHE") or Path.home() / ".cache" / "muster") / "bench"
    home = cache / f"cassandra-{digest}"
    if not home.is_dir():
        partial = home.with_suffix(f".{os.getpid()}")
        _fetch(partial, cache / "m2")
        if wrong := differences(partial, JARS / "SHA256SUMS"):
            shutil.rmtree(partial)
            raise SystemExit(f"not as in {JARS.name}/SHA256SUMS: {', '.join(wrong)}")
        partial.rename(home)
    return home


def differences(folder: Path, sums: Path) -> list[str]:
    """Names of files that are missing, too many, or have another SHA-256 than `sums` says."""
    wanted = {name: digest for digest, name in map(str.split, sums.read_text().splitlines())}
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    return sorted({name for name, _ in wanted.items() ^ found.items()})


def _fetch(folder: Path, repository: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise SystemExit("mvn not found: it fetches Cassandra; Debian: apt-get install maven")
    command = [
        *(maven, "--batch-mode", "--quiet", "--file", str(JARS / "pom.xml")),
        f"-Dmaven.repo.local={repository}",
        f"-DoutputDirectory={folder}",
        "dependency:copy-dependencies",
    ]
    folder.mkdir(parents=True)
    if subprocess.run(command, check=False).returncode != 0:
        shutil.rmtree(folder)
        raise SystemExit("Cassandra could not be fetched; the messages of Maven are above")
