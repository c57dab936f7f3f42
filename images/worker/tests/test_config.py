from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from muster_runtime.config import ConfigError
from muster_testing.authority import Authority
from muster_worker import cgroup
from muster_worker.config import WorkerConfig, load_config
from muster_worker.link import Link, Pings, Tls


@pytest.fixture(autouse=True)
def _two_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("muster_worker.config.available_cpus", lambda: 2)


def read(
    root: Path,
    env: dict[str, str] | None = None,
    zkp: dict[str, Any] | None = None,
    tls: dict[str, Any] | None = None,
    keys: Any = (),
    options: dict[str, Any] | None = None,
    broker: dict[str, Any] | None = None,
    **worker: Any,
) -> WorkerConfig:
    document = {
        "worker": {
            "coordinator_address": "demo-coordinator:9090",
            "pool": "demo",
            "cache_dir": str(root / "cache"),
            "spool_dir": str(root / "spool"),
            **worker,
        },
        "zkp": zkp or {},
        "tls": tls or {},
        "keys": list(keys),
        "options": options or {},
        "broker": broker or {},
    }
    path = root / "worker.yaml"
    path.write_text(yaml.safe_dump(document))
    return load_config(path, env or {})


def test_defaults(tmp_path: Path) -> None:
    config = read(tmp_path)
    worker = config.worker
    assert worker.concurrency == 1
    assert worker.heartbeat_interval == timedelta(seconds=5)
    assert worker.shutdown_timeout == timedelta(seconds=30)
    assert worker.ops_port == 8091
    assert worker.task_memory_limit is None
    assert worker.task_timeout == timedelta(minutes=5)
    assert worker.keepalive_time == timedelta(seconds=10)
    assert worker.keepalive_timeout == timedelta(seconds=3)
    assert config.link == Link("demo-coordinator:9090", None, None, Pings(10, 3))
    assert config.zkp.curve == "BN254"


def test_the_directories_are_made(tmp_path: Path) -> None:
    worker = read(tmp_path).worker
    assert worker.cache_dir.is_dir()
    assert worker.spool_dir.is_dir()


def test_the_id_is_the_configured_one_else_the_pod_else_the_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "some-host")
    assert read(tmp_path, {"POD_NAME": "demo-worker-x"}, id="mine").worker.id == "mine"
    assert read(tmp_path, {"POD_NAME": "demo-worker-x"}).worker.id == "demo-worker-x"
    assert read(tmp_path).worker.id == "some-host"


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    env = {"WORKER_CONCURRENCY": "3", "WORKER_TASK_MEMORY_LIMIT": "1Gi", "ZKP_CURVE": "BLS12-381"}
    config = read(tmp_path, env, concurrency=1)
    assert config.worker.concurrency == 3
    assert config.worker.task_memory_limit == 2**30
    assert config.zkp.curve == "BLS12-381"


@pytest.mark.parametrize("limit", ["", None])
def test_an_empty_memory_limit_is_none(tmp_path: Path, limit: str | None) -> None:
    assert read(tmp_path, task_memory_limit=limit).worker.task_memory_limit is None


BAD: list[tuple[str, Any, str]] = [
    ("id", "a b", "1 to 253 letters, digits"),
    ("coordinator_address", "", "host:port, as in demo-coordinator:9090"),
    ("coordinator_address", "demo-coordinator", "host:port"),
    ("coordinator_address", "http://demo-coordinator:9090", "host:port"),
    ("coordinator_address", "demo-coordinator:0", "the port from 1 to 65535"),
    ("coordinator_address", "demo-coordinator:65536", "the port from 1 to 65535"),
    ("pool", "", "1 to 253 letters, digits"),
    ("concurrency", 0, "1 to 4, twice the CPUs"),
    ("concurrency", 5, "1 to 4, twice the CPUs"),
    ("concurrency", "many", "a valid integer"),
    ("heartbeat_interval", "999ms", "1s to 60s"),
    ("heartbeat_interval", "61s", "1s to 60s"),
    ("heartbeat_interval", 5, "a duration such as"),
    ("shutdown_timeout", "0s", "1s to 1h"),
    ("shutdown_timeout", "2h", "1s to 1h"),
    ("ops_port", -1, "greater than or equal to 0"),
    ("ops_port", 65536, "less than or equal to 65535"),
    ("cache_dir", "/proc/muster", "a directory that this process can make and write"),
    ("spool_dir", "/proc/muster", "a directory that this process can make and write"),
    ("task_memory_limit", "63Mi", "at least 64Mi, or empty for no limit"),
    ("task_memory_limit", "lots", "a quantity of bytes such as 512Mi"),
    ("task_timeout", "0s", "1ms to 24h"),
    ("task_timeout", "25h", "1ms to 24h"),
    ("keepalive_time", "4s", "5s to 1h"),
    ("keepalive_timeout", "2m", "1s to 1m"),
    ("token_file", "/proc/none", "a file that can be read; this one: No such file"),
    ("token_file", "/dev/null", "a file with one token, of visible ASCII characters"),
]


