"""The message broker between a coordinator and those of its workers that are reached by it."""

from typing import Annotated

from pydantic import Field

from muster_api.model import Image, Model
from muster_api.shared import MANAGED_OR_SECRET, ManagedStore, Resources, SecretKeyReference

_PREFIX_PATTERN = r"^[A-Za-z0-9]([-A-Za-z0-9_]*[A-Za-z0-9])?$"


class ManagedBroker(ManagedStore):
    """A NATS with JetStream of one pod, kept by the operator."""

    image: Image | None = Field(
        None, description="NATS image; absent means the operator's default."
    )
    resources: Resources = Field(
        Resources(requests={"cpu": "50m", "memory": "64Mi"}, limits={"memory": "512Mi"}),
        description="Resources of the NATS container.",
    )


class Broker(Model):
    """Where messages go: exactly one of managed and secretRef."""

    rules = (MANAGED_OR_SECRET,)

    prefix: Annotated[str, Field(min_length=1, max_length=64, pattern=_PREFIX_PATTERN)] | None = (
        Field(
            None,
            description="A word before all subjects, where several Coordinators share one broker.",
        )
    )
    managed: ManagedBroker | None = Field(
        None, description="A NATS of one pod, for trying out and for small fleets."
    )
    secret_ref: SecretKeyReference | None = Field(
        None,
        description="The key of a Secret that holds the URL of a NATS with JetStream, such as "
        "nats://user:password@host:4222.",
    )
