"""Kill what can be killed on a real machine, run the tool again, and find all well."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from muster_dev import control_groups, firewall, instance, mounts, processes, sysctls
from muster_dev.paths import Paths, from_environment
from muster_testing.waiting import eventually_sync

pytestmark = [pytest.mark.e2e, pytest.mark.alone, pytest.mark.timeout(900)]

NAME = "recovery"
NODES = {f"{NAME}-control-plane", f"{NAME}-worker"}
SYSCTLS = Path("/proc/sys")


class Machine:
    """The tool with a state folder of its own, beside whatever else runs on this machine."""

    def __init__(self, state: Path) -> None:
        found = from_environment()
        self.paths = Paths(found.repo, found.cache, state)
        self.docker_host = f"unix://{state}/docker/docker.sock"

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start the tool without waiting for it."""
        source = str(self.paths.repo / "dev" / "src")
        env = {**os.environ, "PYTHONPATH": source, "MUSTER_STATE": str(self.paths.state)}
        argv = [sys.executable, "-m", "muster_dev", *arguments]
        return subprocess.Popen(argv, env=env, stderr=subprocess.PIPE, text=True)

    def run(self, *arguments: str) -> str:
        """Run the tool to its end and return what it said."""
        with self.start(*arguments) as tool:
            _, said = tool.communicate(timeout=600)
        assert tool.returncode == 0, said
        return said

    def up(self) -> str:
        """Bring the cluster up."""
        return self.run("cluster", "up", "--name", NAME, "--nodes", "2")

    def docker(self, *arguments: str) -> str:
        """Run a command of docker."""
        env = {**os.environ, "DOCKER_HOST": self.docker_host}
        argv = ["docker", *arguments]
        done = subprocess.run(argv, env=env, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def kubectl(self, *arguments: str, cluster: str = NAME) -> str:
        """Run kubectl on a cluster."""
        program = self.paths.cluster(cluster) / "bin" / "kubectl"
        argv = [str(program), f"--kubeconfig={self.paths.kubeconfig(cluster)}", *arguments]
        done = subprocess.run(argv, check=True, capture_output=True, text=True, timeout=240)
        return done.stdout.strip()

    def started(self) -> dict[str, str]:
        """Return when each node was started."""
        names = self.docker("ps", "--format", "{{.Names}}").split()
        return {name: self.docker("inspect", "-f", "{{.State.StartedAt}}", name) for name in names}

    def daemon(self) -> int:
        """Return the process of the daemon."""
        return int((self.paths.state / "docker" / "dockerd.pid").read_text())


@pytest.fixture(scope="module")
def settings() -> dict[str, str]:
    return {
        name: (SYSCTLS / name).read_text() for name in sysctls.CHANGED if (SYSCTLS / name).exists()
    }


@pytest.fixture(scope="module")
def machine(settings: dict[str, str]) -> Iterator[Machine]:
    assert settings
    # Not below pytest's own folder, whose path is too long for a socket.
    state = Path(tempfile.mkdtemp(prefix="muster-"))
    machine = Machine(state)
    yield machine
    machine.run("cluster", "down", "--all")
    shutil.rmtree(state)


@pytest.fixture
def note(machine: Machine) -> Iterator[None]:
    """Something in the cluster that is there afterwards only if the cluster is the same."""
    machine.up()
    machine.kubectl("create", "configmap", "note", "--from-literal=is=here")
    yield
    assert machine.kubectl("get", "configmap", "note", "-o", "jsonpath={.data.is}") == "here"
    machine.kubectl("delete", "configmap", "note")


def test_a_run_killed_while_it_makes_a_cluster(machine: Machine) -> None:
    machine.run("cluster", "down", "--name", NAME)
    config = machine.paths.cluster(NAME) / "kind.json"
    with machine.start("cluster", "up", "--name", NAME, "--nodes", "2") as tool:
        eventually_sync(config.exists, deadline=240, what="kind is started")
        nodes = "both nodes run"
        eventually_sync(lambda: set(machine.started()) == NODES, deadline=240, what=nodes)
        tool.kill()
    assert processes.with_mark(str(config)), "kind should have outlived the tool"
    said = machine.up()
    assert "Remove what is left of cluster" in said
    assert machine.kubectl("get", "nodes", "-o", "name").count("node/") == 2


@pytest.mark.usefixtures("note")
def test_a_daemon_that_was_killed(machine: Machine) -> None:
    before = machine.started()
    os.kill(machine.daemon(), signal.SIGKILL)
    said = machine.up()
    assert "Start a private Docker daemon" in said
    assert machine.started() == before, "the nodes should have lived on"


@pytest.mark.usefixtures("note")
def test_nodes_that_were_stopped(machine: Machine) -> None:
    machine.docker("stop", "-t", "1", *NODES)
    assert f"Revive cluster {NAME}" in machine.up()


@pytest.mark.usefixtures("note")
def test_nodes_that_somebody_started_at_each_others_addresses(machine: Machine) -> None:
    record = json.loads((machine.paths.cluster(NAME) / "cluster.json").read_text())
    last_first = sorted(NODES, key=lambda node: record["addresses"][node], reverse=True)
    machine.docker("stop", "-t", "1", *NODES)
    network = instance.name_for(machine.paths)
    # As after a restart of the machine: Docker gives addresses in the order of the starts.
    for node in last_first:
        machine.docker("network", "disconnect", "--force", network, node)
        machine.docker("network", "connect", network, node)
    for node in last_first:
        machine.docker("start", node)
    machine.up()
    template = f'{{{{(index .NetworkSettings.Networks "{network}").IPAddress}}}}'
    assert {node: machine.docker("inspect", "-f", template, node) for node in NODES} == record[
        "addresses"
    ]


@pytest.mark.usefixtures("note")
def test_a_machine_that_was_reset(machine: Machine) -> None:
    names = instance.load(machine.paths)
    os.kill(machine.daemon(), signal.SIGKILL)
    control_groups.kill(names.control_group)
    for process in processes.with_mark(str(machine.paths.state / "docker" / "exec")):
        processes.send(process, signal.SIGKILL)
    mounts.unmount_below(machine.paths.state)
    subprocess.run(["ip", "link", "delete", names.bridge], check=True)
    firewall.remove(names)
    machine.up()
    assert firewall.in_force(names)


def test_a_state_folder_that_somebody_emptied(machine: Machine) -> None:
    machine.up()
    orphans = processes.with_mark(str(machine.paths.state / "docker"))
    shutil.rmtree(machine.paths.state, ignore_errors=True)
    machine.up()
    assert orphans
    assert not set(orphans) & set(processes.with_mark(str(machine.paths.state / "docker")))
    assert machine.kubectl("get", "nodes", "-o", "name").count("node/") == 2


def test_two_clusters_side_by_side(machine: Machine) -> None:
    machine.up()
    machine.run("cluster", "up", "--name", "beside", "--nodes", "1", "--publish", "30080")
    listed = machine.kubectl("get", "nodes", "-o", "name", cluster="beside")
    assert listed == "node/beside-control-plane"
    machine.run("cluster", "down", "--name", "beside")
    assert machine.kubectl("get", "--raw=/readyz") == "ok"


def test_taking_all_down_leaves_nothing_of_it(machine: Machine, settings: dict[str, str]) -> None:
    machine.up()
    names = instance.load(machine.paths)
    os.kill(machine.daemon(), signal.SIGKILL)
    machine.run("cluster", "down", "--all")
    assert processes.with_mark(str(machine.paths.state)) == []
    assert mounts.below(machine.paths.state) == []
    assert not Path("/sys/class/net", names.bridge).exists()
    assert not firewall.in_force(names)
    assert control_groups.find(names.control_group) == []
    assert {name: (SYSCTLS / name).read_text() for name in settings} == settings
    left = {path.name for path in machine.paths.state.iterdir()}
    assert left == {"clusters.lock", "logs"}
