"""Tenants that a KVCluster declares."""

from typing import Annotated, Literal

from pydantic import Field

from muster_api.model import Model

PerMinute = Annotated[int, Field(ge=-1, le=1_000_000_000)]


class KVTenant(Model):
    """One tenant: whose keys are apart from all others', and how its data are treated."""

    name: Annotated[
        str, Field(min_length=1, max_length=63, pattern=r"^[A-Za-z0-9][-._A-Za-z0-9]*$")
    ] = Field(description="Its name in requests, tenant_id.")
    replication_factor: Annotated[int, Field(ge=1, le=10)] = Field(
        3, description="How many storage nodes have each of its keys; at most spec.replicas."
    )
    conflict_resolution: Literal["Siblings", "LastWriteWins"] = Field(
        "Siblings",
        description="Siblings keeps concurrent writes side by side; LastWriteWins loses all but "
        "one.",
    )
    durability: Literal["Sync", "Async"] = Field(
        "Sync",
        description="Sync has a write on the disks before it is acknowledged; Async a moment "
        "later, so that the last moments are lost where replicas lose power together.",
    )
    idempotency: Literal["Replicas", "Redis"] = Field(
        "Replicas", description="Where retries are recognised; Redis needs spec.redis."
    )
    writes_per_minute: PerMinute = Field(
        1000, description="Writes that each coordinator lets through; -1 for no limit."
    )
    reads_per_minute: PerMinute = Field(
        10_000, description="Reads that each coordinator lets through; -1 for no limit."
    )
