"""The certificates in a Secret that both replicas share."""

import base64
from collections.abc import Mapping
from datetime import UTC, datetime

from muster_operator import naming
from muster_operator.cluster import Cluster, ConflictError
from muster_operator.metrics_api.certificates import Certificates, first, renewed
from muster_operator.resources import SECRETS, Manifest

_KEYS = {
    "ca.crt": "authorities",
    "ca.key": "authority_key",
    "tls.crt": "server",
    "tls.key": "server_key",
}


class SharedCertificates:
    """Reads, makes and renews the certificates.

    Args:
        name: the Secret's name.
        service: the Service in front of the server, in the same namespace.
    """

    def __init__(self, cluster: Cluster, namespace: str, name: str, service: str) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._name = name
        self._service = service
        self._names = (f"{service}.{namespace}.svc", f"{service}.{namespace}")

    def serves(self, service: Mapping[str, str]) -> bool:
        """Whether a reference in an APIService means our Service."""
        return (service.get("namespace"), service.get("name")) == (self._namespace, self._service)

    async def read(self) -> Certificates:
        """The certificates; made by whichever replica comes first.

        Raises:
            ClusterError: the Secret can't be read or written now.
        """
        return await self._settled(renew=False)

    async def renew(self) -> Certificates:
        """The certificates, with whatever is due made anew; for the leader alone.

        Raises:
            ClusterError: the Secret can't be read or written now.
        """
        return await self._settled(renew=True)

    async def _settled(self, *, renew: bool) -> Certificates:
        """Read and, where something has to be made, write until nobody was faster."""
        while True:
            secret = await self._cluster.get(SECRETS, self._namespace, self._name)
            held = _parse(secret)
            now = datetime.now(UTC)
            wanted = first(self._names, now) if held is None else held
            if held and renew:
                wanted = self._renewed(held, now)
            if wanted == held:
                return wanted
            try:
                await self._write(secret, wanted)
            except ConflictError:
                continue
            return wanted

    def _renewed(self, held: Certificates, now: datetime) -> Certificates:
        try:
            return renewed(held, self._names, now)
        except ValueError:
            return first(self._names, now)

    async def _write(self, secret: Manifest | None, wanted: Certificates) -> None:
        data = {
            key: base64.b64encode(getattr(wanted, field)).decode() for key, field in _KEYS.items()
        }
        if secret is None:
            metadata = {
                "name": self._name,
                "namespace": self._namespace,
                "labels": {naming.MANAGED_BY: naming.MANAGER},
            }
            await self._cluster.create(SECRETS, SECRETS.manifest(metadata, data=data))
        else:
            await self._cluster.replace(SECRETS, {**secret, "data": data})


def _parse(secret: Manifest | None) -> Certificates | None:
    """The certificates of a Secret; None where it has none, or not all."""
    data = (secret or {}).get("data") or {}
    if not _KEYS.keys() <= data.keys():
        return None
    return Certificates(**{field: base64.b64decode(data[key]) for key, field in _KEYS.items()})
