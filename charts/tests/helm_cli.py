"""Finds Helm and kubectl, runs them, and reads what Helm renders."""

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).parents[1] / "muster"
RELEASE = "muster"
NAMESPACE = "muster-system"
SECONDS = 240

Manifest = dict[str, Any]


class ProgramMissingError(Exception):
    """A program is not on this machine; the text says how to get it."""


class ProgramFailedError(Exception):
    """A program ended with an error; the text is what it wrote."""


def find_program(name: str, environ: Mapping[str, str] | None = None) -> Path:
    """Return the program that a variable such as `HELM` names, else that of `make cluster`.

    Raises:
        ProgramMissingError: there is neither.
    """
    env = os.environ if environ is None else environ
    variable = name.upper()
    if named := env.get(variable):
        if os.access(named, os.X_OK) and Path(named).is_file():
            return Path(named)
        raise ProgramMissingError(
            f"{variable} is {named!r}, which is no program; name the path of {name}."
        )
    cache_folder = Path(env.get("MUSTER_CACHE") or Path.home() / ".cache/muster")
    built = [path for path in cache_folder.glob(f"{name}/*/{name}") if os.access(path, os.X_OK)]
    if not built:
        raise ProgramMissingError(
            f"No {name} below {cache_folder}: run `make cluster` once, or name one by the "
            f"variable {variable}."
        )
    return max(built, key=lambda path: path.stat().st_mtime)


def helm(*arguments: str, kubeconfig: Path | None = None) -> str:
    """Run Helm and return what it wrote to standard output.

    Without `kubeconfig` it can reach no cluster.

    Raises:
        ProgramFailedError: it ended with an error.
    """
    return _run(find_program("helm"), arguments, kubeconfig)


def kubectl(*arguments: str, kubeconfig: Path, stdin: str = "") -> str:
    """Run kubectl and return what it wrote to standard output.

    Raises:
        ProgramFailedError: it ended with an error.
    """
    return _run(find_program("kubectl"), arguments, kubeconfig, stdin)


def _run(program: Path, arguments: Sequence[str], kubeconfig: Path | None, stdin: str = "") -> str:
    run = subprocess.run(
        [program, *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
        env={**os.environ, "KUBECONFIG": str(kubeconfig or os.devnull)},
    )
    if run.returncode != 0:
        raise ProgramFailedError(run.stderr.strip() or run.stdout.strip())
    return run.stdout


def settings(values: Mapping[str, Any]) -> list[str]:
    """Spell values as `--set-json` arguments, keys being dotted paths."""
    return [f"--set-json={key}={json.dumps(value)}" for key, value in values.items()]


@dataclass(frozen=True)
class Rendered:
    """The manifests of one rendering."""

    manifests: tuple[Manifest, ...]

    def of(self, kind: str) -> list[Manifest]:
        """Every manifest of a kind."""
        return [manifest for manifest in self.manifests if manifest["kind"] == kind]

    def one(self, kind: str, name: str) -> Manifest:
        """The manifest of a kind and name; there must be exactly one."""
        (found,) = (m for m in self.of(kind) if m["metadata"]["name"] == name)
        return found

    def names(self, kind: str) -> set[str]:
        """The names of all manifests of a kind."""
        return {manifest["metadata"]["name"] for manifest in self.of(kind)}

    def pods(self) -> list[tuple[str, Manifest]]:
        """Each pod that the chart starts, as (name, pod spec)."""
        templates = [
            (m["metadata"]["name"], m["spec"]["template"]["spec"]) for m in self.of("Deployment")
        ]
        return templates + [(m["metadata"]["name"], m["spec"]) for m in self.of("Pod")]


def render(values: Mapping[str, Any] | None = None, *, release: str = RELEASE) -> Rendered:
    """Render the chart with some values over its defaults."""
    text = _render(release, tuple(settings(values or {})))
    return parsed(text)


def parsed(text: str) -> Rendered:
    """Read what helm has rendered; the loader in C, for the CRDs are long."""
    return Rendered(tuple(m for m in yaml.load_all(text, Loader=yaml.CSafeLoader) if m is not None))


@cache
def _render(release: str, arguments: tuple[str, ...]) -> str:
    return helm(
        "template",
        release,
        str(CHART),
        f"--namespace={NAMESPACE}",
        *arguments,
    )
