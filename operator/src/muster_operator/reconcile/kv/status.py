"""How a KVCluster stands; pure."""

from dataclasses import dataclass, field

from muster_api.conditions import ConditionType, Reason
from muster_api.coordinator import Endpoints
from muster_api.kvcluster import (
    MOST_MIGRATIONS,
    KVClusterSpec,
    KVClusterStatus,
    KVCoordinatorNumbers,
    KVMigration,
)
from muster_operator import naming
from muster_operator.children.base import Owner
from muster_operator.reconcile.conditions import Finding, Standing, Verdict, summary, verdict
from muster_operator.reconcile.growth import Shortfall, growing, volume_verdicts
from muster_operator.reconcile.kv.backups import Backups, backed_up
from muster_operator.reconcile.kv.client import Topology
from muster_operator.reconcile.kv.size import Size
from muster_operator.reconcile.kv.store import StoreState
from muster_operator.reconcile.managed import DATABASE, managed
from muster_operator.reconcile.rollout import Rollout, Unplaced
from muster_operator.reconcile.scheduled import scheduled

_ENOUGH_FOR_LOSS = 2
_FACTOR_FOR_LOSS = 3
_UNDER_WAY = "in_progress"


@dataclass(frozen=True, slots=True)
class KvFacts:
    """What was seen of a KVCluster.

    Args:
        size: storage nodes that it has, and which of them go.
        storage: their pods.
        coordinators: pods of coordinators.
        database: of the managed PostgreSQL; None where the database is external.
        store: what coordinators said; what they said last where they are silent.
        leader: who leads maintenance; empty where nobody does.
        restored: the backup that all storage nodes have begun with, as the status says.
        small: volumes that are smaller than the spec says.
    """

    owner: Owner
    spec: KVClusterSpec
    size: Size
    storage: Rollout
    coordinators: Rollout
    database: Rollout | None
    store: StoreState
    unplaced: Unplaced = field(default_factory=Unplaced)
    trouble: str = ""
    problem: Finding | None = None
    paused: bool = False
    leader: str = ""
    backups: Backups = field(default_factory=Backups)
    restored: str = ""
    small: tuple[Shortfall, ...] = ()

    @property
    def nodes(self) -> int:
        """How many storage nodes it has."""
        return self.size.nodes

    @property
    def declared(self) -> int:
        """How many tenants are declared."""
        return len(self.spec.tenants or [])


def kv_verdicts(facts: KvFacts) -> list[Verdict]:
    """Every condition of a KVCluster."""
    rollouts = (facts.storage, facts.coordinators)
    failure = next((each.failure for each in rollouts if each.failure), "")
    detail = failure or facts.unplaced.message or facts.trouble or facts.store.refusal
    detail = detail or _waiting_for(facts.store.topology) or facts.size.refusal
    obstacle, unfinished = _obstacle(facts), _unfinished(facts)
    existing = facts.storage.existing + facts.coordinators.existing
    standing = Standing(
        obstacle=obstacle.because(detail) if obstacle else None,
        unfinished=unfinished.because(detail) if unfinished else None,
        problem=facts.problem or _outdated(facts.store.topology) or _refused_scale_down(facts),
        stopping=existing if facts.spec.suspend else None,
        paused=facts.paused,
        good=f"{_nodes(facts)}, {_coordinators(facts)}",
    )
    return [
        *summary(standing),
        scheduled(ConditionType.PODS_SCHEDULED, "pods", facts.unplaced),
        managed(DATABASE, facts.database),
        _joined(facts),
        *_tenants(facts),
        _replicated(facts),
        *([backed_up(facts.backups)] if facts.spec.backup else []),
        *volume_verdicts(facts.small),
        _available(facts),
    ]


def kv_status(facts: KvFacts, generation: int) -> KVClusterStatus:
    """The status but for its conditions."""
    owner = facts.owner
    host = naming.kv_api_host(owner.key)
    topology = facts.store.topology
    return KVClusterStatus(
        observed_generation=generation,
        replicas=facts.storage.existing,
        ready_replicas=facts.storage.ready,
        selector=naming.as_selector(owner.selecting(naming.KV_STORAGE)),
        nodes=facts.nodes,
        members=facts.store.members if facts.store.ring_version is not None else None,
        ring_version=facts.store.ring_version,
        replication_factor=_factor(facts) or None,
        tenants=facts.store.settled,
        leaving=list(facts.size.leaving) or None,
        ranges_under_replicated=topology and topology.under_replicated,
        hints_waiting=topology and topology.hints_waiting,
        migrations=_migrations(topology),
        lease=naming.kv_coordinator_name(owner.key.name),
        leader=facts.leader or None,
        last_backup=facts.backups.made or None,
        restored=facts.restored or _restored(facts) or None,
        coordinators=KVCoordinatorNumbers(
            replicas=facts.coordinators.existing, ready_replicas=facts.coordinators.ready
        ),
        endpoints=Endpoints(
            grpc=f"{host}:{naming.KV_GRPC_PORT}",
            http=f"{host}:{naming.KV_HTTP_PORT}",
            ops=f"{host}:{naming.KV_OPS_PORT}",
        ),
    )


