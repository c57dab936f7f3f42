"""What custom resources become, compared with YAML that people can read.

`MUSTER_WRITE_GOLDEN=1` writes the files anew; look at their diff.
"""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from muster_api.coordinator import CoordinatorSpec
from muster_api.kvcluster import KVClusterSpec
from muster_api.proverpool import ProverPoolSpec
from muster_operator.children.base import Defaults, Owner
from muster_operator.children.coordinator import desired_coordinator
from muster_operator.children.coordinator_input import CoordinatorInput, PoolScale
from muster_operator.children.kv.desired import desired_kv_cluster
from muster_operator.children.kv.given import KvInput
from muster_operator.children.prover_pool import PoolInput, desired_pool
from muster_operator.children.secret_files import Credentials, SecretFile
from muster_operator.children.security import (
    OPEN,
    Security,
    server_settings,
    worker_settings,
    worker_sources,
)
from muster_operator.resources import Key, Manifest

from .conftest import IMAGES

GOLDEN = Path(__file__).parent / "golden"


class Readable(yaml.SafeDumper):
    """Without anchors, and with text of several lines as such."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def as_text(dumper: yaml.SafeDumper, value: str) -> yaml.Node:
    style = "|" if "\n" in value else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


Readable.add_representer(str, as_text)

DEFAULTS = Defaults(**IMAGES, pull_policy="IfNotPresent")


BY_KEDA = replace(DEFAULTS, keda="scaling")


def coordinator(text: str = "", defaults: Defaults = DEFAULTS, **pools: str) -> list[Manifest]:
    owner = Owner(Key("Coordinator", "proofs", "demo"), "uid-of-demo")
    served = {name: ProverPoolSpec.model_validate(yaml.safe_load(pools[name])) for name in pools}
    spec = CoordinatorSpec.model_validate(yaml.safe_load(text) or {})
    revisions = (2, 1) if spec.tls.mode == "Managed" else ()
    given = CoordinatorInput(owner, spec, credentials(spec), served, ASLEEP, revisions)
    return desired_coordinator(given, defaults)


def credentials(spec: CoordinatorSpec) -> Credentials:
    found = {"database": SecretFile("demo-postgres", "dsn", "7")}
    if spec.database.secret_ref:
        found["database"] = SecretFile("cloud", "uri", "7")
    else:
        found["witness"] = SecretFile("demo-coordinator-witness", "keys", "3")
    if spec.broker:
        found["broker"] = SecretFile("demo-nats", "url", "4")
    if spec.accounts:
        found["admin"] = SecretFile("demo-coordinator-admin", "sha256", "5")
        found["jwt"] = SecretFile("tokens", "jwks", "6")
    return Credentials(**found)


def pool(text: str, security: Security = OPEN, defaults: Defaults = DEFAULTS) -> list[Manifest]:
    owner = Owner(Key("ProverPool", "proofs", "demo"), "uid-of-demo")
    spec = ProverPoolSpec.model_validate(yaml.safe_load(text))
    return desired_pool(PoolInput(owner, spec, security), defaults)


def kv_cluster(text: str = "", nodes: int = 3, restored: str = "") -> list[Manifest]:
    spec = KVClusterSpec.model_validate(yaml.safe_load(text) or {})
    database = SecretFile("demo-kv-postgres", "dsn", "7")
    if spec.database.secret_ref:
        database = SecretFile("cloud", "uri", "7")
    redis = SecretFile("cache", "password", "9") if spec.redis else SecretFile()
    token = SecretFile("demo-kv-token", "token", "8")
    owner = Owner(Key("KVCluster", "proofs", "demo"), "uid-of-demo")
    given = KvInput(owner, spec, nodes, database, token, redis, restored=restored)
    if spec.authentication.secret_ref:
        keys, admin = SecretFile("issuer", "keys.pem", "10"), SecretFile("demo-kv-admin", "secret")
        given = replace(given, keys=keys, admin=admin, node_tls="11")
    return desired_kv_cluster(given, DEFAULTS)


INSECURE = "keys: {insecureSetup: true}"

SHA = "ab" * 32
IMPORTED = f"""
circuits: [{{name: merkle, curve: BLS12-381}}, {{name: range, bits: 32}}, {{name: addition}}]
keys:
  imported:
    - name: addition
      source: {{secretRef: {{name: small, key: addition.zkey}}}}
      sha256: {SHA}
    - name: merkle
      curve: BLS12-381
      depth: 20
      source: {{persistentVolumeClaim: {{claimName: ceremony, path: merkle/final.zkey}}}}
      sha256: {SHA}
    - name: range
      bits: 32
      source: {{secretRef: {{name: small, key: range.zkey}}}}
      sha256: {SHA}
