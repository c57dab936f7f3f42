import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from muster_dev import firewall
from muster_dev.instance import Instance

INSTANCE = Instance("muster-abcdef", "172.29.0.0/24")

pytestmark = pytest.mark.integration

# Runs in a network of its own: a bridge with the name of the nodes' one, a "node" behind it, and
# an "outside" that a default route leads to, as on a real machine.
SCENE = """
set -eu
ip link set lo up
ip link add muster-abcdef type bridge
ip addr add 172.29.0.1/24 dev muster-abcdef
ip link set muster-abcdef up
ip link add out0 type veth peer name out1
ip link set out1 up
ip addr add 192.0.2.2/24 dev out0
ip link set out0 up
ip route add default via 192.0.2.1
unshare --net sleep 600 &
node=$!
until [ "$(readlink /proc/$node/ns/net)" != "$(readlink /proc/$$/ns/net)" ]; do sleep 0.01; done
ip link add v0 type veth peer name eth0 netns $node
ip link set v0 master muster-abcdef up
in_node() { nsenter --target $node --net "$@"; }
in_node ip addr add 172.29.0.2/24 dev eth0
in_node ip link set eth0 up
in_node ip route add default via 172.29.0.1
echo $1 > /proc/sys/net/ipv4/ip_forward
in_node %(python)s -c '%(client)s'
kill $node
"""
CLIENT = """
import socket
for address in ("192.0.2.1", "10.96.0.1", "172.29.0.1"):
    probe = socket.socket()
    probe.settimeout(1)
    try:
        probe.connect((address, 9))
    except OSError as error:
        print(address, type(error).__name__, error.errno)
"""


def in_own_network(*argv: str) -> str:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    run = ["unshare", "--net", "--mount", *argv]
    done = subprocess.run(run, check=False, capture_output=True, text=True, env=env, timeout=240)
    assert done.returncode == 0, done.stderr
    return done.stdout


def run_python(script: str) -> str:
    head = "from muster_dev import firewall\nfrom muster_dev.instance import Instance\n"
    head += f"instance = {INSTANCE!r}\n"
    return in_own_network(sys.executable, "-c", head + script)


@pytest.fixture(autouse=True)
def needs_root_and_nft() -> None:
    assert os.geteuid() == 0, "these tests make networks of their own, which needs root"
    assert shutil.which("nft"), "nft is missing: `make cluster` installs it"


def test_the_table_is_in_force_once_installed_and_not_before_or_after() -> None:
    said = run_python(
        "print(firewall.in_force(instance))\n"
        "firewall.install(instance)\n"
        "firewall.install(instance)\n"
        "print(firewall.in_force(instance), firewall.rejected_packets(instance))\n"
        "firewall.remove(instance)\n"
        "firewall.remove(instance)\n"
        "print(firewall.in_force(instance))\n"
    )
    assert said.split() == ["False", "True", "0", "False"]


@pytest.mark.parametrize(
    "spoiled",
    [
        ("forward priority raw", "input priority raw"),
        ('iifname != "muster-abcdef"', 'iifname != "eth0"'),
        ('oifname "muster-abcdef" accept', "accept"),
        ("counter reject with icmpx type admin-prohibited", "counter accept"),
    ],
)
def test_a_table_that_would_let_packets_out_is_not_in_force(spoiled: tuple[str, str]) -> None:
    rules = firewall.rules(INSTANCE).replace(*spoiled)
    assert rules != firewall.rules(INSTANCE)
    said = run_python(
        f"firewall.local_nft(['-f', '-'], {rules!r})\nprint(firewall.in_force(instance))\n"
    )
    assert said.split() == ["False"]


@pytest.mark.parametrize("forwarding", ["0", "1"])
def test_what_would_leave_the_machine_is_rejected_at_once(tmp_path: Path, forwarding: str) -> None:
    scene = tmp_path / "scene"
    scene.write_text(SCENE % {"python": sys.executable, "client": CLIENT})
    guard = tmp_path / "guard"
    guard.write_text(firewall.rules(INSTANCE))
    script = f'nft -f {guard}; sh {scene} "$0"'
    said = in_own_network("sh", "-c", script, forwarding).splitlines()
    # 113 is "no route to host", as a rejecting machine answers; 111 is "connection refused".
    assert said == [
        "192.0.2.1 OSError 113",
        "10.96.0.1 OSError 113",
        "172.29.0.1 ConnectionRefusedError 111",
    ]
