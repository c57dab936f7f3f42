"""The managed PostgreSQL of a Coordinator or KVCluster: one pod with a volume."""

from typing import Any

from muster_api.database import ManagedDatabase
from muster_api.shared import Workload
from muster_operator import naming
from muster_operator.children.base import (
    READ_BY_GROUP,
    Defaults,
    Owner,
    PodSpec,
)
from muster_operator.children.network import postgres_policy
from muster_operator.children.volumes import managed_claim, retention
from muster_operator.resources import SECRETS, SERVICES, STATEFUL_SETS, Manifest

ROLE = "muster"
PASSWORD_KEY = "password"  # noqa: S105 - a key's name
DSN_KEY = "dsn"

_USER = 999
_DATA = "/var/lib/postgresql/data"
_PASSWORD_FILE = "/etc/muster/postgres/password"  # noqa: S105 - a path
_CONNECTIONS = 300

# The image sets the password only when it makes an empty volume. Setting it at each start lets a
# kept volume go with a new Secret. The password reaches psql by its file, not by an argument.
_ON_START = r"""
for attempt in $(seq 240); do
  if psql -qtAX -U muster -d muster -c 'SELECT 1' >/dev/null 2>&1; then
    printf '%s\n' '\set secret `cat /etc/muster/postgres/password`' \
      "ALTER ROLE muster PASSWORD :'secret'" |
      psql -qX -v ON_ERROR_STOP=1 -U muster -d muster >/dev/null && exit 0
  fi
  sleep 0.5
done
exit 1
""".lstrip()


def host(owner: Owner) -> str:
    """The database's name in the cluster."""
    return f"{naming.postgres_name(owner.key)}.{owner.key.namespace}.svc"


def secret(owner: Owner, password: str) -> Manifest:
    """The Secret with the password and the connection string; made once, never written again."""
    dsn = f"postgresql://{ROLE}:{password}@{host(owner)}:{naming.POSTGRES_PORT}/{ROLE}"
    return SECRETS.manifest(
        owner.metadata(naming.postgres_name(owner.key), naming.POSTGRES),
        type="Opaque",
        stringData={PASSWORD_KEY: password, DSN_KEY: dsn},
    )


def managed_postgres(
    owner: Owner,
    spec: Workload,
    database: ManagedDatabase,
    defaults: Defaults,
    secret_version: str,
) -> list[Manifest]:
    """All objects of the database but its Secret, of which `secret_version` is the version."""
    name = naming.postgres_name(owner.key)
    selector = naming.selecting(owner.key, naming.POSTGRES)
    service = SERVICES.manifest(
        owner.metadata(name, naming.POSTGRES),
        spec={
            "clusterIP": "None",
            "selector": selector,
            "ports": [{"name": "postgres", "port": naming.POSTGRES_PORT, "targetPort": "postgres"}],
        },
    )
    pod = PodSpec(
        owner=owner,
        component=naming.POSTGRES,
        container=_container(database, defaults),
        annotations={naming.CREDENTIALS: secret_version},
        volumes=(
            {"name": "run", "emptyDir": {}},
            {
                "name": "password",
                "secret": {
                    "secretName": name,
                    "defaultMode": READ_BY_GROUP,
                    "items": [{"key": PASSWORD_KEY, "path": "password"}],
                },
            },
        ),
        grace=60,
        workload=spec,
        fixed_user=_USER,
    )
    stateful_set = STATEFUL_SETS.manifest(
        owner.metadata(name, naming.POSTGRES),
        spec={
            "replicas": 0 if spec.suspend else 1,
            "serviceName": name,
            "selector": {"matchLabels": selector},
            "persistentVolumeClaimRetentionPolicy": retention(database),
            "template": pod.template(),
            "volumeClaimTemplates": [managed_claim(database, selector)],
        },
    )
    objects = [service, stateful_set]
    return [*objects, postgres_policy(owner)] if spec.network_policy.enabled else objects


def _container(database: ManagedDatabase, defaults: Defaults) -> dict[str, Any]:
    # By TCP: while the image makes an empty volume, a temporary server answers on the socket.
    ready = {"exec": {"command": ["pg_isready", "-q", "-h", "127.0.0.1", "-U", ROLE, "-d", ROLE]}}
    return {
        "name": "postgres",
        "image": database.image or defaults.postgres_image,
        "imagePullPolicy": defaults.pull_policy,
        "args": ["postgres", "-c", f"max_connections={_CONNECTIONS}"],
        "env": [
            {"name": "POSTGRES_USER", "value": ROLE},
            {"name": "POSTGRES_DB", "value": ROLE},
            {"name": "POSTGRES_PASSWORD_FILE", "value": _PASSWORD_FILE},
            {"name": "PGDATA", "value": f"{_DATA}/pgdata"},
        ],
        "ports": [{"name": "postgres", "containerPort": naming.POSTGRES_PORT}],
        "lifecycle": {"postStart": {"exec": {"command": ["sh", "-c", _ON_START]}}},
        "startupProbe": {**ready, "periodSeconds": 1, "timeoutSeconds": 5, "failureThreshold": 180},
        "livenessProbe": {**ready, "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 6},
        "readinessProbe": {**ready, "periodSeconds": 5, "timeoutSeconds": 5},
        "resources": database.resources.to_wire(),
        "volumeMounts": [
            {"name": "data", "mountPath": _DATA},
            {"name": "run", "mountPath": "/var/run/postgresql"},
            {"name": "password", "mountPath": "/etc/muster/postgres", "readOnly": True},
        ],
    }