@pytest.mark.parametrize(("key", "value", "allowed"), BAD)
def test_a_wrong_value_is_named_with_what_is_allowed(
    tmp_path: Path, key: str, value: Any, allowed: str
) -> None:
    with pytest.raises(ConfigError) as raised:
        read(tmp_path, **{key: value})
    (error,) = raised.value.errors
    assert error.startswith(f"worker.{key}: got {value!r}; allowed: ")
    assert allowed in error


def test_a_wrong_curve_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"zkp\.curve: got 'P256'; allowed: 'BN254' or"):
        read(tmp_path, zkp={"curve": "P256"})


def test_every_error_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        read(tmp_path, concurrency=99, pool="", colour="red", zkp={"curve": "x"})
    keys = [error.partition(":")[0] for error in raised.value.errors]
    assert sorted(keys) == ["worker.colour", "worker.concurrency", "worker.pool", "zkp.curve"]


def test_missing_sections_and_keys_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="worker: missing"):
        load_config(None, {})
    path = tmp_path / "worker.yaml"
    path.write_text(f"worker: {{cache_dir: {tmp_path}/c, spool_dir: {tmp_path}/s}}")
    with pytest.raises(ConfigError) as raised:
        load_config(path, {})
    assert raised.value.errors == ["worker.pool: missing; it has no default"]


@pytest.mark.parametrize(
    ("address", "broker", "said"),
    [
        (None, {}, "missing; allowed: host:port of the coordinator, or else broker.servers"),
        ("c:1", {"servers": ["nats://n"]}, "also broker; allowed: host:port of the coordinator"),
    ],
)
def test_there_is_one_way_to_the_coordinator(
    tmp_path: Path, address: str | None, broker: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=f"worker.coordinator_address: {said}"):
        read(tmp_path, coordinator_address=address, broker=broker)


def test_a_broker_takes_the_place_of_an_address(tmp_path: Path) -> None:
    config = read(tmp_path, coordinator_address=None, broker={"servers": ["nats://n:4222"]})
    assert config.broker.enabled
    with pytest.raises(ConfigError, match=r"broker\.servers: has something else"):
        read(tmp_path, coordinator_address=None, broker={"servers": ["http://n"]})


def test_the_example_of_the_documentation_is_valid(tmp_path: Path) -> None:
    documentation = Path(__file__).parents[3] / "docs/worker.md"
    example = documentation.read_text().split("```yaml\n")[1].split("```")[0]
    path = tmp_path / "worker.yaml"
    path.write_text(example.replace("/var/", f"{tmp_path}/"))
    assert load_config(path, {}).worker.concurrency <= 2 * cgroup.available_cpus()


@pytest.fixture
def certs(tmp_path: Path) -> Path:
    authority = Authority("test")
    authority.write(tmp_path / "ca.crt")
    for name in ("a", "b"):
        authority.issue(name, tmp_path / name)
    return tmp_path


def test_good_files_make_a_secure_link(certs: Path) -> None:
    names = {"ca_file": "ca.crt", "cert_file": "a.crt", "key_file": "a.key"}
    files = {key: str(certs / name) for key, name in names.items()}
    tls = read(certs, {"TLS_SERVER_NAME": "c"}, tls=files).link.tls
    assert tls == Tls(certs / "ca.crt", certs / "a.crt", certs / "a.key", "c")
    assert read(certs, tls={"ca_file": str(certs / "ca.crt"), "key_file": ""}).link.tls is not None


