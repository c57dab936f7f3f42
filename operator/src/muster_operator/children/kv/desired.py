"""Everything that a KVCluster becomes."""

from muster_operator.children.base import Defaults
from muster_operator.children.kv.coordinators import coordinators
from muster_operator.children.kv.given import KvInput
from muster_operator.children.kv.storage import storage_nodes
from muster_operator.children.postgres import managed_postgres
from muster_operator.resources import Manifest


def desired_kv_cluster(given: KvInput, defaults: Defaults) -> list[Manifest]:
    """Every object that belongs to a KVCluster, but the Secrets that are made once."""
    spec = given.spec
    objects = [*storage_nodes(given, defaults), *coordinators(given, defaults)]
    if spec.database.managed:
        objects += managed_postgres(
            given.owner, spec, spec.database.managed, defaults, given.database.version
        )
    return objects
