"""Certificates and tokens for the tests of the gRPC face's security."""

import time
from pathlib import Path
from typing import Any

import grpc
from kubernetes.aio import client, config

from muster_testing.apiserver import ControlPlane
from muster_testing.authority import Authority

AUDIENCE = "muster-coordinator"


class Certs:
    """The files of a server, and of those who connect to it, in one folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.authority = Authority("muster-test")
        self.authority.write(self.ca)
        self.renew_server()
        self.authority.issue("worker", folder / "worker")

    @property
    def ca(self) -> Path:
        return self.folder / "ca.crt"

    def renew_server(self, name: str = "demo-coordinator") -> None:
        """Give the server another certificate, as a rotation does."""
        self.authority.issue(name, self.folder / "server", dns=[name], addresses=["127.0.0.1"])

    def section(self, mode: str) -> dict[str, Any]:
        """The `grpc_tls` of a coordinator.yaml."""
        files = {"cert_file": "server.crt", "key_file": "server.key"}
        if mode == "mutual":
            files["ca_file"] = "ca.crt"
        return {"mode": mode} | {key: str(self.folder / name) for key, name in files.items()}

    def channel(self, target: str, *, certified: bool = False) -> grpc.aio.Channel:
        """A channel that trusts the authority, and shows a certificate if `certified`."""
        key = (self.folder / "worker.key").read_bytes() if certified else None
        chain = (self.folder / "worker.crt").read_bytes() if certified else None
        credentials = grpc.ssl_channel_credentials(self.ca.read_bytes(), key, chain)
        # A channel with sockets of its own is a connection of its own.
        return grpc.aio.secure_channel(
            target, credentials, options=[("grpc.use_local_subchannel_pool", 1)]
        )


class Accounts:
    """ServiceAccounts and their tokens, at a real API server."""

    def __init__(self, control_plane: ControlPlane) -> None:
        self._control_plane = control_plane
        self.namespace = f"tokens-{time.monotonic_ns()}"

    async def __aenter__(self) -> "Accounts":
        configuration = client.Configuration()
        await config.load_kube_config(
            config_file=str(self._control_plane.kubeconfig), client_configuration=configuration
        )
        self._api = client.ApiClient(configuration)
        self.core: Any = client.CoreV1Api(self._api)
        namespace: Any = {"metadata": {"name": self.namespace}}
        await self.core.create_namespace(namespace)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._api.close()

    async def account(self, name: str) -> str:
        """Make a ServiceAccount; `<namespace>:<name>`."""
        await self.core.create_namespaced_service_account(
            self.namespace, {"metadata": {"name": name}}
        )
        return f"{self.namespace}:{name}"

    async def pod(self, name: str, account: str) -> dict[str, str]:
        """Make a pod that nothing will ever run; a reference to it."""
        container = {"name": "worker", "image": "none"}
        made = await self.core.create_namespaced_pod(
            self.namespace,
            {
                "metadata": {"name": name},
                "spec": {"serviceAccountName": account, "containers": [container]},
            },
        )
        return {"apiVersion": "v1", "kind": "Pod", "name": name, "uid": made.metadata.uid}

    async def token(
        self, name: str, audience: str = AUDIENCE, pod: dict[str, str] | None = None
    ) -> str:
        """A token of an account by TokenRequest, bound to `pod` if there is one."""
        spec: dict[str, Any] = {"audiences": [audience], "expirationSeconds": 600}
        if pod is not None:
            spec["boundObjectRef"] = pod
        made = await self.core.create_namespaced_service_account_token(
            name, self.namespace, {"spec": spec}
        )
        return str(made.status.token)
