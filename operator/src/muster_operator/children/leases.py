"""The Lease by which the pods of one component choose a leader."""

from muster_operator.children.base import Owner
from muster_operator.resources import LEASES, ROLE_BINDINGS, ROLES, Manifest

LEASE_VERBS = ("get", "update")


def lease_access(owner: Owner, name: str, component: str) -> list[Manifest]:
    """The Lease, made here so that it goes with its owner, and the right to hold it."""
    metadata = owner.metadata(name, component)
    rules = [
        {
            "apiGroups": [LEASES.group],
            "resources": [LEASES.plural],
            "resourceNames": [name],
            "verbs": list(LEASE_VERBS),
        }
    ]
    role = {"apiGroup": ROLES.group, "kind": ROLES.kind, "name": name}
    subject = {"kind": "ServiceAccount", "name": name, "namespace": owner.key.namespace}
    return [
        LEASES.manifest(metadata),
        ROLES.manifest(metadata, rules=rules),
        ROLE_BINDINGS.manifest(metadata, roleRef=role, subjects=[subject]),
    ]
