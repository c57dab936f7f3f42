"""The operator's configuration: section `muster:` of a YAML file, `MUSTER_*` over it."""

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from muster_operator import naming, rbac
from muster_operator.children.autoscaler import Source
from muster_operator.children.base import Defaults, PullPolicy
from muster_runtime.config import Duration, Port, Section


def _at_least_a_second(value: timedelta) -> timedelta:
    if value < timedelta(seconds=1):
        raise ValueError("a duration of at least 1s")
    return value


Interval = Annotated[Duration, AfterValidator(_at_least_a_second)]
ImageName = Annotated[str, Field(min_length=1)]


class OperatorSection(Section):
    """What the operator makes, how often it looks, and where it serves."""

    coordinator_image: ImageName
    worker_image: ImageName
    postgres_image: ImageName
    nats_image: ImageName
    image_pull_policy: PullPolicy = "IfNotPresent"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    lease_name: str = "muster-operator"
    deployment: str = ""
    resync_interval: Interval = timedelta(seconds=120)
    poll_interval: Interval = timedelta(seconds=5)
    ops_port: Port = naming.OPERATOR_OPS_PORT
    token_review_binding: str = rbac.TOKEN_REVIEW_BINDING
    autoscaling_source: Source = "Muster"
    keda_namespace: str = Field(default="keda", min_length=1)
    metrics_api_port: Port = 6443
    metrics_api_service: str = "muster-metrics"
    metrics_api_secret: str = "muster-metrics-tls"  # noqa: S105 - a Secret's name


class OperatorConfig(Section):
    """The whole configuration."""

    muster: OperatorSection

    def defaults(self) -> Defaults:
        """What the configuration says about all that is made."""
        section = self.muster
        return Defaults(
            section.coordinator_image,
            section.worker_image,
            section.postgres_image,
            section.nats_image,
            section.image_pull_policy,
            section.keda_namespace if section.autoscaling_source == "KEDA" else "",
        )