def _restored(facts: KvFacts) -> str:
    """The backup that all storage nodes have begun with by now; empty without one."""
    backup, store = facts.spec.backup, facts.store
    if backup is None or backup.restore is None:
        return ""
    # Who is ready has its part. Members alone may be of a former cluster whose database was kept.
    begun = facts.storage.complete and facts.storage.ready >= facts.nodes
    joined = store.topology is not None and store.members >= facts.nodes
    return backup.restore if begun and joined else ""


def _factor(facts: KvFacts) -> int:
    """The largest replication factor of all tenants, or of those that are declared; 0 without."""
    if facts.store.factor is not None:
        return facts.store.factor
    return max((each.replication_factor for each in facts.spec.tenants or []), default=0)


def _migrations(topology: Topology | None) -> list[KVMigration] | None:
    # What is under way comes first, then the oldest.
    found = sorted(topology.work if topology else (), key=lambda each: each.status != _UNDER_WAY)
    return [
        KVMigration(
            id=each.id,
            type=each.type,
            of=each.of,
            status=each.status,
            stage=each.stage or None,
            percent=each.percent,
            waiting_for=each.waiting_for or None,
        )
        for each in found[:MOST_MIGRATIONS]
    ] or None


def _waiting_for(topology: Topology | None) -> str:
    """Why the first migration that does not go on does not."""
    found = topology.work if topology else ()
    return next(
        (f"{each.type} of {each.of}: {each.waiting_for}" for each in found if each.waiting_for), ""
    )


def _outdated(topology: Topology | None) -> Finding | None:
    """What is said where the database knows an older ring than storage nodes do."""
    if topology is None or not topology.ahead:
        return None
    names = ", ".join(topology.ahead)
    message = f"{names} hold a newer ring than the database, which was lost or put back"
    return Finding(Reason.RING_OUTDATED, f"{message}; they refuse all requests")


def _changing(facts: KvFacts) -> bool:
    """Whether something is under way after which a node may go, such as a lower factor."""
    topology = facts.store.topology
    return topology is not None and (
        bool(topology.work) or facts.store.settled < facts.store.present
    )


def _refused_scale_down(facts: KvFacts) -> Finding | None:
    """What is said where fewer storage nodes are wanted and none can go."""
    if not facts.size.refusal or _changing(facts):
        return None
    message = (
        f"spec.replicas is {facts.spec.replicas}, and {facts.nodes} storage nodes hold data: none "
        f"is taken away, for {facts.size.refusal}; write replicas: "
        f"{facts.size.fewest or facts.nodes}"
    )
    return Finding(Reason.SCALE_DOWN_REFUSED, message)


def _nodes(facts: KvFacts) -> str:
    return f"{facts.storage.ready} of {facts.nodes} storage nodes are ready"


def _coordinators(facts: KvFacts) -> str:
    return f"{facts.coordinators.ready} of {facts.coordinators.wanted} coordinators are ready"


def _members(facts: KvFacts) -> str:
    return f"{facts.store.members} of {facts.nodes} storage nodes have joined"


def _obstacle(facts: KvFacts) -> Finding | None:
    return _pods_obstacle(facts) or _store_obstacle(facts)


def _pods_obstacle(facts: KvFacts) -> Finding | None:
    if facts.database is not None and facts.database.ready == 0:
        return Finding(Reason.WAITING_FOR_DATABASE, "the managed PostgreSQL is not ready")
    if facts.storage.ready <= facts.nodes // 2:
        return Finding(Reason.NODES_STARTING, _nodes(facts))
    if facts.coordinators.ready == 0:
        return Finding(Reason.NO_PODS_READY, _coordinators(facts))
    if not facts.storage.complete or not facts.coordinators.complete:
        message = f"{_nodes(facts)}, {_coordinators(facts)}; not all pods are of this spec"
        return Finding(Reason.ROLLING_OUT, message)
    return None


