"""Every wrong manifest is refused by a real API server, with the sentence that helps."""

import json

import pytest
import yaml
from kubernetes import client
from kubernetes.client.exceptions import ApiException

from muster_api.crd import COORDINATOR, KINDS, KV_CLUSTER, PROVER_POOL, Kind
from muster_api.model import GROUP, VERSION

from .manifests import INSECURE, create, manifest

pytestmark = pytest.mark.integration


def refusal(error: ApiException) -> str:
    assert error.status in {400, 422}, error
    return str(json.loads(error.body or "")["message"])


SHA = "ab" * 32
SOURCE = "source: {secretRef: {name: a, key: b}}"


def imports(*keys: str, circuits: str = "[{name: merkle}]") -> str:
    return f"{{circuits: {circuits}, keys: {{imported: [{', '.join(keys)}]}}}}"


MERKLE = f"{{name: merkle, {SOURCE}, sha256: {SHA}}}"
MERKLE_8 = f"{{name: merkle, depth: 8, {SOURCE}, sha256: {SHA}}}"

POOLS = {
    imports(): "spec.keys.imported in body should have at least 1 items",
    imports(MERKLE, MERKLE): "keys.imported must have exactly one key for each of circuits",
    imports(MERKLE_8): "add the key, or list under circuits only what there are keys for",
    imports(MERKLE, MERKLE_8): "keys.imported has a key for a circuit that is not under circuits",
    imports(MERKLE, circuits="[{name: merkle}, {name: addition}]"): "exactly one key for each",
    imports(f"{{name: merkle, {SOURCE}}}"): "spec.keys.imported[0].sha256: Required value",
    imports(f"{{name: merkle, sha256: {SHA}}}"): "spec.keys.imported[0].source: Required value",
    imports(f"{{name: merkle, sha256: {SHA}, source: {{}}}}"): "write either secretRef: {name, key",
    imports(f"{{name: merkle, {SOURCE}, sha256: abc}}"): "sha256 in body should match",
    imports(f"{{name: merkle, {SOURCE}, sha256: {SHA}, version: v2}}"): "version in body should",
    f"{{circuits: [{{name: merkle}}], keys: {{insecureSetup: true, imported: [{MERKLE}]}}}}": (
        "insecureSetup and imported exclude each other: remove one of the two"
    ),
    "": "write keys: {insecureSetup: true} to accept proving keys",
    "keys: {}": "write keys: {insecureSetup: true} to accept proving keys",
    "keys: {insecureSetup: false}": "write keys: {insecureSetup: true} to accept proving keys",
    "keys: {insecureSetup: perhaps}": 'spec.keys.insecureSetup in body must be of type boolean: "s',
    "circuits: []": "spec.circuits in body should have at least 1 items",
    "circuits: [{}]": "spec.circuits[0].name: Required value",
    "circuits: [{name: sudoku}]": 'supported values: "merkle", "range", "addition"',
    "circuits: [{name: merkle, curve: BN256}]": 'supported values: "BN254", "BLS12-381"',
    "circuits: [{name: merkle, depth: 33}]": "depth in body should be less than or equal to 32",
    "circuits: [{name: merkle, depth: 0}]": "depth in body should be greater than or equal to 1",
    "circuits: [{name: range, bits: 7}]": "bits in body should be greater than or equal to 8",
    "circuits: [{name: range, bits: 129}]": "bits in body should be less than or equal to 128",
    "circuits: [{name: range, depth: 8}]": "depth belongs to the circuit merkle alone: remove it",
    "circuits: [{name: merkle, bits: 8}]": "bits belongs to the circuit range alone: remove it",
    "circuits: [{name: addition, bits: 8}]": "bits belongs to the circuit range alone: remove it",
    "circuits: [{name: merkle}, {name: merkle, depth: 20}]": "a circuit is listed twice",
    "circuits: [{name: addition}, {name: addition}]": "a circuit is listed twice",
    "circuits: [{name: addition, hash: Poseidon}, {name: addition}]": "a circuit is listed twice",
    "circuits: [{name: addition, hash: SHA3}]": 'supported values: "Poseidon", "MiMC"',
    "concurrency: 0": "concurrency in body should be greater than or equal to 1",
    "concurrency: 65": "concurrency in body should be less than or equal to 64",
    "concurrency: two": "spec.concurrency in body must be of type integer",
    "replicas: 2": "replicas is only for pools without autoscaling: remove it, or write",
    "{replicas: -1, autoscaling: {enabled: false}}": "should be greater than or equal to 0",
    "autoscaling: {minReplicas: 9}": "minReplicas must not be greater than maxReplicas",
    "autoscaling: {minReplicas: -1}": "minReplicas in body should be greater than or equal to 0",
    "autoscaling: {minReplicas: 0, maxReplicas: 0}": "should be greater than or equal to 1",
    "autoscaling: {minReplicas: 0, scaleToZeroAfter: 0s}": "write a duration from 1s to 24h",
    "autoscaling: {targetTasksPerWorker: 0}": "should be greater than or equal to 1",
    "autoscaling: {maxReplica: 3}": 'unknown field "spec.autoscaling.maxReplica"',
    "verification: Sometimes": 'supported values: "Required", "None"',
    "{concurrency: 3, resources: {limits: {cpu: 1}}}": "lower it or raise the limit",
    "{concurrency: 2, resources: {limits: {cpu: 0}}}": "lower it or raise the limit",
    "worker: {taskMemoryLimit: 1Mi}": "write a size of at least 64Mi, such as 512Mi",
    "worker: {heartbeatInterval: 500ms}": "write a duration from 1s to 60s",
    "worker: {heartbeatInterval: 2m}": "write a duration from 1s to 60s",
    "worker: {heartbeatInterval: 5}": "heartbeatInterval in body must be of type string",
    "worker: {heartbeatInterval: 5 seconds}": "heartbeatInterval in body should match",
    "worker: {taskTimeout: 0s}": "write a duration from 1s to 24h",
    "terminationGracePeriodSeconds: 5": "should be greater than or equal to 10",
    "coordinatorRef: {}": "spec.coordinatorRef.name: Required value",
    "coordinatorRef: {name: Proofs}": "spec.coordinatorRef.name in body should match",
    "image: 'not an image'": "spec.image in body should match",
    "resources: {requests: {cpu: lots}}": "spec.resources.requests.cpu in body should match",
    "resources: {requests: {memory: 2Gi}, limits: {memory: 1Gi}}": "lower it under requests",
    "resources: {requests: {cpu: 2}, limits: {cpu: 500m}}": "lower it under requests",
    "podTemplate: {labels: {app.kubernetes.io/name: mine}}": "are the operator's: choose another",
    "podTemplate: {annotations: {muster.dev/config: mine}}": "are the operator's: choose another",
    "podTemplate: {tolerations: [{operator: Exists, value: x}]}": "operator Exists takes no value",
    "serviceAccount: {annotations: {muster.dev/paused: 'true'}}": "are the operator's: choose anot",
    "podTemplate: {securityContext: {runAsUser: 0}}": "runAsUser in body should be greater than",
    "podTemplate: {affinity: {nodeAfinity: {}}}": "unknown field",
    "suspend: 'yes'": "spec.suspend in body must be of type boolean",
    "networkPolicy: {enabled: maybe}": "spec.networkPolicy.enabled in body must be of type boolean",
}


