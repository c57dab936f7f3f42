"""The parts that all kinds share."""

from typing import Annotated, Literal

from pydantic import Field

from muster_api.model import (
    QUANTITY_PATTERN,
    Annotations,
    Image,
    Labels,
    Model,
    Name,
    Quantity,
    Rule,
    ruled,
)
from muster_api.scheduling import Affinity, LabelKey, Toleration, TopologySpreadConstraint

SHORT_NAME = Rule(
    "self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$') && size(self.metadata.name) <= 40",
    "metadata.name must be at most 40 lower-case letters, digits and hyphens, and begin with a "
    "letter: objects named after it need the room",
)

RESERVED_LABELS = Rule(
    "self.all(key, !key.startsWith('app.kubernetes.io/') && !key.startsWith('muster.dev/'))",
    "labels below app.kubernetes.io/ and muster.dev/ are the operator's: choose another prefix",
)

RESERVED_ANNOTATIONS = Rule(
    "self.all(key, !key.startsWith('muster.dev/'))",
    "annotations below muster.dev/ are the operator's: choose another prefix",
)

UserId = Annotated[int, Field(ge=1, le=2147483647)]


class LocalReference(Model):
    """Another object in the same namespace."""

    name: Name = Field(description="Its name.")


class SecretKeyReference(Model):
    """One key of a Secret in the same namespace."""

    name: Name = Field(description="The Secret's name.")
    key: Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[-._a-zA-Z0-9]+$")] = Field(
        description="The key that holds the value."
    )


class Resources(Model):
    """What a container is promised and what it may use at most."""

    rules = (
        Rule(
            "!has(self.requests) || !has(self.limits) || self.requests.all(name, "
            "!(name in self.limits) || quantity(string(self.requests[name]))"
            ".compareTo(quantity(string(self.limits[name]))) <= 0)",
            "a request is greater than its limit: lower it under requests or raise it under limits",
        ),
    )

    requests: Annotated[dict[str, Quantity], Field(max_length=8)] | None = Field(
        None, description="Promised: cpu, memory, ephemeral-storage."
    )
    limits: Annotated[dict[str, Quantity], Field(max_length=8)] | None = Field(
        None, description="At most: cpu, memory, ephemeral-storage."
    )


class PodSecurity(Model):
    """As whom the pods run; never root."""

    run_as_user: UserId | None = Field(None, description="User id, not 0.")
    run_as_group: UserId | None = Field(None, description="Group id, not 0.")
    fs_group: UserId | None = Field(None, description="Group that owns the volumes, not 0.")


class PodTemplate(Model):
    """What the pods have beyond what the operator gives them."""

    labels: Labels | None = Field(
        None,
        description="Further labels.",
        json_schema_extra=ruled(RESERVED_LABELS),
    )
    annotations: Annotations | None = Field(
        None,
        description="Further annotations.",
        json_schema_extra=ruled(RESERVED_ANNOTATIONS),
    )
    node_selector: (
        Annotated[dict[LabelKey, Annotated[str, Field(max_length=63)]], Field(max_length=16)] | None
    ) = Field(None, description="Only nodes with these labels.")
    tolerations: Annotated[list[Toleration], Field(max_length=16)] | None = Field(
        None, description="Taints that the pods put up with."
    )
    affinity: Affinity | None = Field(None, description="Where the pods should or must run.")
    topology_spread_constraints: (
        Annotated[list[TopologySpreadConstraint], Field(max_length=8)] | None
    ) = Field(
        None,
        description="How the pods are spread; absent means over nodes, as well as possible.",
    )
    priority_class_name: Name | None = Field(None, description="The PriorityClass of the pods.")
    runtime_class_name: Name | None = Field(
        None,
        description="The RuntimeClass of the pods, such as one that isolates them; absent means "
        "the cluster's default.",
    )
    security_context: PodSecurity | None = Field(
        None, description="As whom the pods run; absent means as the image's own user."
    )


class ServiceAccount(Model):
    """The ServiceAccount that the operator makes for the pods."""

    annotations: Annotations | None = Field(
        None,
        description="Further annotations, such as those by which a cloud gives the pods an "
        "identity.",
        json_schema_extra=ruled(RESERVED_ANNOTATIONS),
    )


class NetworkPolicySwitch(Model):
    """Which connections the pods take and make."""

    enabled: bool = Field(
        True, description="Restrict the pods to the connections that they need, by NetworkPolicy."
    )


class Workload(Model):
    """What every kind says about its own pods."""

    image: Image | None = Field(
        None, description="Image of the main container; absent means the operator's default."
    )
    image_pull_secrets: Annotated[list[LocalReference], Field(max_length=8)] | None = Field(
        None, description="Secrets with which images are pulled."
    )
    pod_template: PodTemplate = Field(
        PodTemplate(), description="What the pods have beyond what the operator gives them."
    )
    suspend: bool = Field(
        False, description="Stop all pods and keep everything else; false starts them again."
    )
    network_policy: NetworkPolicySwitch = Field(
        NetworkPolicySwitch(), description="Which connections the pods take and make."
    )


DeletionPolicy = Literal["Delete", "Retain"]

GROWS = Rule(
    "quantity(self).compareTo(quantity(oldSelf)) >= 0",
    "a volume can't shrink: write the size that it has, or a larger one",
)
"""Of the size of a volume, which is raised where it is."""


MANAGED_OR_SECRET = Rule(
    "has(self.managed) != has(self.secretRef)",
    "write either managed: {} or secretRef: {name, key}, and not both",
)
"""Of what the operator keeps, or somebody else, whose Secret then says where it is."""


class ManagedStore(Model):
    """A server of one pod with a volume, kept by the operator."""

    image: Image | None = Field(None, description="Image; absent means the operator's default.")
    storage: Annotated[str, Field(max_length=32, pattern=QUANTITY_PATTERN)] = Field(
        "2Gi",
        description="Size of the volume. It may be raised where the StorageClass allows that.",
        json_schema_extra=ruled(
            GROWS,
            Rule(
                "quantity(self).compareTo(quantity('256Mi')) >= 0",
                "write a size of at least 256Mi, such as 2Gi",
            ),
        ),
    )
    storage_class_name: Name | None = Field(
        None, description="StorageClass of the volume; absent means the cluster's default."
    )
    deletion_policy: DeletionPolicy = Field(
        "Delete", description="Whether the volume goes when its owner is deleted."
    )

    rules = (
        Rule(
            "has(self.storageClassName) == has(oldSelf.storageClassName) && "
            "(!has(self.storageClassName) || self.storageClassName == oldSelf.storageClassName)",
            "the volume's class can't be changed: make a new object",
            ".storageClassName",
        ),
    )
