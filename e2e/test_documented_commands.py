"""Every command of the pages for users runs as it is written, page by page, in order."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.cluster import Cluster
from e2e.fleet import Fleet
from muster_testing.waiting import eventually_sync

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)

# Stands before the real helm: the pages install the published images, the tests those just built.
HELM = """#!/bin/sh
case "$1" in
  install|upgrade|template) exec {helm} "$@" --values {values} ;;
  *) exec {helm} "$@" ;;
esac
"""


def commands(page: str) -> list[str]:
    """The commands of a page's console blocks: what stands behind `$ `, lines joined by `\\`."""
    text = (ROOT / page).read_text(encoding="utf-8")
    lines = "\n".join(BLOCK.findall(text)).replace("\\\n", " ").splitlines()
    return [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]


@pytest.fixture
def shell(
    cluster: Cluster, values: Path, fleet: Fleet, tmp_path: Path
) -> Iterator[dict[str, str]]:
    """An environment with the cluster's programs, its kubeconfig, and the fleet's namespace."""
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(cluster.kubeconfig.read_text())
    helm = tmp_path / "bin" / "helm"
    helm.parent.mkdir()
    helm.write_text(HELM.format(helm=cluster.bin / "helm", values=values))
    helm.chmod(0o755)
    search = [str(helm.parent), str(cluster.bin), str(ROOT / ".venv" / "bin"), os.environ["PATH"]]
    env = {**os.environ, "PATH": ":".join(search), "KUBECONFIG": str(kubeconfig)}
    cluster_of_page = Cluster(kubeconfig, cluster.bin)
    cluster_of_page.kubectl("config", "set-context", "--current", "--namespace", fleet.namespace)
    yield env


def _run(page: str, env: dict[str, str], workdir: Path) -> None:
    for name in ("charts", "examples"):
        (workdir / name).symlink_to(ROOT / name)
    for command in commands(page):
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            check=False,
            cwd=workdir,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=420,
        )
        assert done.returncode == 0, f"{page}: {command}\n{done.stdout}{done.stderr}"
