"""Where pods may run: the parts of a pod's specification that a user may set, typed.

The fields are those of `k8s.io/api/core/v1`, so that what is accepted here is accepted there.
"""

from typing import Annotated, Literal

from pydantic import Field

from muster_api.model import Model, Rule

LabelKey = Annotated[str, Field(min_length=1, max_length=317)]
LabelValue = Annotated[str, Field(max_length=63)]
LabelValues = Annotated[list[LabelValue], Field(max_length=64)]
TopologyKey = Annotated[
    str, Field(min_length=1, max_length=317, description="The node label that makes a domain.")
]
Weight = Annotated[int, Field(ge=1, le=100, description="How much this preference counts, 1-100.")]


class Toleration(Model):
    """A node taint that the pods put up with."""

    rules = (
        Rule(
            "self.operator != 'Exists' || !has(self.value)",
            "operator Exists takes no value: remove value, or write operator: Equal",
        ),
    )

    key: LabelKey | None = Field(None, description="The taint's key; absent means every taint.")
    operator: Literal["Equal", "Exists"] = Field(
        "Equal", description="Equal compares value, Exists does not."
    )
    value: LabelValue | None = Field(None, description="The taint's value.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        None, description="The taint's effect; absent means every effect."
    )
    toleration_seconds: int | None = Field(
        None, ge=0, description="How long NoExecute is put up with; absent means for ever."
    )


class LabelSelectorRequirement(Model):
    """One condition on labels."""

    key: LabelKey = Field(description="The label.")
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"] = Field(
        description="How the label is compared with values."
    )
    values: LabelValues | None = Field(None, description="The values of In and NotIn.")


class LabelSelector(Model):
    """Objects by their labels; all conditions must hold."""

    match_labels: Annotated[dict[str, LabelValue], Field(max_length=16)] | None = Field(
        None, description="Labels with exactly these values."
    )
    match_expressions: Annotated[list[LabelSelectorRequirement], Field(max_length=16)] | None = (
        Field(None, description="Further conditions.")
    )


class NodeSelectorRequirement(Model):
    """One condition on a node."""

    key: LabelKey = Field(description="The node label, or metadata.name in matchFields.")
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"] = Field(
        description="How the label is compared with values."
    )
    values: LabelValues | None = Field(None, description="What to compare with.")


class NodeSelectorTerm(Model):
    """Conditions on a node that must all hold."""

    match_expressions: Annotated[list[NodeSelectorRequirement], Field(max_length=16)] | None = (
        Field(None, description="Conditions on the node's labels.")
    )
    match_fields: Annotated[list[NodeSelectorRequirement], Field(max_length=16)] | None = Field(
        None, description="Conditions on the node's fields."
    )


class NodeSelector(Model):
    """Nodes that fit at least one of the terms."""

    node_selector_terms: Annotated[list[NodeSelectorTerm], Field(min_length=1, max_length=16)] = (
        Field(description="Alternatives.")
    )


class PreferredSchedulingTerm(Model):
    """Nodes that are preferred."""

    weight: Weight
    preference: NodeSelectorTerm = Field(description="The nodes preferred.")


class NodeAffinity(Model):
    """Nodes that are required or preferred."""

    required_during_scheduling_ignored_during_execution: NodeSelector | None = Field(
        None, description="Only these nodes."
    )
    preferred_during_scheduling_ignored_during_execution: (
        Annotated[list[PreferredSchedulingTerm], Field(max_length=16)] | None
    ) = Field(None, description="Rather these nodes.")


class PodAffinityTerm(Model):
    """Pods, and the domain in which to be near them or away from them."""

    label_selector: LabelSelector | None = Field(None, description="The pods.")
    namespaces: Annotated[list[LabelValue], Field(max_length=16)] | None = Field(
        None, description="Their namespaces; absent means this one."
    )
    namespace_selector: LabelSelector | None = Field(
        None, description="Their namespaces by labels."
    )
    topology_key: TopologyKey


class WeightedPodAffinityTerm(Model):
    """A preference."""

    weight: Weight
    pod_affinity_term: PodAffinityTerm = Field(description="The pods and the domain.")


class PodAffinity(Model):
    """Pods to be near, or for podAntiAffinity away from."""

    required_during_scheduling_ignored_during_execution: (
        Annotated[list[PodAffinityTerm], Field(max_length=16)] | None
    ) = Field(None, description="Must hold.")
    preferred_during_scheduling_ignored_during_execution: (
        Annotated[list[WeightedPodAffinityTerm], Field(max_length=16)] | None
    ) = Field(None, description="Should hold.")


class Affinity(Model):
    """Where the pods should or must run."""

    node_affinity: NodeAffinity | None = Field(None, description="By nodes.")
    pod_affinity: PodAffinity | None = Field(None, description="Near other pods.")
    pod_anti_affinity: PodAffinity | None = Field(None, description="Away from other pods.")


class TopologySpreadConstraint(Model):
    """How evenly the pods are spread over domains of nodes."""

    max_skew: int = Field(ge=1, description="The greatest difference between two domains.")
    topology_key: TopologyKey
    when_unsatisfiable: Literal["DoNotSchedule", "ScheduleAnyway"] = Field(
        description="Whether an uneven pod waits or runs."
    )
    label_selector: LabelSelector | None = Field(
        None, description="The pods counted; absent means this Deployment's."
    )
    min_domains: int | None = Field(
        None, ge=1, description="With fewer domains than this, the least counts as empty."
    )
