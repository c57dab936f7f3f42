"""The PostgreSQL in which a Coordinator or a KVCluster keeps what it knows."""

from pydantic import Field

from muster_api.model import Image, Model, Rule
from muster_api.shared import MANAGED_OR_SECRET, ManagedStore, Resources, SecretKeyReference


class ManagedDatabase(ManagedStore):
    """A PostgreSQL of one pod, kept by the operator."""

    image: Image | None = Field(
        None, description="PostgreSQL image; absent means the operator's default."
    )
    resources: Resources = Field(
        Resources(requests={"cpu": "100m", "memory": "256Mi"}, limits={"memory": "1Gi"}),
        description="Resources of the PostgreSQL container.",
    )


class Database(Model):
    """A PostgreSQL: exactly one of managed and secretRef."""

    managed: ManagedDatabase | None = Field(
        None, description="A PostgreSQL of one pod, for trying out and for small fleets."
    )
    secret_ref: SecretKeyReference | None = Field(
        None,
        description="The key of a Secret that holds the connection string of a PostgreSQL, such as "
        "postgresql://user:password@host:5432/name. High availability needs a replicated one.",
    )


def fixed(lost: str, kind: str) -> tuple[Rule, Rule]:
    """What holds for each: one of both, and for ever, since what is lost would be lost else."""
    return (
        MANAGED_OR_SECRET,
        Rule(
            "has(self.managed) == has(oldSelf.managed)",
            f"the kind of database can't be changed, for the {lost} would be lost: "
            f"make a new {kind}",
        ),
    )
