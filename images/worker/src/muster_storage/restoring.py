"""Filling an empty data folder from a backup, while the node is not running."""

import shutil

from muster_storage import backup, layout
from muster_storage.backup import BackupError
from muster_storage.config import StorageConfig
from muster_storage.engine import Change, Engine, Family
from muster_storage.identity import new_identity
from muster_storage.store import database


def restore(config: StorageConfig, name: str, *, if_empty: bool = False) -> str:
    """Copy a backup into the data folder, and make the node another actor, with no ring.

    Args:
        if_empty: leave a folder that has data as it is, which is no error.

    Returns:
        A sentence about what was restored.

    Raises:
        BackupError: the folder is in use, or the backup is damaged or of another cluster; then the
            folder is as it was.
    """
    storage = config.storage
    if storage.backup_dir is None:
        raise BackupError("storage.backup_dir is not set; it says where backups are")
    source = storage.backup_dir / backup.check_name(name)
    target = database(storage.data_dir)
    if target.exists() and if_empty:
        return f"{target}: exists, and stays as it is"
    if target.exists():
        raise BackupError(f"{target}: exists; empty storage.data_dir first")
    manifest = backup.read_manifest(source)
    if manifest.origin.cluster != storage.cluster:
        raise BackupError(
            f"{source}: of cluster {manifest.origin.cluster!r}; this is {storage.cluster!r}"
        )
    partial = target.with_name(target.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    backup.fetch(source, partial)
    engine = Engine(partial)
    try:
        engine.write(
            [
                new_identity(storage.node_id, storage.cluster).change,
                Change(Family.META, layout.META_STATE, None),
                Change(Family.META, layout.META_RING, None),
                Change(Family.META, layout.META_HORIZON, None),
            ]
        )
    finally:
        engine.close()
    partial.rename(target)
    return (
        f"{manifest.origin.keys} records of {manifest.origin.node_id}, backed up "
        f"{manifest.created_at}, are in {storage.data_dir}"
    )
