"""Verification on receipt: no proof is accepted on its maker's word.

The public signals are computed anew from the stored inputs, and the proof is checked against them
with this replica's own verifying key. Batches share one random combination; the work runs in
threads, where the prover's library lets go of the interpreter.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from muster_coordinator.engine.errors import EngineError, Unavailable
from muster_coordinator.engine.model import Proof, Result
from muster_coordinator.engine.ports import Statement, Submission, Verdict
from muster_coordinator.proving.keyring import KeyRing
from muster_coordinator.proving.offers import Offers
from muster_proving import PROOF_ENCODING, CircuitSpec, Verifier, public_signals

_Item = tuple[Statement, Submission]


@dataclass(frozen=True, slots=True)
class _Case:
    """One proof with what it is checked against."""

    place: int
    verifier: Verifier
    input: bytes
    submission: Submission


class ProofAcceptance:
    """Implements `engine.ports.Acceptance` for workloads of type `prove.*`."""

    def __init__(self, keys: KeyRing, offers: Offers) -> None:
        self._keys = keys
        self._offers = offers
        self._threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="verify")

    async def judge(self, items: Sequence[_Item]) -> list[Verdict | EngineError]:
        """See `Acceptance.judge`."""
        verdicts: list[Verdict | EngineError] = []
        cases: list[_Case] = []
        for place, (statement, submission) in enumerate(items):
            case = self._case(place, statement, submission)
            if isinstance(case, _Case):
                cases.append(case)
                verdicts.append(Verdict(accepted=False))
            else:
                verdicts.append(case)
        loop = asyncio.get_running_loop()
        for of_one_key in _by_key(cases):
            found = await loop.run_in_executor(self._threads, _verified, of_one_key)
            for case, verdict in zip(of_one_key, found, strict=True):
                verdicts[case.place] = verdict
        return verdicts

    def close(self) -> None:
        """Let the threads end."""
        self._threads.shutdown(wait=False)

    def _case(
        self, place: int, statement: Statement, submission: Submission
    ) -> _Case | Verdict | EngineError:
        need = statement.held.requirement
        pool = self._offers.pools.get(need.pool)
        if pool is not None and not pool.verified:
            return _unseen(submission, need.key_version)
        encoding = submission.metadata.get("encoding", PROOF_ENCODING)
        if encoding != PROOF_ENCODING:
            return Verdict(
                accepted=False, reason=f"encoding is {encoding!r}; allowed: {PROOF_ENCODING}"
            )
        verifier = self._keys.verifier(need.key_id, need.key_version)
        if verifier is None:
            return Unavailable(f"key {need.key_id} {need.key_version} is not loaded yet")
        if statement.input is None:
            return Unavailable(f"task {statement.held.id}: it has just ended")
        return _Case(place, verifier, statement.input, submission)


def _by_key(cases: Sequence[_Case]) -> list[list[_Case]]:
    groups: dict[int, list[_Case]] = {}
    for case in cases:
        groups.setdefault(id(case.verifier), []).append(case)
    return list(groups.values())


def _verified(cases: Sequence[_Case]) -> list[Verdict]:
    """Verdicts on proofs of one key; runs in a thread."""
    verifier = cases[0].verifier
    publics = [public_signals(verifier.spec, json.loads(case.input)) for case in cases]
    claims = [(public, case.submission.proof) for public, case in zip(publics, cases, strict=True)]
    return [
        Verdict(accepted=True, result=_result(case.submission, public, verifier))
        if holds
        else Verdict(accepted=False, reason="the proof does not hold")
        for case, public, holds in zip(cases, publics, verifier.verify_batch(claims), strict=True)
    ]


def _result(submission: Submission, public: Sequence[str], verifier: Verifier) -> Result:
    proof = Proof(
        submission.proof,
        tuple(public),
        PROOF_ENCODING,
        verifier.version,
        verified=True,
        merkle_root=merkle_root(verifier.spec, public),
    )
    return Result(submission.duration_ms, proof)


def _unseen(submission: Submission, key_version: str) -> Verdict:
    """What a worker that is believed says of its result, as far as it has the right types."""
    metadata = submission.metadata
    public = metadata.get("public")
    signals = public if isinstance(public, list) else []
    proof = Proof(
        submission.proof,
        tuple(signal for signal in signals if _is_decimal(signal)),
        _text(metadata, "encoding", "unknown"),
        _text(metadata, "key_version", key_version),
        verified=False,
        merkle_root=submission.merkle_root,
    )
    return Verdict(accepted=True, result=Result(submission.duration_ms, proof))


def _is_decimal(signal: object) -> bool:
    return isinstance(signal, str) and signal.isascii() and signal.isdigit()


def _text(metadata: Mapping[str, object], key: str, otherwise: str) -> str:
    value = metadata.get(key)
    return value if isinstance(value, str) and value.isprintable() else otherwise


def merkle_root(spec: CircuitSpec, public: Sequence[str]) -> str:
    """The root as 0x and 64 hex digits, of a merkle proof; empty for other circuits."""
    return f"{int(public[0]):#066x}" if spec.name == "merkle" else ""