def pools(*each: str) -> str:
    return f"{{workerPools: [{', '.join(each)}]}}"


def worker_pool(text: str, workloads: str = "[sleep]") -> str:
    return f"{{name: a, workloads: {workloads}, {text}}}"


SERVICES = {
    "service: {type: ExternalName}": 'supported values: "ClusterIP", "NodePort", "LoadBalancer"',
    "service: {labels: {muster.dev/coordinator: mine}}": "are the operator's: choose another",
    "service: {annotations: {muster.dev/applied: mine}}": "are the operator's: choose another",
    "service: {loadBalancerClass: example.com/inner}": "loadBalancerClass belongs to type LoadBal",
    "service: {type: NodePort, loadBalancerClass: inner}": "write type: LoadBalancer, or remove it",
    "service: {loadBalancerSourceRanges: [10.0.0.0/8]}": "SourceRanges belongs to type LoadBal",
    "service: {type: LoadBalancer, loadBalancerSourceRanges: [10.0.0.0/33]}": "[0] in body should",
    "service: {externalTrafficPolicy: Local}": "externalTrafficPolicy belongs to what comes from",
    "service: {type: NodePort, externalTrafficPolicy: Zone}": 'supported values: "Cluster", "Local',
}

COORDINATORS = {
    **SERVICES,
    "http: {tls: {mode: Server}}": "mode and secretRef belong together: write both, or neither",
    "http: {tls: {secretRef: {name: a}}}": "mode and secretRef belong together",
    "replicas: 0": "spec.replicas in body should be greater than or equal to 1",
    "replicas: 10": "spec.replicas in body should be less than or equal to 9",
    "strategy: random": 'supported values: "fifo", "round-robin", "least-loaded"',
    "pollInterval: 50ms": "write a duration from 100ms to 1m",
    "pollInterval: 40s": "pollInterval must be shorter than heartbeatTimeout: lower it",
    "heartbeatTimeout: 1s": "write a duration from 2s to 10m",
    "{heartbeatTimeout: 10m, staleTaskTimeout: 5m}": "staleTaskTimeout must be longer than heart",
    "staleTaskTimeout: 25h": "write a duration from 5s to 24h",
    "cleanupInterval: 0s": "write a duration from 1s to 1h",
    "drainTimeout: 1h": "write a duration from 1s to 10m",
    "maxQueued: 0": "spec.maxQueued in body should be greater than or equal to 1",
    "maxRetries: -1": "spec.maxRetries in body should be greater than or equal to 0",
    "database: {}": "write either managed: {} or secretRef: {name, key}, and not both",
    "database: {managed: {}, secretRef: {name: a, key: b}}": "secretRef: {name, key}, and not both",
    "database: {secretRef: {name: postgres}}": "spec.database.secretRef.key: Required value",
    "database: {managed: {storage: 10Mi}}": "write a size of at least 256Mi, such as 2Gi",
    "database: {managed: {storage: big}}": "spec.database.managed.storage in body should match",
    "database: {managed: {deletionPolicy: Keep}}": 'supported values: "Delete", "Retain"',
    "database: {managed: {resources: {requests: {cpu: 2}, limits: {cpu: 1}}}}": "lower it under",
    "resources: {requests: {memory: 2Gi}, limits: {memory: 1Gi}}": "lower it under requests",
    "podTemplate: {labels: {muster.dev/proverpool: mine}}": "are the operator's: choose another",
    "podTemplate: {annotations: {muster.dev/paused: 'true'}}": "are the operator's: choose another",
    "podTemplate: {tolerations: [{operator: Exists, value: x}]}": "operator Exists takes no value",
    "serviceAccount: {annotations: {muster.dev/paused: 'true'}}": "are the operator's: choose anot",
    "tls: {mode: SecretRef}": "secretRef belongs to mode SecretRef: write both or neither",
    "tls: {secretRef: {name: a}}": "secretRef belongs to mode SecretRef: write both or neither",
    "tls: {mode: Managed, workerSecretRef: {name: a}}": "workerSecretRef belongs to mode SecretRef",
    "authentication: {mode: Basic}": 'supported values: "Disabled", "TokenReview"',
    "http: {rateLimit: -1}": "spec.http.rateLimit in body should be greater than or equal to 0",
    "http: {rateLimit: 0.5}": "spec.http.rateLimit in body must be of type integer",
    "http: {rateBurst: 0}": "spec.http.rateBurst in body should be greater than or equal to 1",
    "http: {trustedProxies: [10.0.0.0/33]}": "spec.http.trustedProxies[0] in body should match",
    "http: {trustedProxies: [10.0.256.1]}": "spec.http.trustedProxies[0] in body should match",
    "http: {trustedProxies: ['fd00::/129']}": "spec.http.trustedProxies[0] in body should match",
    "http: {trustedProxies: [proxy.example]}": "spec.http.trustedProxies[0] in body should match",
    "http: {corsOrigins: [example.com]}": "spec.http.corsOrigins[0] in body should match",
    "http: {corsOrigins: ['https://a.example/']}": "spec.http.corsOrigins[0] in body should match",
    "http: {corsOrigins: ['*', 'https://a.example']}": "* means every origin: remove the others",
    "database: {managed: {}, witnessKeySecretRef: {name: a}}": "SecretRef.key: Required value",
    "accounts: {adminKey: Perhaps}": 'supported values: "Managed", "Disabled"',
    "accounts: {jwt: {}}": "spec.accounts.jwt.secretRef: Required value",
    "accounts: {jwt: {secretRef: {name: a, key: b}, algorithm: none}}": 'values: "HS256", "RS256"',
    "broker: {}": "write either managed: {} or secretRef: {name, key}, and not both",
    "broker: {managed: {}, secretRef: {name: a, key: b}}": "secretRef: {name, key}, and not both",
    "broker: {prefix: a.b, managed: {}}": "spec.broker.prefix in body should match",
    "broker: {managed: {storage: 1Mi}}": "write a size of at least 256Mi, such as 2Gi",
    "broker: {managed: {resources: {requests: {cpu: 2}, limits: {cpu: 1}}}}": "lower it under",
    pools("{name: a}"): "spec.workerPools[0].workloads: Required value",
    pools("{workloads: [sleep]}"): "spec.workerPools[0].name: Required value",
    pools(worker_pool(""), worker_pool("")): 'spec.workerPools[1]: Duplicate value: {"name":"a"}',
    pools("{name: Fast, workloads: [sleep]}"): "spec.workerPools[0].name in body should match",
    pools(f"{{name: {'a' * 21}, workloads: [sleep]}}"): "spec.workerPools[0].name: Too long",
    pools(worker_pool("", "[]")): "workloads in body should have at least 1 items",
    pools(worker_pool("", "[sleep, sleep]")): "workloads[1]: Duplicate value",
    pools(worker_pool("", "[prove.merkle]")): "proofs are made by a ProverPool: remove the types",
    pools(worker_pool("transport: NATS")): "transport NATS needs a broker: write broker: {managed",
    pools(worker_pool("transport: Carrier")): 'supported values: "gRPC", "NATS"',
    pools(worker_pool("options: {http: {}}")): "options are for a type that is not under work",
    pools(worker_pool("options: {sleep: fast}")): "options.sleep in body must be of type object",
    pools(worker_pool("networkAccess: None")): 'supported values: "Coordinator", "Any"',
    pools(worker_pool("replicas: 2")): "replicas is only for pools without autoscaling: remove it",
    pools(worker_pool("autoscaling: {minReplicas: 9}")): "minReplicas must not be greater than max",
    pools(worker_pool("autoscaling: {scaleToZeroAfter: 0s}")): "write a duration from 1s to 24h",
    pools(worker_pool("concurrency: 3, resources: {limits: {cpu: 1}}")): "concurrency is more than",
    pools(worker_pool("resources: {requests: {cpu: 2}, limits: {cpu: 1}}")): "lower it under",
    pools(worker_pool("env: [{name: A}]")): "write either value or secretKeyRef: {name, key}",
    pools(worker_pool("env: [{name: 1A, value: b}]")): "env[0].name in body should match",
    pools(
        worker_pool("env: [{name: WORKER_ID, value: b}]")
    ): "POD_ or WORKER_ are the worker's own",
    pools(worker_pool("worker: {heartbeatInterval: 500ms}")): "write a duration from 1s to 60s",
    pools(worker_pool("worker: {taskTimeout: 0s}")): "write a duration from 1s to 24h",
    pools(worker_pool("worker: {taskMemoryLimit: 1Mi}")): "write a size of at least 64Mi",
    pools(worker_pool("worker: {heartbeatInterval: 20s}")): "must be at most half of heartbeat",
    pools(worker_pool("worker: {taskTimeout: 6m}")): "must be at most staleTaskTimeout: lower it",
    pools(worker_pool("podTemplate: {labels: {muster.dev/a: b}}")): "are the operator's: choose",
    pools(worker_pool("podTemplate: {annotations: {muster.dev/a: b}}")): "are the operator's: cho",
    pools(worker_pool("serviceAccount: {annotations: {muster.dev/a: b}}")): "are the operator's: c",
    pools(worker_pool("podTemplate: {tolerations: [{operator: Exists, value: x}]}")): (
        "operator Exists takes no value"
    ),
    "databse: {}": 'unknown field "spec.databse"',
}