@pytest.mark.parametrize(
    ("section", "key", "said"),
    [
        ({"ca_file": "a.key"}, "ca_file", "at least one certificate; this one has none"),
        ({"cert_file": "a.crt", "key_file": "a.key"}, "cert_file", "only with tls.ca_file"),
        ({"ca_file": "ca.crt", "cert_file": "a.crt"}, "key_file", "with tls.cert_file, and only"),
        ({"ca_file": "ca.crt", "key_file": "a.key"}, "key_file", "with tls.cert_file, and only"),
        (
            {"ca_file": "ca.crt", "cert_file": "a.crt", "key_file": "b.key"},
            "key_file",
            "are no such pair",
        ),
    ],
)
def test_files_that_do_not_fit_are_refused(
    certs: Path, section: dict[str, str], key: str, said: str
) -> None:
    files = {name: str(certs / value) for name, value in section.items()}
    with pytest.raises(ConfigError) as caught:
        read(certs, tls=files)
    found = [error for error in caught.value.errors if error.startswith(f"tls.{key}: got ")]
    assert len(found) == 1, caught.value.errors
    assert said in found[0]


def test_a_server_name_without_tls_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"tls.server_name: got 'c'; allowed: only with tls"):
        read(tmp_path, tls={"server_name": "c"})


def test_a_token_is_not_shown(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("hunter2 hunter3")
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, token_file=str(token))
    assert "worker.token_file" in str(caught.value)
    assert "hunter" not in str(caught.value)


def test_each_wrong_field_of_a_key_is_named(tmp_path: Path) -> None:
    good = {"key_id": "addition-mimc@bn254", "path": "/keys/addition.zkey", "sha256": 64 * "a"}
    assert read(tmp_path, keys=[good]).keys[0].path == Path("/keys/addition.zkey")
    wrong = {
        "key_id": "keys.0.key_id: got 'addition'; allowed: a key id, e.g. merkle-20-poseidon@bn254",
        "path": "keys.0.path: got 'addition'; allowed: an absolute path",
        "sha256": "keys.0.sha256: got 'addition'; allowed: 64 lower-case hex digits",
    }
    for field, sentence in wrong.items():
        with pytest.raises(ConfigError) as error:
            read(tmp_path, keys=[good | {field: "addition"}])
        assert error.value.errors[0].startswith(sentence)
    with pytest.raises(ConfigError, match="each file of a key once"):
        read(tmp_path, keys=[good, good])
    with pytest.raises(ConfigError, match=r"keys\.0\.size: unknown key"):
        read(tmp_path, keys=[good | {"size": 3}])


def test_without_a_list_a_worker_serves_all_proofs_and_nothing_else(tmp_path: Path) -> None:
    served = read(tmp_path).worker.served()
    assert sorted(served) == ["prove.addition", "prove.merkle", "prove.range"]


def test_a_worker_serves_what_is_listed(tmp_path: Path) -> None:
    config = read(
        tmp_path,
        workloads=["command", "sleep"],
        tags={"zone": "a"},
        checkpoint_interval="5s",
        pause_timeout="2s",
        options={"command": {"output_limit": 10}},
    )
    assert config.worker.served() == ("command", "sleep")
    assert config.worker.tags == {"zone": "a"}
    assert config.worker.checkpoint_interval == timedelta(seconds=5)
    assert config.worker.pause_timeout == timedelta(seconds=2)
    assert config.options == {"command": {"output_limit": 10}}
    env = {"WORKER_WORKLOADS": "http, sleep"}
    assert read(tmp_path, env).worker.served() == ("http", "sleep")


@pytest.mark.parametrize(
    ("fields", "key", "allowed"),
    [
        ({"workloads": ["comand"]}, "worker.workloads", "installed workload types, each once"),
        ({"workloads": ["sleep", "sleep"]}, "worker.workloads", "command, http, prove.addition"),
        ({"tags": {"instance": "x"}}, "worker.tags", "not the name instance"),
        ({"tags": {"a b": "x"}}, "worker.tags", "1 to 63 letters"),
        ({"checkpoint_interval": "0s"}, "worker.checkpoint_interval", "1s to 1h"),
        ({"pause_timeout": "1h"}, "worker.pause_timeout", "1s to 10m"),
        ({"options": {"sleep": {}}}, "options", "only types that this worker serves"),
    ],
)
def test_what_is_wrong_with_workload_types_is_named(
    tmp_path: Path, fields: dict[str, Any], key: str, allowed: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, **fields)
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"{key}: got ")
    assert allowed in line
