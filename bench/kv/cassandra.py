"""Three nodes of Cassandra, with the commit log fsynced before each answer."""

import contextlib
import json
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from bench.kv import maven
from bench.kv.deployment import Deployment
from bench.kv.servers import Server, listening
from muster_testing.ports import free_port

_HOSTS = ("127.0.0.1", "127.0.0.2", "127.0.0.3")
_HEAP = "512m"
_START_SECONDS = 180.0

_EXPORTS = (
    "java.base/java.lang.ref",
    "java.base/jdk.internal.misc",
    "java.management.rmi/com.sun.jmx.remote.internal.rmi",
    "java.rmi/sun.rmi.registry",
    "java.rmi/sun.rmi.server",
    "java.sql/java.sql",
    "jdk.attach/sun.tools.attach",
    "jdk.compiler/com.sun.tools.javac.file",
    "jdk.unsupported/sun.misc",
)
_OPENS = (
    "java.base/java.io",
    "java.base/java.lang",
    "java.base/java.lang.module",
    "java.base/java.lang.reflect",
    "java.base/java.nio",
    "java.base/java.util",
    "java.base/jdk.internal.loader",
    "java.base/jdk.internal.math",
    "java.base/jdk.internal.module",
    "java.base/jdk.internal.ref",
    "java.base/jdk.internal.reflect",
    "java.base/jdk.internal.util.jar",
    "java.base/sun.nio.ch",
    "jdk.compiler/com.sun.tools.javac",
    "jdk.management/com.sun.management.internal",
)
"""What Cassandra reaches into, as its own jvm17-server.options has it."""


@contextlib.contextmanager
def cassandra(home: Path) -> Iterator[Deployment]:
    """A cluster with its data below `home`, on the loopback addresses 127.0.0.1 to 127.0.0.3."""
    jars = maven.jars()
    java = shutil.which("java")
    if java is None:
        raise SystemExit("java not found: Cassandra needs 17; Debian: apt-get install default-jre")
    storage_port, port = free_port(), free_port()
    with ExitStack() as stack:
        servers: list[Server] = []
        for number, host in enumerate(_HOSTS):
            folder = home / f"cassandra-{number}"
            folder.mkdir()
            (folder / "cassandra.yaml").write_text(_settings(number, storage_port, port, folder))
            command = _command(java, jars, folder)
            log = home / f"cassandra-{number}.log"
            server = stack.enter_context(Server(f"cassandra-{number}", command, log))
            servers.append(server)
            if host == _HOSTS[0]:
                # The others ask it who there is.
                _wait(server, host, port)
        for server, host in zip(servers, _HOSTS, strict=True):
            _wait(server, host, port)
        yield Deployment(
            "cassandra",
            maven.version(),
            tuple(server.pid for server in servers),
            {"store": "cassandra", "endpoints": [f"{host}:{port}" for host in _HOSTS]},
        )


def _wait(server: Server, host: str, port: int) -> None:
    server.until(f"it listens on {host}:{port}", lambda: listening(host, port), _START_SECONDS)


def _settings(number: int, storage_port: int, port: int, folder: Path) -> str:
    """cassandra.yaml; JSON is YAML."""
    host = _HOSTS[number]
    seeds = {"seeds": f"{_HOSTS[0]}:{storage_port}"}
    provider = "org.apache.cassandra.locator.SimpleSeedProvider"
    return json.dumps(
        {
            "cluster_name": "bench",
            "partitioner": "org.apache.cassandra.dht.Murmur3Partitioner",
            "endpoint_snitch": "SimpleSnitch",
            "num_tokens": 1,
            "initial_token": str(-(2**63) + (number + 1) * (2**64 // 4)),
            "auto_bootstrap": False,
            "seed_provider": [{"class_name": provider, "parameters": [seeds]}],
            "listen_address": host,
            "rpc_address": host,
            "storage_port": storage_port,
            "native_transport_port": port,
            "start_native_transport": True,
            # One fsync for all that waits, and no answer before it.
            "commitlog_sync": "batch",
            "data_file_directories": [str(folder / "data")],
            "commitlog_directory": str(folder / "commitlog"),
            "hints_directory": str(folder / "hints"),
            "saved_caches_directory": str(folder / "saved_caches"),
            "cdc_raw_directory": str(folder / "cdc"),
        }
    )


def _command(java: str, jars: Path, folder: Path) -> list[str]:
    [agent] = jars.glob("jamm-*.jar")
    return [
        java,
        *(f"--add-exports={name}=ALL-UNNAMED" for name in _EXPORTS),
        *(f"--add-opens={name}=ALL-UNNAMED" for name in _OPENS),
        *(f"-Xms{_HEAP}", f"-Xmx{_HEAP}", "-Xss256k", "-XX:+UseG1GC", "-XX:+PerfDisableSharedMem"),
        f"-javaagent:{agent}",
        "-Djdk.attach.allowAttachSelf=true",
        "-Djava.net.preferIPv4Stack=true",
        "-Dio.netty.tryReflectionSetAccessible=true",
        f"-Dcassandra.config={(folder / 'cassandra.yaml').as_uri()}",
        f"-Dcassandra.storagedir={folder}",
        f"-Dlogback.configurationFile={maven.JARS / 'logback.xml'}",
        # Nobody else joins, so nothing is to be waited for.
        "-Dcassandra.ring_delay_ms=2000",
        "-Dcassandra.skip_wait_for_gossip_to_settle=0",
        "-Dcassandra-foreground=yes",
        *("-cp", f"{jars}/*", "org.apache.cassandra.service.CassandraDaemon"),
    ]
