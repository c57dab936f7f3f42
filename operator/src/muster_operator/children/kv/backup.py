"""Backups of a KVCluster: a CronJob that asks every storage node for one, and what they restore.

Each node writes its own, into a claim that somebody else made. A backup is named by its Job, so
that one made by hand (`kubectl create job --from`) has the name that was given to it. Who has asked
for one removes what it makes superfluous.
"""

from typing import Any

from muster_api.kv_backup import KVBackup
from muster_operator import naming
from muster_operator.children.base import Defaults, Owner, PodSpec
from muster_operator.children.kv.given import KvInput
from muster_operator.children.kv.paths import BACKUPS, DATA, FOLDER, RESTORED_FILE, STORAGE_FILE
from muster_operator.resources import CRON_JOBS, Manifest

_SECONDS = 6 * 3600
_TRIES = 2
_GRACE_SECONDS = 30
_RESOURCES = {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}}


def backup_volume(given: KvInput) -> list[dict[str, Any]]:
    """The volume with the backups, where there are any."""
    backup = given.spec.backup
    if backup is None:
        return []
    return [{"name": "backups", "persistentVolumeClaim": {"claimName": backup.claim_name}}]


def backup_mount(given: KvInput) -> list[dict[str, Any]]:
    """Its mount."""
    return [{"name": "backups", "mountPath": BACKUPS}] if given.spec.backup else []


def restoring(given: KvInput, container: dict[str, Any]) -> list[dict[str, Any]]:
    """What fills the empty volume of a storage node before it starts; `container` is the node's.

    It does nothing when all nodes have begun, as the ConfigMap tells: what a volume lacks that is
    lost later the other nodes have, and the backup is old. To leave it out then would replace all
    pods for nothing.
    """
    backup = given.spec.backup
    if backup is None or backup.restore is None:
        return []
    kept = ("image", "imagePullPolicy", "command", "env", "resources", "volumeMounts")
    return [
        {
            "name": "restore",
            # Why it failed is told in the status of the KVCluster.
            "terminationMessagePolicy": "FallbackToLogsOnError",
            **{key: container[key] for key in kept},
            "args": [
                *("--config", f"{FOLDER}/{STORAGE_FILE}"),
                *("restore", "--if-empty", "--unless", f"{FOLDER}/{RESTORED_FILE}"),
                f"$(POD_NAME).{backup.restore}",
            ],
        }
    ]


def backup_job(given: KvInput, defaults: Defaults, config: dict[str, Any]) -> list[Manifest]:
    """The CronJob; `config` is the volume with the storage nodes' configuration."""
    backup, owner = given.spec.backup, given.owner
    if backup is None:
        return []
    pod = PodSpec(
        owner=owner,
        component=naming.KV_BACKUP,
        container=_container(given, backup, defaults),
        annotations={},
        volumes=(config, *backup_volume(given), {"name": "data", "emptyDir": {}}),
        grace=_GRACE_SECONDS,
        workload=given.spec,
    )
    template = pod.template()
    template["spec"]["restartPolicy"] = "Never"
    job = {
        # One pod for each storage node, one after the other: a backup reads all that a node has.
        "completionMode": "Indexed",
        "completions": given.nodes,
        "parallelism": 1,
        "backoffLimitPerIndex": _TRIES,
        "activeDeadlineSeconds": _SECONDS,
        "template": template,
    }
    name = naming.kv_backup_name(owner.key.name)
    return [
        CRON_JOBS.manifest(
            owner.metadata(name, naming.KV_BACKUP),
            spec={
                "schedule": backup.schedule,
                "timeZone": "Etc/UTC",
                "concurrencyPolicy": "Forbid",
                "suspend": given.spec.suspend,
                "successfulJobsHistoryLimit": 1,
                "failedJobsHistoryLimit": 1,
                "jobTemplate": {
                    "metadata": {"labels": owner.selecting(naming.KV_BACKUP)},
                    "spec": job,
                },
            },
        )
    ]


def _container(given: KvInput, backup: KVBackup, defaults: Defaults) -> dict[str, Any]:
    key = given.owner.key
    node = f"{naming.kv_storage_name(key.name)}-$(NODE_NUMBER)"
    return {
        "name": "backup",
        "image": given.spec.image or defaults.worker_image,
        "imagePullPolicy": defaults.pull_policy,
        "command": ["muster-storage"],
        "args": [
            *("--config", f"{FOLDER}/{STORAGE_FILE}", "backup"),
            *("--if-missing", "--keep", str(backup.keep), "--nodes", str(given.nodes)),
            f"{node}.$(JOB_NAME)",
        ],
        "env": [
            _label("JOB_NAME", "job-name"),
            _label("NODE_NUMBER", "job-completion-index"),
            {"name": "STORAGE_HOST", "value": naming.kv_node_host(key, node)},
        ],
        "resources": _RESOURCES,
        "volumeMounts": [
            {"name": "config", "mountPath": FOLDER, "readOnly": True},
            {"name": "data", "mountPath": DATA},
            *backup_mount(given),
        ],
    }


def _label(name: str, label: str) -> dict[str, Any]:
    path = f"metadata.labels['batch.kubernetes.io/{label}']"
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def backup_peers(owner: Owner) -> dict[str, Any]:
    """The pods that ask for backups, as network policies name them."""
    return {"podSelector": {"matchLabels": owner.selecting(naming.KV_BACKUP)}}
