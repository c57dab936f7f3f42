"""Serving the API by TLS, with certificates that change while it serves."""

import asyncio
import base64
import logging
import ssl
import tempfile
from pathlib import Path

from aiohttp import web

from muster_operator.cluster import Cluster, ClusterError
from muster_operator.metrics_api.certificates import Certificates
from muster_operator.metrics_api.front_proxy import FrontProxy
from muster_operator.metrics_api.secret import SharedCertificates
from muster_operator.rbac import METRICS_API_SERVICE
from muster_operator.resources import API_SERVICES, CONFIG_MAPS

log = logging.getLogger(__name__)

_REFRESH_SECONDS = 30.0
_RETRY_SECONDS = 2.0
_AUTHENTICATION = ("kube-system", "extension-apiserver-authentication")


class NotServableError(Exception):
    """There is nothing to serve with: no authority of a front proxy, or a damaged certificate."""


class MetricsServer:
    """Serves the metrics API, and follows certificates and authorities as they change.

    Args:
        port: TCP port on all addresses; 0 takes a free one, see `bound_port`.
    """

    def __init__(self, cluster: Cluster, certificates: SharedCertificates, port: int) -> None:
        self._cluster = cluster
        self._certificates = certificates
        self._port = port
        self._front_proxy: FrontProxy | None = None
        self._held: Certificates | None = None
        self._runner: web.AppRunner | None = None
        self._site: web.TCPSite | None = None
        self._refreshing = asyncio.Lock()

    @property
    def serving(self) -> bool:
        """Whether requests are answered."""
        return self._site is not None

    @property
    def bound_port(self) -> int:
        """The TCP port that is listened on."""
        assert self._runner is not None  # noqa: S101 - asked only while serving
        return int(self._runner.addresses[-1][1])

    def front_proxy(self) -> FrontProxy:
        """How the front proxy is recognised at present."""
        assert self._front_proxy is not None  # noqa: S101 - requests come only while serving
        return self._front_proxy

    async def run(self, app: web.Application) -> None:
        """Serve `app` for ever."""
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        try:
            while True:
                try:
                    await self._refresh()
                    pause = _REFRESH_SECONDS
                except (ClusterError, NotServableError) as error:
                    log.warning("the metrics API is not up to date", extra={"error": str(error)})
                    pause = _RETRY_SECONDS
                await asyncio.sleep(pause)
        finally:
            self._site = None
            await self._runner.cleanup()

    async def register(self) -> None:
        """Keep certificates fresh and the APIService's `caBundle` right for ever.

        For the leader alone.
        """
        while True:
            pause = _RETRY_SECONDS
            try:
                fresh = await self._certificates.renew()
                # Serve first: the API server must not be sent to somebody it can't trust.
                if self._held == fresh:
                    await self._publish(fresh.authorities)
                    pause = _REFRESH_SECONDS
                elif self.serving:
                    await self._refresh()
            except (ClusterError, NotServableError) as error:
                log.warning("the metrics API is not registered", extra={"error": str(error)})
            await asyncio.sleep(pause)

    async def _refresh(self) -> None:
        async with self._refreshing:
            await self._follow()

    async def _follow(self) -> None:
        front_proxy = await self._read_front_proxy()
        held = await self._certificates.read()
        if (front_proxy, held) == (self._front_proxy, self._held):
            return
        context = _context(held, front_proxy)
        assert self._runner is not None  # noqa: S101 - made by `run`
        # A second listener on the same port, so that no connection is refused in between.
        port = self._port if self._site is None else self.bound_port
        site = web.TCPSite(self._runner, port=port, ssl_context=context, reuse_port=True)
        self._front_proxy, self._held = front_proxy, held
        await site.start()
        if self._site is not None:
            await self._site.stop()
        self._site = site
        log.info("serving the metrics API", extra={"port": self.bound_port})

    async def _read_front_proxy(self) -> FrontProxy:
        found = await self._cluster.get(CONFIG_MAPS, *_AUTHENTICATION)
        try:
            return FrontProxy.parse((found or {}).get("data") or {})
        except ValueError as error:
            raise NotServableError(f"ConfigMap {'/'.join(_AUTHENTICATION)}: {error}") from None

    async def _publish(self, authorities: bytes) -> None:
        there = await self._cluster.get(API_SERVICES, None, METRICS_API_SERVICE)
        if there is None:
            return
        bundle = base64.b64encode(authorities).decode()
        if not self._certificates.serves(there["spec"].get("service") or {}):
            log.warning("another server has the external metrics API: autoscaling does not work")
        elif there["spec"].get("caBundle") != bundle:
            patch = {"spec": {"caBundle": bundle}}
            await self._cluster.merge(API_SERVICES, None, METRICS_API_SERVICE, patch)
            log.info("registered the metrics API")


def _context(held: Certificates, front_proxy: FrontProxy) -> ssl.SSLContext:
    """For the server.

    Raises:
        NotServableError: a certificate or key can't be read; the text shows nothing of them.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Optional, so that who has none is told so, by a status instead of a broken handshake.
    context.verify_mode = ssl.CERT_OPTIONAL
    try:
        context.load_verify_locations(cadata=front_proxy.authority)
    except (ssl.SSLError, ValueError):
        message = f"ConfigMap {'/'.join(_AUTHENTICATION)} has no certificates in PEM"
        raise NotServableError(message) from None
    # The ssl module reads keys from files alone.
    with tempfile.TemporaryDirectory(prefix="muster-tls-") as folder:
        pair = Path(folder) / "pair.pem"
        pair.touch(mode=0o600)
        pair.write_bytes(held.server_key + held.server)
        try:
            context.load_cert_chain(pair)
        except ssl.SSLError as error:
            # The leader makes them anew.
            reason = error.reason or "not in PEM"
            raise NotServableError(f"the server's certificate is damaged: {reason}") from None
    return context