KV_CLUSTERS = {
    **SERVICES,
    "tenants: [{name: a, replicationFactor: 4}]": "replicationFactor of each of tenants must be at",
    "{replicas: 1, tenants: [{name: a}]}": "replicationFactor of each of tenants must be at most",
    "tenants: [{name: a, idempotency: Redis}]": "idempotency: Redis needs a Redis",
    "tenants: [{name: 'a:b'}]": "should match",
    "tenants: [{name: a}, {name: a}]": "Duplicate value",
    "deletionPolicy: Retain": "deletionPolicy: Retain keeps records that only the database",
    "database: {managed: {}, secretRef: {name: a, key: b}}": "write either managed: {} or",
    "database: {}": "write either managed: {} or secretRef: {name, key}, and not both",
    "volume: {size: 1Mi}": "write a size of at least 256Mi, such as 10Gi",
    "database: {managed: {storage: 1Mi}}": "write a size of at least 256Mi, such as 2Gi",
    "coordinators: {replicas: 3}": "replicas is only for coordinators without autoscaling",
    "coordinators: {resources: {requests: {memory: 1Gi}}}": "autoscaling goes by the CPU that is",
    "coordinators: {autoscaling: {minReplicas: 7}}": "minReplicas must not be greater than",
    "redis: {port: 6379}": "spec.redis.host: Required value",
    "replicas: 0": "should be greater than or equal to 1",
    "consistency: Most": 'supported values: "One", "Quorum", "All"',
    "resources: {requests: {cpu: 2}, limits: {cpu: 1}}": "a request is greater than its limit",
    "coordinators: {resources: {requests: {cpu: 2}, limits: {cpu: 1}}}": "a request is greater",
    "podTemplate: {labels: {muster.dev/a: b}}": "labels below app.kubernetes.io/ and muster.dev/",
    "podTemplate: {annotations: {muster.dev/a: b}}": "annotations below muster.dev/ are the",
    "podTemplate: {tolerations: [{operator: Exists, value: a}]}": "operator Exists takes no value",
    "coordinators: {serviceAccount: {annotations: {muster.dev/a: b}}}": "annotations below muster.",
    "tls: {mode: SecretRef, clientSecretRef: {name: a}}": "secretRef belongs to mode SecretRef",
    "tls: {secretRef: {name: a}}": "secretRef belongs to mode SecretRef: write both or neither",
    "tls: {clientSecretRef: {name: a}}": "clientSecretRef belongs to mode SecretRef: remove it",
    "authentication: {secretRef: {name: a, key: b}}": "secretRef belongs to mode JWT",
    "authentication: {mode: JWT}": "secretRef belongs to mode JWT: write both or neither",
    "authentication: {mode: Disabled, issuer: a}": "issuer, audience and adminCommonNames",
    "authentication: {mode: JWT, secretRef: {name: a, key: b}, adminCommonNames: [a]}": (
        "adminCommonNames are of certificates that clients show"
    ),
    "backup: {}": "spec.backup.claimName: Required value",
    "backup: {claimName: a, schedule: daily}": "should match",
}

