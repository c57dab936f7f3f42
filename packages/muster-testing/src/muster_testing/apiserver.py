"""A real API server without nodes: etcd and kube-apiserver as plain processes.

Objects are stored, validated, defaulted and watched as in any cluster; nothing schedules pods and
nothing collects garbage.
"""

import base64
import os
import shutil
import ssl
import subprocess
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import yaml

from muster_testing import programs
from muster_testing.authority import Authority
from muster_testing.ports import free_port
from muster_testing.waiting import eventually_sync

_PROGRAMS_MISSING = (
    "no kube-apiserver and etcd: run `make cluster` once, or name their folder in MUSTER_KUBE_BIN"
)


def find_program(name: str) -> Path:
    """The path of a Kubernetes program: from `MUSTER_KUBE_BIN`, the tool cache, or `PATH`."""
    named = os.environ.get("MUSTER_KUBE_BIN")
    if named and (Path(named) / name).exists():
        return Path(named) / name
    return programs.find_program(name, _PROGRAMS_MISSING)


class ControlPlane:
    """etcd and kube-apiserver on free ports of the loopback address.

    Attributes:
        url: base URL of the API.
        kubeconfig: a file that makes its reader cluster-admin.
        front_proxy: the authority whose client certificates may speak for others.
    """

    def __init__(self) -> None:
        self._home = Path(tempfile.mkdtemp(prefix="muster-apiserver-"))
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._port = free_port()
        self._authority = Authority("muster-test")
        self.front_proxy = Authority("muster-test-front-proxy")
        self.url = f"https://127.0.0.1:{self._port}"
        self.kubeconfig = self._home / "kubeconfig"

    def __enter__(self) -> Self:
        etcd_url = f"http://127.0.0.1:{free_port()}"
        self._write_credentials()
        try:
            self._start("etcd", *self._etcd_arguments(etcd_url))
            # kube-apiserver ends where it has none for 20 seconds.
            eventually_sync(
                lambda: self._says_yes(f"{etcd_url}/health"), deadline=120, what="etcd is ready"
            )
            self._start("kube-apiserver", *self._apiserver_arguments(etcd_url))
            eventually_sync(self._answers, deadline=120, what="kube-apiserver is ready")
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End the processes and remove their files."""
        for process in reversed(self._processes.values()):
            process.kill()
            process.wait()
        shutil.rmtree(self._home, ignore_errors=True)

    def _etcd_arguments(self, url: str) -> list[str]:
        peer = f"http://127.0.0.1:{free_port()}"
        return [
            f"--data-dir={self._home / 'etcd'}",
            f"--listen-client-urls={url}",
            f"--advertise-client-urls={url}",
            f"--listen-peer-urls={peer}",
            "--unsafe-no-fsync",
        ]

    def _apiserver_arguments(self, etcd_url: str) -> list[str]:
        home = self._home
        return [
            f"--etcd-servers={etcd_url}",
            "--bind-address=127.0.0.1",
            f"--secure-port={self._port}",
            f"--tls-cert-file={home / 'server.crt'}",
            f"--tls-private-key-file={home / 'server.key'}",
            f"--client-ca-file={home / 'ca.crt'}",
            f"--requestheader-client-ca-file={home / 'front-proxy-ca.crt'}",
            "--requestheader-allowed-names=front-proxy-client",
            "--requestheader-username-headers=X-Remote-User",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            f"--service-account-key-file={home / 'server.crt'}",
            f"--service-account-signing-key-file={home / 'server.key'}",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--service-cluster-ip-range=10.0.0.0/24",
            "--authorization-mode=RBAC",
        ]

    def _write_credentials(self) -> None:
        home = self._home
        self._authority.write(home / "ca.crt")
        self.front_proxy.write(home / "front-proxy-ca.crt")
        self._authority.issue("kube-apiserver", home / "server", addresses=["127.0.0.1"])
        self._authority.issue("admin", home / "admin", organization="system:masters")

        def encoded(name: str) -> str:
            return base64.b64encode((home / name).read_bytes()).decode()

        cluster = {"server": self.url, "certificate-authority-data": encoded("ca.crt")}
        user = {
            "client-certificate-data": encoded("admin.crt"),
            "client-key-data": encoded("admin.key"),
        }
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": "test", "user": user}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        }
        self.kubeconfig.write_text(yaml.safe_dump(config))

    def _start(self, program: str, *arguments: str) -> None:
        journal: IO[bytes] = (self._home / f"{program}.log").open("wb")
        with journal:
            self._processes[program] = subprocess.Popen(
                [find_program(program), *arguments], stdout=journal, stderr=journal
            )

    def _answers(self) -> bool:
        context = ssl.create_default_context(cafile=self._home / "ca.crt")
        context.load_cert_chain(self._home / "admin.crt", self._home / "admin.key")
        return self._says_yes(f"{self.url}/readyz", context)

    def _says_yes(self, url: str, context: ssl.SSLContext | None = None) -> bool:
        for program, process in self._processes.items():
            if process.poll() is not None:
                tail = (self._home / f"{program}.log").read_text()[-2000:]
                raise RuntimeError(f"{program} ended with {process.returncode}: {tail}")
        try:
            with urllib.request.urlopen(url, context=context, timeout=30) as answer:  # noqa: S310 - a URL of our own
                return bool(answer.status == 200)
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            return False