def _store_obstacle(facts: KvFacts) -> Finding | None:
    if facts.store.ring_version is None:
        return Finding(Reason.STORE_SILENT, facts.store.silent or Reason.STORE_SILENT.meaning)
    if facts.store.members < facts.nodes:
        return Finding(Reason.NODES_JOINING, _members(facts))
    if facts.store.present < facts.declared:
        return Finding(Reason.TENANTS_WAITING, _settled(facts))
    return None


def _unfinished(facts: KvFacts) -> Finding | None:
    if facts.storage.ready < facts.nodes:
        return Finding(Reason.NODES_STARTING, _nodes(facts))
    if facts.nodes > facts.spec.replicas or facts.size.leaving:
        return Finding(Reason.NODES_LEAVING, _leaving(facts))
    if facts.nodes < facts.spec.replicas:
        return Finding(Reason.NODES_STARTING, _coming(facts))
    if facts.coordinators.ready < facts.coordinators.wanted:
        return Finding(Reason.PODS_STARTING, _coordinators(facts))
    if facts.store.settled < facts.declared:
        return Finding(Reason.TENANTS_WAITING, _settled(facts))
    return growing(facts.small)


def _leaving(facts: KvFacts) -> str:
    names = ", ".join(facts.size.leaving) or "none yet"
    return f"{facts.nodes} storage nodes, {facts.spec.replicas} wanted; leaving: {names}"


def _coming(facts: KvFacts) -> str:
    numbers = f"{facts.nodes} storage nodes, {facts.spec.replicas} wanted"
    return f"{numbers}; the volume of the one that left is still being removed"


def _settled(facts: KvFacts) -> str:
    return f"{facts.store.settled} of {facts.declared} declared tenants are as they should be"


def _joined(facts: KvFacts) -> Verdict:
    kind, store = ConditionType.NODES_JOINED, facts.store
    if store.silent or store.ring_version is None:
        message = store.silent or Reason.STORE_SILENT.meaning
        return Verdict(kind, "Unknown", Reason.STORE_SILENT, message)
    if store.members < facts.nodes:
        return verdict(kind, False, Reason.NODES_JOINING, _members(facts))
    return verdict(kind, True, Reason.ALL_JOINED, _members(facts))


def _tenants(facts: KvFacts) -> list[Verdict]:
    kind, store = ConditionType.TENANTS_SETTLED, facts.store
    if not facts.declared:
        return []
    if store.silent or store.ring_version is None:
        message = store.silent or Reason.STORE_SILENT.meaning
        return [Verdict(kind, "Unknown", Reason.STORE_SILENT, message)]
    if store.refusal:
        return [verdict(kind, False, Reason.STORE_REFUSED, store.refusal)]
    if store.settled < facts.declared:
        return [verdict(kind, False, Reason.TENANTS_WAITING, _settled(facts))]
    return [verdict(kind, True, Reason.ALL_SETTLED, _settled(facts))]


def _replicated(facts: KvFacts) -> Verdict:
    kind, topology = ConditionType.FULLY_REPLICATED, facts.store.topology
    if topology is None:
        message = facts.store.silent or Reason.STORE_SILENT.meaning
        return Verdict(kind, "Unknown", Reason.STORE_SILENT, message)
    if topology.under_replicated:
        message = f"{topology.under_replicated} ranges lack a replica"
        return verdict(kind, False, Reason.UNDER_REPLICATED, message)
    return verdict(kind, True, Reason.ALL_REPLICATED, Reason.ALL_REPLICATED.meaning)


def _available(facts: KvFacts) -> Verdict:
    kind = ConditionType.HIGHLY_AVAILABLE
    factors = [each.replication_factor for each in facts.spec.tenants or []]
    if facts.store.topology is not None and facts.store.topology.smallest:
        # Of tenants that were made by the API too.
        factors.append(facts.store.topology.smallest)
    if facts.nodes < _FACTOR_FOR_LOSS or min(factors, default=_FACTOR_FOR_LOSS) < _FACTOR_FOR_LOSS:
        meaning = Reason.TOO_FEW_REPLICAS.meaning
        return verdict(kind, False, Reason.TOO_FEW_REPLICAS, meaning)
    if facts.database is not None:
        return verdict(kind, False, Reason.MANAGED_DATABASE, Reason.MANAGED_DATABASE.meaning)
    if facts.coordinators.ready < _ENOUGH_FOR_LOSS:
        return verdict(kind, False, Reason.PODS_STARTING, _coordinators(facts))
    if facts.storage.ready < facts.nodes:
        return verdict(kind, False, Reason.NODES_STARTING, _nodes(facts))
    return verdict(kind, True, Reason.REPLICATED, f"{_nodes(facts)}, {_coordinators(facts)}")