CHANGES = [
    *(
        (
            kind,
            f"service: {{type: LoadBalancer, {before}}}",
            f"service: {{type: LoadBalancer, {after}}}",
            "loadBalancerClass of a load balancer can't be changed",
        )
        for kind in (COORDINATOR, KV_CLUSTER)
        for before, after in (
            ("loadBalancerClass: a", "loadBalancerClass: b"),
            ("", "loadBalancerClass: b"),
        )
    ),
    (
        PROVER_POOL,
        INSECURE,
        f"{{coordinatorRef: {{name: other}}, {INSECURE}}}",
        "coordinatorRef can't be added or removed later",
    ),
    (
        PROVER_POOL,
        f"{{coordinatorRef: {{name: other}}, {INSECURE}}}",
        INSECURE,
        "coordinatorRef can't be added or removed later",
    ),
    (
        COORDINATOR,
        "database: {managed: {storage: 2Gi}}",
        "database: {managed: {storage: 2047Mi}}",
        "a volume can't shrink: write the size",
    ),
    (
        COORDINATOR,
        "database: {managed: {}}",
        "database: {managed: {storageClassName: fast}}",
        "the volume's class can't be changed",
    ),
    (
        COORDINATOR,
        "broker: {managed: {storage: 3Gi}}",
        "broker: {managed: {}}",
        "a volume can't shrink: write the size",
    ),
    (
        COORDINATOR,
        "broker: {managed: {}}",
        "broker: {managed: {storageClassName: fast}}",
        "the volume's class can't be changed",
    ),
    (
        COORDINATOR,
        "database: {managed: {}}",
        "database: {secretRef: {name: a, key: b}}",
        "the kind of database can't be changed",
    ),
    (KV_CLUSTER, "volume: {size: 2Gi}", "volume: {size: 1Gi}", "a volume can't shrink: write the"),
    (
        KV_CLUSTER,
        "volume: {}",
        "volume: {storageClassName: fast}",
        "the class of the volumes can't be changed",
    ),
    (
        KV_CLUSTER,
        "tls: {nodeSecretRef: {name: a}}",
        "tls: {}",
        "nodeSecretRef can't come or go",
    ),
    (
        KV_CLUSTER,
        "tls: {}",
        "tls: {nodeSecretRef: {name: a}}",
        "nodeSecretRef can't come or go",
    ),
    (KV_CLUSTER, "virtualNodes: 10", "virtualNodes: 20", "virtualNodes can't be changed"),
    (
        KV_CLUSTER,
        "",
        "backup: {claimName: a, restore: b}",
        "restore is for storage nodes that are made",
    ),
    (
        KV_CLUSTER,
        "backup: {claimName: a}",
        "backup: {claimName: a, restore: b}",
        "restore is for storage nodes that are made",
    ),
    (
        KV_CLUSTER,
        "database: {managed: {}}",
        "database: {secretRef: {name: a, key: b}}",
        "the kind of database can't be changed, for the members",
    ),
    (
        KV_CLUSTER,
        "database: {managed: {storage: 2Gi}}",
        "database: {managed: {storage: 2047Mi}}",
        "a volume can't shrink: write the size",
    ),
    (
        KV_CLUSTER,
        "database: {managed: {}}",
        "database: {managed: {storageClassName: fast}}",
        "the volume's class can't be changed",
    ),
]


