"""The CustomResourceDefinitions, built from the models."""

from dataclasses import dataclass
from typing import Any

from muster_api.coordinator import Coordinator
from muster_api.kvcluster import KVCluster
from muster_api.model import GROUP, VERSION, Model
from muster_api.proverpool import ProverPool
from muster_api.schema import structural_schema

_SCALE = {
    "specReplicasPath": ".spec.replicas",
    "statusReplicasPath": ".status.replicas",
    "labelSelectorPath": ".status.selector",
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column of `kubectl get`; `wide` ones only with `-o wide`."""

    name: str
    path: str
    type: str = "string"
    description: str = ""
    wide: bool = False

    def manifest(self) -> dict[str, Any]:
        """The entry of `additionalPrinterColumns`."""
        entry: dict[str, Any] = {"name": self.name, "type": self.type, "jsonPath": self.path}
        if self.description:
            entry["description"] = self.description
        return entry | ({"priority": 1} if self.wide else {})


@dataclass(frozen=True, slots=True)
class Kind:
    """A custom resource: its model and its names."""

    model: type[Model]
    plural: str
    short: str
    columns: tuple[Column, ...]

    @property
    def name(self) -> str:
        """The kind's name."""
        return self.model.__name__

    @property
    def crd_name(self) -> str:
        """The name of the CustomResourceDefinition."""
        return f"{self.plural}.{GROUP}"

    def manifest(self) -> dict[str, Any]:
        """The CustomResourceDefinition.

        Raises:
            SchemaError: the model has no structural schema.
        """
        return {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": self.crd_name},
            "spec": {
                "group": GROUP,
                "names": {
                    "kind": self.name,
                    "listKind": f"{self.name}List",
                    "plural": self.plural,
                    "singular": self.name.lower(),
                    "shortNames": [self.short],
                    "categories": ["muster"],
                },
                "scope": "Namespaced",
                "versions": [self._version()],
            },
        }

    def _version(self) -> dict[str, Any]:
        return {
            "name": VERSION,
            "served": True,
            "storage": True,
            "schema": {"openAPIV3Schema": self.schema()},
            "subresources": {"status": {}, "scale": dict(_SCALE)},
            "additionalPrinterColumns": [column.manifest() for column in self.columns],
        }

    def schema(self) -> dict[str, Any]:
        """The structural schema with the fields that every object has."""
        schema = structural_schema(self.model)
        schema["properties"] = {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            **schema["properties"],
        }
        return schema


def _condition(kind: str, part: str) -> str:
    return f".status.conditions[?(@.type=='{kind}')].{part}"


_READY = Column("Ready", _condition("Ready", "status"))
_REASON = Column("Reason", _condition("Ready", "reason"))
_MESSAGE = Column("Message", _condition("Ready", "message"), wide=True)
_AGE = Column("Age", ".metadata.creationTimestamp", "date")
_PENDING = Column("Pending", ".status.queue.pending", "integer", "Tasks that wait.")
_RUNNING = Column("Running", ".status.queue.inProgress", "integer", "Tasks being worked on.")

PROVER_POOL = Kind(
    model=ProverPool,
    plural="proverpools",
    short="pp",
    columns=(
        _READY,
        _REASON,
        Column("Workers", ".status.readyReplicas", "integer", "Workers that are ready."),
        Column("Desired", ".status.desiredReplicas", "integer", "Workers that are wanted."),
        _PENDING,
        _RUNNING,
        Column("Coordinator", ".status.coordinator", wide=True),
        _MESSAGE,
        _AGE,
    ),
)

COORDINATOR = Kind(
    model=Coordinator,
    plural="coordinators",
    short="coord",
    columns=(
        _READY,
        _REASON,
        Column("Replicas", ".status.readyReplicas", "integer", "Coordinators that are ready."),
        Column("Leader", ".status.leader"),
        Column("Pools", ".status.pools", "integer", "ProverPools that it serves."),
        Column("Workers", ".status.workers.active", "integer", "Workers that are alive."),
        _PENDING,
        _RUNNING,
        _MESSAGE,
        _AGE,
    ),
)

KV_CLUSTER = Kind(
    model=KVCluster,
    plural="kvclusters",
    short="kvc",
    columns=(
        _READY,
        _REASON,
        Column("Nodes", ".status.readyReplicas", "integer", "Storage nodes that are ready."),
        Column("Desired", ".spec.replicas", "integer", "Storage nodes that are wanted."),
        Column("Members", ".status.members", "integer", "Storage nodes that have joined."),
        Column(
            "Replicated",
            _condition("FullyReplicated", "status"),
            description="Whether no replica is away or missing.",
        ),
        Column(
            "Coordinators",
            ".status.coordinators.readyReplicas",
            "integer",
            "Coordinators that are ready.",
        ),
        Column("Ring", ".status.ringVersion", "integer", "The version of the ring.", wide=True),
        Column("Tenants", ".status.tenants", "integer", "Declared tenants in order.", wide=True),
        _MESSAGE,
        _AGE,
    ),
)

KINDS = (PROVER_POOL, COORDINATOR, KV_CLUSTER)
