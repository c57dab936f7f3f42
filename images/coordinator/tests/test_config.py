"""The configuration file, the environment over it, and every mistake in it."""

import logging
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from muster_coordinator.cli import main, read_dsn
from muster_coordinator.config import CoordinatorConfig
from muster_runtime.config import ConfigError, load
from muster_testing.authority import Authority

GOOD: dict[str, Any] = {
    "leader_election": {"lease_name": "demo-coordinator"},
    "proving": {
        "pools": [
            {"name": "demo", "insecure_setup": True, "circuits": [{"name": "merkle", "size": 20}]}
        ]
    },
}


def _load(tmp_path: Path, document: dict[str, Any], **env: str) -> CoordinatorConfig:
    path = tmp_path / "coordinator.yaml"
    path.write_text(yaml.safe_dump(document))
    return load(CoordinatorConfig, path, env)


@pytest.fixture(autouse=True)
def _logs_as_before() -> Iterator[None]:
    """The command takes over the logging of its process, which here is that of other tests too."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def _errors(tmp_path: Path, document: dict[str, Any], **env: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        _load(tmp_path, GOOD | document, **env)
    return caught.value.errors


def test_defaults(tmp_path: Path) -> None:
    config = _load(tmp_path, GOOD)
    section = config.coordinator
    assert (section.grpc_port, section.http_port, section.ops_port) == (9090, 8080, 8090)
    assert section.scaler_port is None
    assert section.poll_interval == timedelta(seconds=2)
    assert section.heartbeat_timeout == timedelta(seconds=30)
    assert section.stale_task_timeout == timedelta(minutes=5)
    assert section.cleanup_interval == timedelta(minutes=1)
    assert (section.strategy, section.max_retries) == ("least-loaded", 3)
    assert (section.max_queued, section.max_pending, section.batch_size) == (100_000, 0, 100)
    assert section.dead_threshold == timedelta(seconds=90)
    assert config.workloads.pools == ()
    assert (config.http.rate_limit, config.http.rate_burst) == (10, 20)
    assert (config.http.trusted_proxies, config.http.cors_origins) == ((), ())
    assert (section.max_worker_losses, section.quarantine) == (5, timedelta(hours=1))
    assert section.task_retention == timedelta(days=7)
    assert config.database.witness_key_file is None
    assert config.database.max_open_conns == 25
    assert config.database.max_idle_conns == 5
    assert config.database.conn_max_lifetime == timedelta(minutes=5)
    assert config.leader_election.timings.lease_duration == 15.0
    assert config.proving.pools[0].circuits[0].spec.key_id == "merkle-20-poseidon@bn254"
    assert config.proving.pools[0].verification == "Required"


def test_the_environment_goes_over_the_file(tmp_path: Path) -> None:
    document = GOOD | {"coordinator": {"grpc_port": 1111, "poll_interval": "5s"}}
    config = _load(
        tmp_path,
        document,
        COORDINATOR_GRPC_PORT="2222",
        DATABASE_MAX_OPEN_CONNS="7",
        DATABASE_WITNESS_KEY_FILE="/etc/keys",
        COORDINATOR_TASK_RETENTION="48h",
        LEADER_ELECTION_BACKEND="advisory-lock",
        HTTP_RATE_LIMIT="2.5",
        HTTP_RATE_BURST="7",
        HTTP_TRUSTED_PROXIES="[10.0.0.0/8, 192.0.2.1]",
        HTTP_CORS_ORIGINS="['https://a.example.com:8443']",
    )
    assert (config.http.rate_limit, config.http.rate_burst) == (2.5, 7)
    assert [str(one) for one in config.http.trusted_proxies] == ["10.0.0.0/8", "192.0.2.1/32"]
    assert config.http.cors_origins == ("https://a.example.com:8443",)
    assert config.coordinator.grpc_port == 2222
    assert config.coordinator.poll_interval == timedelta(seconds=5)
    assert config.database.max_open_conns == 7
    assert config.database.witness_key_file == Path("/etc/keys")
    assert config.coordinator.task_retention == timedelta(days=2)
    assert config.leader_election.backend == "advisory-lock"


def test_the_pod_gives_the_name(tmp_path: Path) -> None:
    section = _load(tmp_path, GOOD).coordinator
    assert section.identity({"POD_NAME": "demo-coordinator-abc"}) == "demo-coordinator-abc"
    assert section.identity({}) != ""
    named = _load(tmp_path, GOOD | {"coordinator": {"id": "mine"}}).coordinator
    assert named.identity({"POD_NAME": "pod"}) == "mine"


def _pool(**differing: Any) -> dict[str, Any]:
    pool = {"name": "demo", "circuits": [{"name": "merkle"}]} | differing
    return {"proving": {"pools": [pool]}}


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"coordinator": {"grpc_port": 70000}}, "coordinator.grpc_port: got 70000; allowed: "),
        ({"coordinator": {"http_port": "x"}}, "coordinator.http_port: got 'x'; allowed: "),
        ({"coordinator": {"ops_port": -1}}, "coordinator.ops_port: got -1; allowed: "),
        (
            {"coordinator": {"poll_interval": "2"}},
            "coordinator.poll_interval: got '2'; allowed: a duration such as 500ms, 2s",
        ),
        (
            {"coordinator": {"heartbeat_timeout": "0s"}},
            "coordinator.heartbeat_timeout: got '0s'; allowed: a duration from 10ms to 24h",
        ),
        ({"coordinator": {"stale_task_timeout": "48h"}}, "coordinator.stale_task_timeout: "),
        ({"coordinator": {"cleanup_interval": 3}}, "coordinator.cleanup_interval: got 3; "),
        (
            {"coordinator": {"strategy": "random"}},
            "coordinator.strategy: got 'random'; allowed: fifo, round-robin, least-loaded",
        ),
        (
            {"coordinator": {"quarantine": "0s"}},
            "coordinator.quarantine: got '0s'; allowed: a duration from 1s to 87600h",
        ),
        ({"coordinator": {"task_retention": "7d"}}, "coordinator.task_retention: got '7d'; "),
        ({"coordinator": {"max_worker_losses": -1}}, "coordinator.max_worker_losses: got -1; "),
        ({"database": {"witness_key_file": 7}}, "database.witness_key_file: got 7; "),
        ({"coordinator": {"max_retries": -1}}, "coordinator.max_retries: got -1; "),
        ({"coordinator": {"max_queued": -1}}, "coordinator.max_queued: got -1; "),
        ({"coordinator": {"max_pending": -1}}, "coordinator.max_pending: got -1; "),
        ({"coordinator": {"batch_size": 0}}, "coordinator.batch_size: got 0; "),
        (
            {"coordinator": {"heartbeat_timeout": "60s", "worker_dead_threshold": "1m"}},
            "coordinator.worker_dead_threshold: got '1m'; allowed: a duration longer than",
        ),
        ({"workloads": {"pools": [{"name": ""}]}}, "workloads.pools.0.name: got ''; "),
        (
            {"workloads": {"pools": [{"name": "x", "types": ["a b"]}]}},
            "workloads.pools.0.types.0: got 'a b'; ",
        ),
        (
            {"workloads": {"pools": [{"name": "x"}, {"name": "x"}]}},
            "workloads.pools: got [{'name': 'x'}, {'name': 'x'}]; allowed: each pool name once",
        ),
        ({"http": {"rate_limit": -1}}, "http.rate_limit: got -1; allowed: greater than or equal"),
        ({"http": {"rate_limit": "fast"}}, "http.rate_limit: got 'fast'; allowed: "),
        ({"http": {"rate_limit": float("inf")}}, "http.rate_limit: got inf; allowed: "),
        ({"http": {"rate_burst": 0}}, "http.rate_burst: got 0; allowed: greater than or equal"),
        (
            {"http": {"trusted_proxies": ["10.0.0.1/8"]}},
            "http.trusted_proxies.0: got '10.0.0.1/8'; allowed: an address or a network such as",
        ),
        ({"http": {"trusted_proxies": "10.0.0.0/8"}}, "http.trusted_proxies: got '10.0.0.0/8'; "),
        (
            {"http": {"cors_origins": ["example.com"]}},
            "http.cors_origins.0: got 'example.com'; allowed: an origin such as https://",
        ),
        ({"http": {"cors_origins": ["https://a.example.com/"]}}, "http.cors_origins.0: got "),
        ({"http": {"rate": 5}}, "http.rate: unknown key"),
        ({"coordinator": {"grcp_port": 1}}, "coordinator.grcp_port: unknown key"),
        ({"databse": {}}, "databse: unknown key"),
        ({"database": {"max_open_conns": 1}}, "database.max_open_conns: got 1; "),
        (
            {"database": {"max_open_conns": 5, "max_idle_conns": 6}},
            "database.max_idle_conns: got 6; allowed: at most max_open_conns, which is 5",
        ),
        (
            _pool(circuits=[{"name": "merkle", "hash": "md5"}]),
            "proving.pools.0.circuits.0: got",
        ),
        (
            _pool(circuits=[{"name": "merkle", "import": {"path": "k", "sha256": 64 * "0"}}]),
            "circuits.0.import.path: got 'k'; allowed: an absolute path",
        ),
        (
            _pool(circuits=[{"name": "merkle", "import": {"path": "/k", "sha256": "A" * 64}}]),
            "allowed: 64 lower-case hex digits",
        ),
        (
            _pool(circuits=[{"name": "merkle", "import": {"path": "/k"}}]),
            "circuits.0.import.sha256: missing",
        ),
        (
            _pool(
                insecure_setup=True,
                circuits=[{"name": "merkle", "import": {"path": "/k", "sha256": 64 * "0"}}],
            ),
            "allowed: no circuits[].import where insecure_setup is true",
        ),
        ({"leader_election": {"backend": "etcd"}}, "leader_election.backend: got 'etcd'; "),
        ({"leader_election": {}}, "allowed: a lease_name where backend is lease"),
        (
            {"leader_election": {"lease_name": "x", "renew_deadline": "20s"}},
            "allowed: retry_period < renew_deadline < lease_duration",
        ),
        (_pool(name=""), "proving.pools.0.name: got ''; "),
        (_pool(circuits=[]), "proving.pools.0.circuits: "),
        (_pool(verification="No"), "proving.pools.0.verification: got 'No'; "),
        (_pool(circuits=[{"name": "sudoku"}]), "allowed: circuit addition, merkle, "),
        (_pool(circuits=[{"name": "merkle", "size": 99}]), "allowed: depth 1 to 32"),
        (_pool(circuits=[{"name": "merkle", "curve": "bn"}]), "allowed: curve bn254 or bls12-381"),
        (_pool(circuits=[{"name": "merkle"}] * 2), "allowed: at least one circuit, and each once"),
        (
            {"proving": {"pools": [_pool()["proving"]["pools"][0]] * 2}},
            "proving.pools: got ",
        ),
    ],
)
def test_each_mistake_has_its_sentence(tmp_path: Path, document: dict[str, Any], said: str) -> None:
    errors = _errors(tmp_path, document)
    assert len(errors) == 1, errors
    assert said in errors[0]


@pytest.mark.parametrize(
    ("section", "key", "said"),
    [
        ({"mode": "on"}, "mode", "got 'on'; allowed: 'disabled', 'server' or 'mutual'"),
        ({"mode": "server"}, "cert_file", "allowed: a PEM file, as mode is server"),
        ({"mode": "server", "cert_file": "a.crt"}, "key_file", "allowed: a PEM file, as"),
        ({"cert_file": "a.crt"}, "cert_file", "allowed: only where mode is another than disabled"),
        (
            {"mode": "server", "cert_file": "a.crt", "key_file": "a.key", "ca_file": "ca.crt"},
            "ca_file",
            "allowed: only where clients show certificates, and mode is server",
        ),
        (
            {"mode": "mutual", "cert_file": "a.crt", "key_file": "a.key"},
            "ca_file",
            "allowed: a PEM file with the authorities of clients",
        ),
        (
            {"mode": "mutual", "cert_file": "a.crt", "key_file": "a.key", "ca_file": "a.key"},
            "ca_file",
            "allowed: a PEM file with at least one certificate; this one has none",
        ),
        (
            {"mode": "server", "cert_file": "a.crt", "key_file": "b.key"},
            "key_file",
            "allowed: PEM files with a certificate and its unencrypted private key; ",
        ),
        (
            {"mode": "server", "cert_file": "missing.crt", "key_file": "a.key"},
            "key_file",
            "missing.crt: No such file or directory",
        ),
    ],
)
def test_files_that_do_not_fit_the_mode_of_tls_are_refused(
    tmp_path: Path, section: dict[str, str], key: str, said: str
) -> None:
    authority = Authority("test")
    authority.write(tmp_path / "ca.crt")
    for name in ("a", "b"):
        authority.issue(name, tmp_path / name)
    files = {name: str(tmp_path / value) for name, value in section.items() if name != "mode"}
    errors = _errors(tmp_path, {"grpc_tls": section | files})
    found = [error for error in errors if error.startswith(f"grpc_tls.{key}: got ")]
    assert len(found) == 1, errors
    assert said in found[0]


def test_good_files_are_taken_and_empty_ones_are_none(tmp_path: Path) -> None:
    authority = Authority("test")
    authority.write(tmp_path / "ca.crt")
    authority.issue("a", tmp_path / "a")
    files = {"cert_file": "a.crt", "key_file": "a.key", "ca_file": "ca.crt"}
    section = {key: str(tmp_path / name) for key, name in files.items()}
    config = _load(tmp_path, GOOD | {"grpc_tls": section}, GRPC_TLS_MODE="mutual")
    assert config.grpc_tls.ca_file == tmp_path / "ca.crt"
    config = _load(tmp_path, GOOD | {"grpc_tls": dict.fromkeys(files, "")})
    assert config.grpc_tls.cert_file is None


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"mode": "jwt"}, "auth.mode: got 'jwt'; allowed: 'disabled' or 'token-review'"),
        ({"audience": ""}, "auth.audience: got ''; allowed: "),
        (
            {"mode": "token-review"},
            "auth.allowed_service_accounts: got (); allowed: at least one <namespace>:<name>",
        ),
        (
            {"mode": "token-review", "allowed_service_accounts": ["workers"]},
            "allowed: a list of <namespace>:<name>",
        ),
        (
            {"allowed_service_accounts": ["a:b"]},
            "allowed: only where mode is token-review, and mode is disabled",
        ),
    ],
)
def test_tokens_that_can_not_be_judged_are_refused(
    tmp_path: Path, section: dict[str, Any], said: str
) -> None:
    errors = _errors(tmp_path, {"auth": section})
    assert len(errors) == 1, errors
    assert said in errors[0]


def test_security_is_off_by_default(tmp_path: Path) -> None:
    config = _load(tmp_path, GOOD)
    assert (config.grpc_tls.mode, config.auth.mode) == ("disabled", "disabled")
    assert config.auth.audience == "muster-coordinator"


def test_all_mistakes_are_named_at_once(tmp_path: Path) -> None:
    errors = _errors(
        tmp_path, {"coordinator": {"grpc_port": 70000, "strategy": "x"}, "nonsense": 1}
    )
    assert len(errors) == 3


def test_a_secret_is_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "dsn"
    path.write_text("host=db password=hunter2")
    with pytest.raises(ConfigError) as caught:
        read_dsn(path)
    assert "hunter2" not in str(caught.value)
    assert "database.dsn_file" in str(caught.value)


def test_the_command_says_what_is_wrong_and_ends_with_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--config", str(tmp_path / "missing.yaml")]) == 2
    assert "missing.yaml" in capsys.readouterr().err
    path = tmp_path / "coordinator.yaml"
    document = GOOD | {"database": {"dsn_file": str(tmp_path / "nowhere")}}
    path.write_text(yaml.safe_dump(document))
    assert main(["--config", str(path)]) == 2
    assert "database.dsn_file: got" in capsys.readouterr().err


def test_the_command_tells_its_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == "muster-coordinator 0.1.0\n"


def _accounts(**section: Any) -> dict[str, Any]:
    return {"accounts": section}


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"jwt_algorithm": "HS512"}, "accounts.jwt_algorithm: got 'HS512'; allowed: "),
        (
            {"jwt_algorithm": "HS256"},
            "accounts.jwt_jwks_file: got None; allowed: jwt_key_file beside jwt_algorithm",
        ),
        ({"jwt_key_file": "key"}, "allowed: only beside jwt_algorithm"),
        (
            {"jwt_algorithm": "HS256", "jwt_key_file": "short"},
            "allowed: at least 32 bytes, as jwt_algorithm is HS256",
        ),
        (
            {"jwt_algorithm": "RS256", "jwt_key_file": "key"},
            "allowed: a public key in PEM, as jwt_algorithm is RS256",
        ),
        (
            {"jwt_algorithm": "HS256", "jwt_key_file": "missing"},
            "allowed: a file that can be read; this one: No such file",
        ),
        (
            {"jwt_algorithm": "HS256", "jwt_key_file": "key", "jwt_jwks_file": "key"},
            "allowed: only without jwt_key_file and jwt_algorithm",
        ),
        ({"jwt_jwks_file": "key"}, "accounts.jwt_jwks_file: got "),
        ({"jwt_issuer": "x" * 1001}, "accounts.jwt_issuer: got "),
        ({"jwt_audience": 5}, "accounts.jwt_audience: got 5; allowed: "),
        (
            {"certificates": [{"subject": "acme", "customer": "acme"}]},
            "accounts.certificates.0.subject: got 'acme'; allowed: a subject as in RFC 4514",
        ),
        (
            {"certificates": [{"subject": "CN=a", "customer": "Acme"}]},
            "accounts.certificates.0.customer: got 'Acme'; allowed: 1 to 63 lower-case",
        ),
        (
            {"certificates": [{"subject": "CN=a"}]},
            "allowed: either a customer, or admin: true",
        ),
        (
            {"certificates": [{"subject": "CN=a", "customer": "a", "admin": True}]},
            "allowed: either a customer, or admin: true",
        ),
        (
            {"certificates": [{"subject": "CN=a", "customer": "a", "tier": "gold"}]},
            "accounts.certificates.0.tier: got 'gold'; allowed: 'free', 'standard'",
        ),
        (
            {"certificates": [{"subject": "CN=a", "customer": one} for one in ("a", "b")]},
            "allowed: each subject once",
        ),
    ],
)
def test_accounts_that_can_not_be_are_refused(
    tmp_path: Path, section: dict[str, Any], said: str
) -> None:
    (tmp_path / "key").write_text("k" * 32)
    (tmp_path / "short").write_text("k")
    for name in ("jwt_key_file", "jwt_jwks_file"):
        if name in section:
            section = section | {name: str(tmp_path / section[name])}
    errors = _errors(tmp_path, _accounts(**section))
    assert len(errors) == 1, errors
    assert said in errors[0]


def test_accounts_by_default_and_by_the_environment(tmp_path: Path) -> None:
    assert _load(tmp_path, GOOD).accounts.issuer is None
    (tmp_path / "key").write_text("k" * 32)
    section = _load(
        tmp_path,
        GOOD,
        ACCOUNTS_JWT_ALGORITHM="HS256",
        ACCOUNTS_JWT_KEY_FILE=str(tmp_path / "key"),
        ACCOUNTS_JWT_JWKS_FILE="",
        ACCOUNTS_JWT_ISSUER="https://issuer.example",
        ACCOUNTS_JWT_AUDIENCE="muster",
        ACCOUNTS_CERTIFICATES="[{subject: 'CN=a', customer: a, tier: free}]",
    ).accounts
    assert section.issuer is not None
    assert (section.issuer.algorithm, section.issuer.audience) == ("HS256", "muster")
    assert [one.customer for one in section.certificates] == ["a"]


def test_tls_of_the_http_port_may_ask_for_certificates(tmp_path: Path) -> None:
    authority = Authority("test")
    authority.write(tmp_path / "ca.crt")
    authority.issue("a", tmp_path / "a")
    files = {"cert_file": "a.crt", "key_file": "a.key", "ca_file": "ca.crt"}
    section = {key: str(tmp_path / name) for key, name in files.items()}
    assert _load(tmp_path, GOOD).http_tls.mode == "disabled"
    config = _load(tmp_path, GOOD | {"http_tls": section}, HTTP_TLS_MODE="optional")
    assert config.http_tls.ca_file == tmp_path / "ca.crt"
    error, *_ = _errors(tmp_path, {"http_tls": section | {"mode": "on"}})
    assert "http_tls.mode: got 'on'; allowed: 'disabled', 'server', 'optional' or" in error
    error, *_ = _errors(tmp_path, {"grpc_tls": section | {"mode": "optional"}})
    assert "grpc_tls.mode: got 'optional'; allowed: 'disabled', 'server' or 'mutual'" in error
