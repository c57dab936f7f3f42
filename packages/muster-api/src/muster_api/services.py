"""The Service by which clients come from outside of the cluster, or by another name inside."""

from typing import Annotated, Literal

from pydantic import Field

from muster_api.http_api import Network
from muster_api.model import Annotations, Labels, Model, Rule, ruled
from muster_api.shared import RESERVED_ANNOTATIONS, RESERVED_LABELS

_CLASS_PATTERN = (
    r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
)


class ClientService(Model):
    """A Service for clients alone; its fields are those of a Service's spec."""

    rules = (
        Rule(
            "self.type == 'LoadBalancer' || !has(self.loadBalancerClass)",
            "loadBalancerClass belongs to type LoadBalancer: write type: LoadBalancer, or remove "
            "it",
            ".loadBalancerClass",
        ),
        Rule(
            "self.type == 'LoadBalancer' || !has(self.loadBalancerSourceRanges)",
            "loadBalancerSourceRanges belongs to type LoadBalancer: write type: LoadBalancer, or "
            "remove it",
            ".loadBalancerSourceRanges",
        ),
        Rule(
            "self.type != 'ClusterIP' || !has(self.externalTrafficPolicy)",
            "externalTrafficPolicy belongs to what comes from outside: write type: LoadBalancer or "
            "NodePort, or remove it",
            ".externalTrafficPolicy",
        ),
        Rule(
            "self.type != 'LoadBalancer' || oldSelf.type != 'LoadBalancer' || "
            "(has(self.loadBalancerClass) == has(oldSelf.loadBalancerClass) && "
            "(!has(self.loadBalancerClass) || self.loadBalancerClass == "
            "oldSelf.loadBalancerClass))",
            "loadBalancerClass of a load balancer can't be changed: write type: ClusterIP first, "
            "and the other class when the Service has that type",
            ".loadBalancerClass",
        ),
    )

    type: Literal["ClusterIP", "NodePort", "LoadBalancer"] = Field(
        "ClusterIP",
        description="ClusterIP: from inside of the cluster. NodePort: also by a port of every "
        "node. LoadBalancer: also by an address that the cluster's load balancer gives.",
    )
    labels: Labels | None = Field(
        None, description="Further labels.", json_schema_extra=ruled(RESERVED_LABELS)
    )
    annotations: Annotations | None = Field(
        None,
        description="Annotations, such as a load balancer is told by what it should be.",
        json_schema_extra=ruled(RESERVED_ANNOTATIONS),
    )
    load_balancer_class: (
        Annotated[str, Field(min_length=1, max_length=317, pattern=_CLASS_PATTERN)] | None
    ) = Field(None, description="Which load balancer; absent means the cluster's default.")
    load_balancer_source_ranges: Annotated[list[Network], Field(max_length=32)] | None = Field(
        None,
        description="Addresses or networks, such as 203.0.113.0/24, that may connect through the "
        "load balancer, if it can restrict them; absent means all.",
    )
    external_traffic_policy: Literal["Cluster", "Local"] | None = Field(
        None,
        description="Cluster: any node takes connections, and they seem to come from that node. "
        "Local: only nodes with a pod do, and clients keep their addresses. Absent means Cluster.",
    )
