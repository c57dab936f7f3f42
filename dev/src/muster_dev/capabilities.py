"""Linux capabilities that this machine lacks, and how containers do without them.

A privileged container asks for every capability, and an older Docker fails where one is missing.
A wrapper around the container runtime takes it out of what is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

# In the order of their numbers, from linux/capability.h.
NAMES = (
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
)
# Without these no node can start; what else is missing, it can do without.
NEEDED = (
    "CHOWN",
    "MKNOD",
    "NET_ADMIN",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETUID",
    "SYS_ADMIN",
    "SYS_CHROOT",
    "SYS_PTRACE",
)

_STATUS = Path("/proc/self/status")
_LAST = Path("/proc/sys/kernel/cap_last_cap")
_WRAPPER = """#!/bin/sh
# Container runtime for a machine without {missing}: takes that out of what a container asks for.
before=
for argument in "$@"; do
  case "$before" in
    --bundle | -b) spec="$argument/config.json" ;;
    --process | -p) spec="$argument" ;;
    *) spec= ;;
  esac
  [ -n "$spec" ] && [ -f "$spec" ] && sed -i -E '{edits}' "$spec"
  before="$argument"
done
exec {runtime} "$@"
"""


def missing(status: str | None = None, last: int | None = None) -> list[str]:
    """Return the capabilities that no process started here can have, by their short names.

    ``status`` is the text of ``/proc/self/status``; ``last`` the number of the newest capability
    that the kernel knows.
    """
    text = _STATUS.read_text(encoding="utf-8") if status is None else status
    newest = int(_LAST.read_text(encoding="utf-8")) if last is None else last
    found = re.search(r"^CapBnd:\s*([0-9a-f]+)", text, re.MULTILINE)
    bounds = int(found.group(1), 16) if found else 0
    return [name for i, name in enumerate(NAMES) if i <= newest and not bounds >> i & 1]


def runtime_wrapper(lacking: Sequence[str], runtime: str) -> str:
    """Return a script that runs ``runtime`` with some capabilities taken out of container specs."""
    edits = "; ".join(
        f's/"CAP_{name}",//g; s/,"CAP_{name}"//g; s/"CAP_{name}"//g' for name in lacking
    )
    names = ", ".join(f"CAP_{name}" for name in lacking)
    return _WRAPPER.format(missing=names, edits=edits, runtime=runtime)
