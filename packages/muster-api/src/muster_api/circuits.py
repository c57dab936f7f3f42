"""Circuits, and the proving keys that a pool has for them."""

from typing import Annotated, Literal

from pydantic import Field

from muster_api.model import Model, Name, Rule
from muster_api.shared import SecretKeyReference

DEFAULT_DEPTH = 20
DEFAULT_BITS = 64

_SIZE_OF = (
    "({0}.name == 'merkle' ? (has({0}.depth) ? {0}.depth : 20) : "
    "{0}.name == 'range' ? (has({0}.bits) ? {0}.bits : 64) : 0)"
)


def same_circuit(one: str, other: str) -> str:
    """A CEL expression: whether two variables mean the same circuit."""
    sizes = f"{_SIZE_OF.format(one)} == {_SIZE_OF.format(other)}"
    names = " && ".join(f"{one}.{field} == {other}.{field}" for field in ("name", "curve", "hash"))
    return f"{names} && {sizes}"


class Circuit(Model):
    """A statement that the pool proves, on one curve and of one size."""

    rules = (
        Rule(
            "!has(self.depth) || self.name == 'merkle'",
            "depth belongs to the circuit merkle alone: remove it",
            ".depth",
        ),
        Rule(
            "!has(self.bits) || self.name == 'range'",
            "bits belongs to the circuit range alone: remove it",
            ".bits",
        ),
    )

    name: Literal["merkle", "range", "addition"] = Field(
        description="merkle: a leaf is in a tree; range: a committed value lies between two "
        "bounds; addition: committed numbers add up."
    )
    curve: Literal["BN254", "BLS12-381"] = Field("BN254", description="The pairing curve.")
    hash: Literal["Poseidon", "MiMC"] = Field(
        "Poseidon", description="The hash in it; MiMC for deployments that have gnark's already."
    )
    depth: Annotated[int, Field(ge=1, le=32)] | None = Field(
        None, description="merkle only: levels of the tree, 1-32; absent means 20."
    )
    bits: Annotated[int, Field(ge=8, le=128)] | None = Field(
        None, description="range only: bits of the value, 8-128; absent means 64."
    )

    @property
    def size(self) -> int | None:
        """The circuit's depth or bits; None for circuits of one size."""
        if self.name == "merkle":
            return self.depth or DEFAULT_DEPTH
        return (self.bits or DEFAULT_BITS) if self.name == "range" else None

    @property
    def statement(self) -> tuple[str, str, str, int | None]:
        """What tells circuits apart: name, curve, hash and size."""
        return self.name, self.curve, self.hash, self.size

    @property
    def key_id(self) -> str:
        """What the coordinator calls the circuit's key, such as `merkle-20-poseidon@bn254`."""
        size = "" if self.size is None else f"-{self.size}"
        return f"{self.name}{size}-{self.hash.lower()}@{self.curve.lower()}"


_PART = "[A-Za-z0-9_][-A-Za-z0-9._]*"


class ClaimedFile(Model):
    """A file on a volume."""

    claim_name: Name = Field(description="The PersistentVolumeClaim, mounted read-only.")
    path: Annotated[str, Field(min_length=1, max_length=512, pattern=rf"^{_PART}(/{_PART})*$")] = (
        Field(description="The file's path on the volume, without a slash in front.")
    )


class KeySource(Model):
    """Where a key's file is: exactly one of secretRef and persistentVolumeClaim."""

    rules = (
        Rule(
            "has(self.secretRef) != has(self.persistentVolumeClaim)",
            "write either secretRef: {name, key} or persistentVolumeClaim: {claimName, path}, and "
            "not both",
        ),
    )

    secret_ref: SecretKeyReference | None = Field(
        None, description="A Secret, for keys of less than 1 MiB."
    )
    persistent_volume_claim: ClaimedFile | None = Field(
        None, description="A volume that every coordinator can mount."
    )


class ImportedKey(Circuit):
    """The key of one circuit, from a ceremony: a .zkey file, or Muster's own with its manifest."""

    source: KeySource = Field(description="Where its file is.")
    sha256: Annotated[str, Field(max_length=64, pattern="^[0-9a-f]{64}$")] = Field(
        description="SHA-256 of the file, in hexadecimal; another file is refused."
    )
    version: Annotated[str, Field(max_length=71, pattern="^sha256:[0-9a-f]{64}$")] | None = Field(
        None,
        description="The version that proofs made with it are to name, as in status.keys; the pool "
        "is not ready while it is another.",
    )


class Keys(Model):
    """Where the proving keys come from: made inside the cluster, or imported."""

    rules = (
        Rule(
            "!self.insecureSetup || !has(self.imported)",
            "insecureSetup and imported exclude each other: remove one of the two",
            ".imported",
        ),
    )

    insecure_setup: bool = Field(
        False,
        description="Let the coordinator make the keys itself. Whoever could watch can forge "
        "proofs with them, so this is for development; it has to be said.",
    )
    imported: Annotated[list[ImportedKey], Field(min_length=1, max_length=16)] | None = Field(
        None,
        description="Keys of ceremonies, one for each of spec.circuits.",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )
