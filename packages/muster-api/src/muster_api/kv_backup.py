"""Backups of a KVCluster's storage nodes."""

from typing import Annotated

from pydantic import Field

from muster_api.model import Model, Name

_CRON = (
    r"^(@(yearly|annually|monthly|weekly|daily|midnight|hourly)"
    r"|[-0-9*/,]+ [-0-9*/,]+ [-0-9*/,?]+ [-A-Za-z0-9*/,]+ [-A-Za-z0-9*/,?]+)$"
)
_NAME = r"^[A-Za-z0-9]([-._A-Za-z0-9]*[A-Za-z0-9])?$"


class KVBackup(Model):
    """When and where storage nodes are backed up, and what they begin with."""

    claim_name: Name = Field(
        description="A PersistentVolumeClaim that is there already and that all storage nodes can "
        "mount: ReadWriteMany where they run on several machines. It stays as it is whatever "
        "becomes of the KVCluster."
    )
    schedule: Annotated[str, Field(max_length=64, pattern=_CRON)] = Field(
        "0 3 * * *", description="When, as of cron, in UTC."
    )
    keep: Annotated[int, Field(ge=1, le=1000)] = Field(
        7,
        description="Backups of each storage node that are kept, and the last that was made of "
        "all; older ones are removed.",
    )
    restore: Annotated[str, Field(min_length=1, max_length=63, pattern=_NAME)] | None = Field(
        None,
        description="The backup that storage nodes with an empty volume begin with, by the name of "
        "its Job, such as store-kv-backup-29390220. Can't be added later, and is used once: see "
        "status.restored.",
    )
