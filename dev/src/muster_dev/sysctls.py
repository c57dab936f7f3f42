"""Settings of the kernel that nodes need or change for the whole machine; putting them back."""

from __future__ import annotations

import json
from pathlib import Path

_ROOT = Path("/proc/sys")
# Each node watches files; the usual limit for all that root runs is reached with five of them.
AT_LEAST = {"fs/inotify/max_user_instances": 8192, "fs/inotify/max_user_watches": 524288}
# Bridged packets are not for the machine's own firewall: it may drop what it does not know.
EXACTLY = {"net/bridge/bridge-nf-call-iptables": 0}
# Those that are set, and those that the kubelet and kube-proxy write and that are not separate
# for each container.
CHANGED = (
    *AT_LEAST,
    *EXACTLY,
    "kernel/keys/root_maxbytes",
    "kernel/keys/root_maxkeys",
    "kernel/panic",
    "kernel/panic_on_oops",
    "net/netfilter/nf_conntrack_max",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
)


def remember(record: Path, root: Path = _ROOT) -> None:
    """Write down the present settings, unless an earlier run has done so."""
    if record.exists():
        return
    present = {
        name: (root / name).read_text(encoding="utf-8").strip()
        for name in CHANGED
        if (root / name).exists()
    }
    record.parent.mkdir(parents=True, exist_ok=True)
    partial = record.with_suffix(".new")
    partial.write_text(json.dumps(present), encoding="utf-8")
    partial.rename(record)


def prepare(root: Path = _ROOT) -> None:
    """Set what several nodes on one machine need."""
    for name, least in AT_LEAST.items():
        if int((root / name).read_text(encoding="utf-8")) < least:
            (root / name).write_text(str(least), encoding="utf-8")
    for name, value in EXACTLY.items():
        # It is there when the kernel's module is.
        if (root / name).exists():
            (root / name).write_text(str(value), encoding="utf-8")


def restore(record: Path, root: Path = _ROOT) -> list[str]:
    """Put back what was written down, forget it, and return the settings that had changed."""
    if not record.exists():
        return []
    changed = []
    for name, value in json.loads(record.read_text(encoding="utf-8")).items():
        setting = root / name
        if setting.read_text(encoding="utf-8").strip() != value:
            setting.write_text(value, encoding="utf-8")
            changed.append(name)
    record.unlink()
    return changed
