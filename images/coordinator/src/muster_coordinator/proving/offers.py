"""Which pool does which work: circuits that it proves, and other types."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from muster_coordinator.engine.errors import InvalidRequest, NotFound
from muster_coordinator.proving.imports import KeyFile
from muster_proving import CircuitSpec, Curve, Hash

PREFIX = "prove."
"""Of the workload types that are proofs."""


@dataclass(frozen=True, slots=True)
class Pool:
    """A pool of workers: what it proves, with which kind of keys, and whether it is believed.

    Args:
        imports: the files that keys come from.
        verified: False where results are accepted unseen, and marked so.
        general: whether it does work that is no proof.
        types: the kinds of such work; none stands for any.
    """

    name: str
    circuits: tuple[CircuitSpec, ...] = ()
    insecure_setup: bool = False
    verified: bool = True
    imports: Mapping[CircuitSpec, KeyFile] = field(default_factory=dict)
    general: bool = False
    types: frozenset[str] = frozenset()

    def does(self, kind: str) -> bool:
        """Whether it does work of a type that is no proof."""
        return self.general and (not self.types or kind in self.types)


class Offers:
    """All pools, in the order of the configuration."""

    def __init__(self, pools: Iterable[Pool]) -> None:
        self.pools = {pool.name: pool for pool in pools}

    def pool(self, name: str) -> Pool:
        """The pool of this name; the first one where the name is empty.

        Raises:
            NotFound: there is no such pool here.
        """
        if not name and self.pools:
            return next(iter(self.pools.values()))
        if name not in self.pools:
            served = ", ".join(self.pools) or "none"
            raise NotFound(f"pool is {name!r}; served here: {served}")
        return self.pools[name]

    def find(
        self,
        circuit: str,
        curve: str | None,
        size: int | None,
        pool: str | None,
        hash_with: str | None = None,
    ) -> tuple[Pool, CircuitSpec]:
        """The first pool that offers a circuit, and the circuit; None stands for any.

        Without a curve BN254 is preferred, without a hash Poseidon.

        Raises:
            InvalidRequest: no pool offers it; the text lists what is on offer.
        """
        offered = [
            (offer, spec)
            for offer in self.pools.values()
            if pool in {None, offer.name}
            for spec in offer.circuits
            if spec.name == circuit
            and (curve is None or spec.curve.value == curve)
            and (size is None or spec.size == size)
            and hash_with in {None, spec.hash.value}
        ]
        if not offered:
            raise InvalidRequest(
                f"circuit {circuit!r} with curve {curve or 'any'}, size {size or 'any'}, "
                f"hash {hash_with or 'any'}, pool {pool or 'any'} is not on offer; "
                f"allowed: {self._listed()}"
            )
        return min(offered, key=lambda offer: _preference(offer[1]))

    def for_type(self, kind: str, pool: str | None = None) -> Pool:
        """The first pool that does work of a type that is no proof; None stands for any pool.

        Raises:
            InvalidRequest: there is none; the text lists what is on offer.
        """
        for offer in self.pools.values():
            if pool in {None, offer.name} and offer.does(kind):
                return offer
        offered = [
            f"{', '.join(sorted(offer.types)) or 'any'} in pool {offer.name}"
            for offer in self.pools.values()
            if offer.general
        ]
        raise InvalidRequest(
            f"workload_type is {kind[:64]!r}; allowed: "
            f"{'; '.join(offered) or 'none, as workloads.pools is empty'}"
        )

    def specs(self) -> dict[CircuitSpec, bool]:
        """Every circuit on offer, and whether its key may be made insecurely, in process."""
        found: dict[CircuitSpec, bool] = {}
        for pool in self.pools.values():
            for spec in pool.circuits:
                found[spec] = found.get(spec, False) or pool.insecure_setup
        return found

    def _listed(self) -> str:
        listed = [
            f"{spec.key_id} in pool {pool.name}"
            for pool in self.pools.values()
            for spec in pool.circuits
        ]
        return "; ".join(listed) or "nothing, no pool is configured"


def _preference(spec: CircuitSpec) -> tuple[bool, bool]:
    """Smaller for what is meant where a request does not say."""
    return spec.curve is not Curve.BN254, spec.hash is not Hash.POSEIDON
