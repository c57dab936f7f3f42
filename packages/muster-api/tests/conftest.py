"""The custom resources in a real API server."""

from collections.abc import Iterator
from typing import Any

import pytest
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException

from muster_api.crd import KINDS
from muster_api.model import GROUP, VERSION
from muster_testing.apiserver import ControlPlane
from muster_testing.waiting import eventually_sync


@pytest.fixture(scope="session")
def objects(apiserver: ControlPlane) -> Iterator[client.CustomObjectsApi]:
    """Custom objects of an API server that knows our kinds."""
    with config.new_client_from_config(str(apiserver.kubeconfig)) as api:
        # As Any, because the client takes and gives plain JSON where it declares models.
        definitions: Any = client.ApiextensionsV1Api(api)
        for kind in KINDS:
            definitions.create_custom_resource_definition(kind.manifest())

        custom = client.CustomObjectsApi(api)

        def served() -> bool:
            for kind in KINDS:
                found = definitions.read_custom_resource_definition(kind.crd_name)
                conditions = {each.type: each.status for each in found.status.conditions or []}
                assert "NonStructuralSchema" not in conditions, conditions
                assert conditions.get("Established") == "True", conditions
                try:
                    custom.list_namespaced_custom_object(GROUP, VERSION, "default", kind.plural)
                    client.CoreV1Api(api).read_namespace("default")
                except ApiException as error:
                    raise AssertionError(str(error)) from error
            return True

        eventually_sync(served, what="the definitions are served")
        yield custom