"""

EXTERNAL = """
replicas: 3
strategy: priority
image: registry.example/coordinator:2
imagePullSecrets: [{name: pull}]
networkPolicy: {enabled: false}
database: {secretRef: {name: cloud, key: uri}}
http:
  rateLimit: 0
  rateBurst: 50
  trustedProxies: [10.1.2.3/8, '::1']
  corsOrigins: [https://example.com]
  requireKeys: true
serviceAccount: {annotations: {example.com/role: queue}}
service:
  type: LoadBalancer
  labels: {team: proofs}
  annotations: {example.com/scheme: internal}
  loadBalancerClass: example.com/inner
  loadBalancerSourceRanges: [10.1.2.3/8, '2001:DB8::1']
  externalTrafficPolicy: Local
"""

WORKLOADS = """
accounts: {jwt: {secretRef: {name: tokens, key: jwks}, issuer: https://issuer.example}}
broker: {prefix: proofs, managed: {storage: 1Gi}}
strategy: fair-share
maxPending: 1000
imagePullSecrets: [{name: pull}]
authentication: {mode: TokenReview}
workerPools:
  - name: plain
    workloads: [sleep, http]
    options: {http: {allow: [10.0.0.0/8]}}
    networkAccess: Any
  - name: own
    image: registry.example/worker:2
    workloads: [render]
    transport: NATS
    concurrency: 2
    tags: {zone: a}
    replicas: 3
    autoscaling: {enabled: false}
    env: [{name: MODE, value: fast}, {name: TOKEN, secretKeyRef: {name: service, key: token}}]
    secrets: [{name: certificates}]
    podTemplate: {nodeSelector: {disk: fast}, runtimeClassName: gvisor}
    serviceAccount: {annotations: {example.com/role: renderer}}
  - name: seldom
    workloads: [command]
    autoscaling: {minReplicas: 0}
"""
KEDA = """
workerPools:
  - name: plain
    workloads: [sleep]
    autoscaling: {minReplicas: 2, maxReplicas: 6, targetTasksPerWorker: 10}
  - {name: seldom, workloads: [command], autoscaling: {minReplicas: 0}}
"""
ASLEEP = {"seldom": PoolScale(asleep=True)}

PLACED = f"""
{INSECURE}
coordinatorRef: {{name: shared}}
circuits: [{{name: merkle, curve: BLS12-381, depth: 8}}]
concurrency: 2
autoscaling: {{enabled: false}}
replicas: 3
worker: {{taskMemoryLimit: 512Mi}}
serviceAccount: {{annotations: {{example.com/role: prover}}}}
podTemplate:
  labels: {{team: proofs}}
  annotations: {{note: of mine}}
  nodeSelector: {{disk: fast}}
  tolerations: [{{key: proving, operator: Exists}}]
  priorityClassName: high
  runtimeClassName: gvisor
  securityContext: {{runAsUser: 1000}}
  affinity:
    nodeAffinity:
      requiredDuringSchedulingIgnoredDuringExecution:
        nodeSelectorTerms: [{{matchExpressions: [{{key: cpu, operator: In, values: [new]}}]}}]
  topologySpreadConstraints:
    - {{maxSkew: 2, topologyKey: zone, whenUnsatisfiable: DoNotSchedule}}
"""

KV_EXTERNAL = """
replicas: 5
image: registry.example/worker:2
imagePullSecrets: [{name: pull}]
podTemplate: {nodeSelector: {disk: fast}}
volume: {size: 1Ti, storageClassName: fast}
deletionPolicy: Retain
database: {secretRef: {name: cloud, key: uri}}
redis: {host: redis.example, passwordSecretRef: {name: cache, key: password}}
coordinators:
  image: registry.example/coordinator:2
  replicas: 3
  autoscaling: {enabled: false}
  podTemplate: {nodeSelector: {disk: none}}
  serviceAccount: {annotations: {example.com/role: reader}}
consistency: All
virtualNodes: 50
service: {type: NodePort}
networkPolicy: {enabled: false}
tenants: [{name: acme, replicationFactor: 5}, {name: small, replicationFactor: 1}]
"""

KV_SECURED = """
tls:
  mode: SecretRef
  secretRef: {name: store}
  clientSecretRef: {name: operator}
  nodeSecretRef: {name: nodes}
authentication:
  mode: JWT
  secretRef: {name: issuer, key: keys.pem}
  issuer: https://issuer.example
  audience: store
  adminCommonNames: [admin]
backup: {claimName: backups, schedule: "30 1 * * 0", keep: 3, restore: demo-kv-backup-1}
"""

CASES = {
    "coordinator": coordinator(demo=INSECURE, other=f"{{{INSECURE}, verification: None}}"),
    "coordinator-external-database": coordinator(EXTERNAL),
    "coordinator-imported-keys": coordinator(demo=IMPORTED),
    "coordinator-keda": coordinator(KEDA, BY_KEDA, demo=INSECURE),
    "coordinator-secured": coordinator(
        "{tls: {mode: Managed}, authentication: {mode: TokenReview}}", demo=INSECURE, two=INSECURE
    ),
    "coordinator-suspended": coordinator("suspend: true"),
    "coordinator-workloads": coordinator(WORKLOADS),
    "kv-cluster": kv_cluster("tenants: [{name: acme}]"),
    "kv-cluster-external": kv_cluster(KV_EXTERNAL, nodes=5),
    "kv-cluster-secured": kv_cluster(KV_SECURED),
    "kv-cluster-suspended": kv_cluster("suspend: true", nodes=4),
    "pool": pool(INSECURE),
    "pool-keda": pool(f"{{{INSECURE}, coordinatorRef: {{name: shared}}}}", defaults=BY_KEDA),
    "pool-placed": pool(PLACED),
    "pool-secured": pool(
        INSECURE,
        Security("demo-coordinator", "demo-coordinator-tls", "demo-workers", tokens=True),
    ),
    "pool-suspended": pool(f"{{{INSECURE}, suspend: true}}"),
}


@pytest.mark.parametrize("name", CASES)
def test_a_spec_becomes_these_objects(name: str) -> None:
    path = GOLDEN / f"{name}.yaml"
    if os.environ.get("MUSTER_WRITE_GOLDEN"):
        path.write_text(yaml.dump_all(CASES[name], Dumper=Readable, sort_keys=False, width=100))
    assert list(yaml.safe_load_all(path.read_text())) == CASES[name]


def pods(objects: list[Manifest]) -> list[dict[str, Any]]:
    specs = [each.get("spec", {}) for each in objects]
    specs += [spec["jobTemplate"]["spec"] for spec in specs if "jobTemplate" in spec]
    return [spec["template"]["spec"] for spec in specs if "template" in spec]


@pytest.fixture(params=CASES)
def pod_specs(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    found = pods(CASES[request.param])
    assert found
    return found


def test_every_pod_passes_the_restricted_level(pod_specs: list[dict[str, Any]]) -> None:
    for spec in pod_specs:
        security = spec["securityContext"]
        assert security["runAsNonRoot"] is True
        assert security["runAsUser"] > 0
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in (*spec["containers"], *spec.get("initContainers", [])):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }


def test_only_what_asks_the_api_server_has_a_token(pod_specs: list[dict[str, Any]]) -> None:
    for spec in pod_specs:
        holds = spec["automountServiceAccountToken"]
        assert holds is (spec["containers"][0]["name"] == "coordinator")


def test_every_mount_has_its_volume(pod_specs: list[dict[str, Any]]) -> None:
    for spec in pod_specs:
        claims = (
            {"data"} if spec["containers"][0]["name"] in {"postgres", "nats", "storage"} else set()
        )
        volumes = {volume["name"] for volume in spec["volumes"]} | claims
        for container in (*spec["containers"], *spec.get("initContainers", [])):
            assert {mount["name"] for mount in container["volumeMounts"]} == volumes


def annotations(objects: list[Manifest]) -> dict[str, str]:
    deployment = next(each for each in objects if each["kind"] == "Deployment")
    found: dict[str, str] = deployment["spec"]["template"]["metadata"]["annotations"]
    return found


def test_a_changed_configuration_replaces_the_pods() -> None:
    assert annotations(coordinator(demo=INSECURE)) == annotations(coordinator(demo=INSECURE))
    assert annotations(coordinator()) != annotations(coordinator(demo=INSECURE))
    assert annotations(pool(INSECURE)) != annotations(pool(f"{{{INSECURE}, concurrency: 2}}"))


def test_a_changed_key_replaces_the_pods_of_coordinator_and_pool() -> None:
    other = IMPORTED.replace(SHA, "cd" * 32, 1)
    for become in (pool, lambda text: coordinator(demo=text)):
        assert annotations(become(IMPORTED)) == annotations(become(IMPORTED))
        assert annotations(become(IMPORTED)) != annotations(become(other))
    pinned = IMPORTED.replace(f"sha256: {SHA}", f"sha256: {SHA}\n      version: sha256:{SHA}")
    assert annotations(pool(IMPORTED)) == annotations(pool(pinned))


def test_storage_nodes_that_have_begun_are_told_without_being_replaced() -> None:
    before, after = kv_cluster(KV_SECURED), kv_cluster(KV_SECURED, restored="demo-kv-backup-1")
    (changed,) = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert changed[1]["kind"] == "ConfigMap"
    assert changed[1]["data"] == {**changed[0]["data"], "restored": "demo-kv-backup-1"}
    (pod,) = [each for each in pods(after) if each["containers"][0]["name"] == "storage"]
    (init,) = pod["initContainers"]
    assert "/etc/muster/restored" in init["args"]
    assert "config" in {mount["name"] for mount in init["volumeMounts"]}


def security(text: str) -> Security:
    return Security.of("demo", CoordinatorSpec.model_validate(yaml.safe_load(text)), 0)


def test_certificates_of_others_are_used_as_they_are_named() -> None:
    pools = [("proofs", "demo-worker")]
    served = security("tls: {mode: SecretRef, secretRef: {name: mine}}")
    assert server_settings(served, pools)["grpc_tls"]["mode"] == "server"
    assert worker_settings(served) == (
        {},
        {"tls": {"ca_file": "/etc/muster/tls/ca.crt", "server_name": "demo-coordinator"}},
    )
    items = [{"key": "ca.crt", "path": "tls/ca.crt"}]
    assert worker_sources(served) == [{"secret": {"name": "mine", "items": items}}]
    text = "tls: {mode: SecretRef, secretRef: {name: mine}, workerSecretRef: {name: theirs}}"
    mutual = security(text)
    assert server_settings(mutual, pools)["grpc_tls"]["mode"] == "mutual"
    assert worker_sources(mutual)[0]["secret"]["name"] == "theirs"


@pytest.mark.parametrize(
    ("mode", "keys"),
    [("Server", {"cert_file", "key_file"}), ("Mutual", {"cert_file", "key_file", "ca_file"})],
)
def test_the_http_api_has_certificates_of_its_own(mode: str, keys: set[str]) -> None:
    objects = coordinator(f"http: {{tls: {{mode: {mode}, secretRef: {{name: front}}}}}}")
    (text,) = next(each for each in objects if each["kind"] == "ConfigMap")["data"].values()
    settings = yaml.safe_load(text)["http_tls"]
    assert settings.pop("mode") == mode.lower()
    assert settings.keys() == keys
    (pod,) = [each for each in pods(objects) if each["containers"][0]["name"] == "coordinator"]
    mounted = pod["volumes"][0]["projected"]["sources"][-1]["secret"]
    assert mounted["name"] == "front"
    paths = {f"/etc/muster/{item['path']}" for item in mounted["items"]}
    assert set(settings.values()) <= paths


def test_tokens_are_asked_for_where_there_are_pools() -> None:
    tokens = security("authentication: {mode: TokenReview}")
    assert server_settings(tokens, []) == {}
    assert server_settings(OPEN, [("proofs", "demo-worker")]) == {}


def test_the_order_of_pools_does_not_matter() -> None:
    assert coordinator(a=INSECURE, b=INSECURE) == coordinator(b=INSECURE, a=INSECURE)