@pytest.mark.parametrize(("spec", "sentence"), POOLS.items())
def test_a_wrong_pool_is_refused(
    objects: client.CustomObjectsApi, spec: str, sentence: str
) -> None:
    written = yaml.safe_load(spec) or {}
    if spec and "keys" not in written:
        written["keys"] = {"insecureSetup": True}
    with pytest.raises(ApiException) as error:
        create(objects, PROVER_POOL, manifest(PROVER_POOL, "") | {"spec": written})
    assert sentence in refusal(error.value)


@pytest.mark.parametrize(("spec", "sentence"), COORDINATORS.items())
def test_a_wrong_coordinator_is_refused(
    objects: client.CustomObjectsApi, spec: str, sentence: str
) -> None:
    with pytest.raises(ApiException) as error:
        create(objects, COORDINATOR, manifest(COORDINATOR, spec))
    assert sentence in refusal(error.value)


@pytest.mark.parametrize(("spec", "sentence"), KV_CLUSTERS.items())
def test_a_wrong_kvcluster_is_refused(
    objects: client.CustomObjectsApi, spec: str, sentence: str
) -> None:
    with pytest.raises(ApiException) as error:
        create(objects, KV_CLUSTER, manifest(KV_CLUSTER, spec))
    assert sentence in refusal(error.value)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("name", ["a" * 41, "1st", "with.dots"])
def test_a_name_that_leaves_no_room_is_refused(
    objects: client.CustomObjectsApi, kind: Kind, name: str
) -> None:
    with pytest.raises(ApiException) as error:
        create(objects, kind, manifest(kind, INSECURE if kind is PROVER_POOL else "", name))
    assert "metadata.name must be at most 40" in refusal(error.value)


@pytest.mark.parametrize(("kind", "before", "after", "sentence"), CHANGES)
def test_what_is_fixed_when_made_is_not_changed(
    objects: client.CustomObjectsApi, kind: Kind, before: str, after: str, sentence: str
) -> None:
    made = create(objects, kind, manifest(kind, before, "fixed"), dry_run=False)
    try:
        made["spec"] = yaml.safe_load(after)
        with pytest.raises(ApiException) as error:
            objects.replace_namespaced_custom_object(
                GROUP, VERSION, "default", kind.plural, "fixed", made
            )
        assert sentence in refusal(error.value)
    finally:
        objects.delete_namespaced_custom_object(GROUP, VERSION, "default", kind.plural, "fixed")
