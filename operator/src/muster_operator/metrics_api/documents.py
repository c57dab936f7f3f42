"""The documents of the API: discovery, values, errors; pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from muster_operator.metrics_api.access import GROUP
from muster_operator.metrics_api.queues import METRICS

VERSION = "v1beta1"
GROUP_VERSION = f"{GROUP}/{VERSION}"

_GROUP: dict[str, Any] = {
    "name": GROUP,
    "versions": [{"groupVersion": GROUP_VERSION, "version": VERSION}],
    "preferredVersion": {"groupVersion": GROUP_VERSION, "version": VERSION},
}

GROUP_LIST: dict[str, Any] = {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_GROUP]}
GROUP_DOCUMENT: dict[str, Any] = {"kind": "APIGroup", "apiVersion": "v1", **_GROUP}
RESOURCE_LIST: dict[str, Any] = {
    "kind": "APIResourceList",
    "apiVersion": "v1",
    "groupVersion": GROUP_VERSION,
    "resources": [
        {
            "name": metric,
            "singularName": "",
            "namespaced": True,
            "kind": "ExternalMetricValueList",
            "verbs": ["get"],
        }
        for metric in METRICS
    ],
}

# The API server merges the schemas of everything it aggregates and complains when there is none.
OPENAPI_V2: dict[str, Any] = {
    "swagger": "2.0",
    "info": {"title": "Muster external metrics", "version": VERSION},
    "paths": {},
    "definitions": {},
}
OPENAPI_V3_INDEX: dict[str, Any] = {
    "paths": {
        f"apis/{GROUP_VERSION}": {"serverRelativeURL": f"/openapi/v3/apis/{GROUP_VERSION}?hash=1"}
    }
}
OPENAPI_V3: dict[str, Any] = {
    "openapi": "3.0.0",
    "info": OPENAPI_V2["info"],
    "paths": {},
    "components": {"schemas": {}},
}


def value_list(
    metric: str, values: Sequence[tuple[Mapping[str, str], int]], at: datetime
) -> dict[str, Any]:
    """The values of a metric, each with its labels."""
    return {
        "kind": "ExternalMetricValueList",
        "apiVersion": GROUP_VERSION,
        "metadata": {},
        "items": [
            {
                "metricName": metric,
                "metricLabels": dict(labels),
                "timestamp": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
                "value": str(value),
            }
            for labels, value in sorted(values, key=lambda each: sorted(each[0].items()))
        ],
    }


def failure(code: int, reason: str, message: str) -> dict[str, Any]:
    """A `Status` that says what went wrong."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": code,
    }
