"""Connecting to the Kubernetes API with the official asyncio client."""

import contextlib
import os
from collections.abc import AsyncIterator

from kubernetes.aio import client, config


@contextlib.asynccontextmanager
async def connect() -> AsyncIterator[client.ApiClient]:
    """Open a client with the pod's ServiceAccount, or else with `KUBECONFIG`.

    Raises:
        kubernetes.aio.config.ConfigException: neither is there.
    """
    configuration = client.Configuration()
    if "KUBERNETES_SERVICE_HOST" in os.environ and "KUBECONFIG" not in os.environ:
        config.load_incluster_config(client_configuration=configuration)
    else:
        # Named, because the client library reads the variable only once, when it is imported.
        await config.load_kube_config(
            config_file=os.environ.get("KUBECONFIG"), client_configuration=configuration
        )
    async with client.ApiClient(configuration) as api:
        yield api
