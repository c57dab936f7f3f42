"""Nothing in a cluster ever sends a packet off the machine.

One table of nftables holds two chains. The first sees every packet that the machine is about to
forward: what comes from the nodes' bridge and would leave it by another interface is rejected. What
stays on the bridge passes, also between pods, whose addresses the machine does not know. The second
chain sees packets before they are routed and rejects what is for nobody here: where the machine
forwards nothing, they would vanish, and whoever sent them would wait. Docker and kube-proxy know
nothing of the table and so cannot change it, and removing it is one command.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Callable

from muster_dev import shell
from muster_dev.errors import SetupError
from muster_dev.kind_config import POD_SUBNET

if TYPE_CHECKING:
    from muster_dev.instance import Instance

# Runs nft with arguments and an input, and returns its output.
Nft = Callable[[list[str], "str | None"], str]

_CHAIN = "from_the_nodes"


def local_nft(arguments: list[str], stdin: str | None) -> str:
    """Run the machine's own nft."""
    return shell.output([shell.which("nft") or "nft", *arguments], stdin=stdin)


def rules(instance: Instance) -> str:
    """Return the table in nft's language; loading it again replaces it in one transaction."""
    return f"""table inet {instance.table}
delete table inet {instance.table}
table inet {instance.table} {{
  chain {_CHAIN} {{
    type filter hook forward priority raw; policy accept;
    iifname != "{instance.bridge}" accept
    oifname "{instance.bridge}" accept
    counter reject with icmpx type admin-prohibited
  }}
  chain at_once {{
    type filter hook prerouting priority raw; policy accept;
    iifname != "{instance.bridge}" accept
    fib daddr type {{ local, broadcast, multicast }} accept
    ip daddr {{ {instance.subnet}, {POD_SUBNET} }} accept
    counter reject with icmpx type admin-prohibited
  }}
}}
"""


def install(instance: Instance, nft: Nft = local_nft) -> None:
    """Load the table and prove that it is in force.

    Raises SetupError when it is not: no node may start then.
    """
    nft(["-f", "-"], rules(instance))
    if not in_force(instance, nft):
        raise SetupError("The firewall table that keeps packets on this machine is not in force.")


def in_force(instance: Instance, nft: Nft = local_nft) -> bool:
    """Tell whether the kernel has the table, with its hook and its rejecting last rule."""
    try:
        listed = nft(["--json", "list", "table", "inet", instance.table], None)
    except shell.CommandError:
        return False
    return keeps_packets_here(json.loads(listed), instance)


def keeps_packets_here(listed: dict[str, Any], instance: Instance) -> bool:
    """Tell whether a listing of the table has what keeps packets here.

    That is: a chain is hooked where packets are forwarded, it lets other interfaces' packets and
    those that stay on the bridge alone, and its last rule rejects.
    """
    objects = listed["nftables"]
    chains = [item["chain"] for item in objects if "chain" in item]
    rules_ = [item["rule"] for item in objects if "rule" in item]
    expressions = [rule["expr"] for rule in rules_ if rule["chain"] == _CHAIN]
    hooked = any(c["name"] == _CHAIN and c.get("hook") == "forward" for c in chains)
    if not hooked or len(expressions) != 3:
        return False
    matches = [expression[0].get("match", {}) for expression in expressions[:2]]
    seen = [(match.get("op"), match.get("right")) for match in matches]
    alone = seen == [("!=", instance.bridge), ("==", instance.bridge)]
    return alone and any("reject" in expression for expression in expressions[-1])


def rejected_packets(instance: Instance, nft: Nft = local_nft) -> int:
    """Return how many packets were rejected since the table was loaded."""
    listed = json.loads(nft(["--json", "list", "table", "inet", instance.table], None))
    return sum(
        expression["counter"]["packets"]
        for item in listed["nftables"]
        if "rule" in item
        for expression in item["rule"]["expr"]
        if "counter" in expression
    )


def remove(instance: Instance, nft: Nft = local_nft) -> None:
    """Remove the table if it is there."""
    # Declared first, it is there to be deleted in any case.
    nft(["-f", "-"], f"table inet {instance.table}\ndelete table inet {instance.table}\n")
