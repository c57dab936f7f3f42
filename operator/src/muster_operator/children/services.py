"""The Service for clients alone.

Others need the Service that every Deployment of coordinators has: workers, the operator, what
scrapes metrics. Those ports are not for whoever is let in from outside, and so are not in here.
"""

from collections.abc import Mapping

from muster_api.services import ClientService
from muster_operator import naming
from muster_operator.children.base import Owner, service_ports
from muster_operator.resources import SERVICES, Manifest


def client_service(
    owner: Owner, component: str, deployment: str, wanted: ClientService, ports: Mapping[str, int]
) -> Manifest:
    """A Service with `ports`, by name, of the pods of `component`."""
    spec = wanted.to_wire()
    labels, annotations = spec.pop("labels", {}), spec.pop("annotations", {})
    metadata = owner.metadata(naming.clients_name(deployment), component)
    metadata["labels"] = {**labels, **metadata["labels"]}
    if annotations:
        metadata["annotations"] = annotations
    return SERVICES.manifest(
        metadata,
        spec={**spec, "selector": owner.selecting(component), "ports": service_ports(ports)},
    )
