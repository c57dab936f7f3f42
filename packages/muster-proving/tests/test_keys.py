"""Keys: the one that was asked for loads, every other is refused by name."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster_proving import (
    CircuitSpec,
    Curve,
    InvalidInput,
    KeyMismatch,
    generate_insecure_key,
    load_proving_key,
    load_verifying_key,
)

from .samples import A_FEW, Loaded

ADDITION = CircuitSpec("addition", Curve.BN254)


def test_a_version_is_a_digest_and_new_for_each_setup(loaded: Loaded) -> None:
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", loaded.material.version)
    again = generate_insecure_key(loaded.spec)
    assert again.version != loaded.material.version
    assert loaded.material.proving_key != again.proving_key


def test_a_key_of_something_else_is_refused(loaded: Loaded) -> None:
    other = CircuitSpec("merkle", Curve.BN254, 5)
    material = loaded.material
    with pytest.raises(KeyMismatch, match=f"{other.key_id}.*{loaded.spec.key_id}"):
        load_proving_key(other, material.proving_key, material.version)
    with pytest.raises(KeyMismatch, match=f"{other.key_id}.*{loaded.spec.key_id}"):
        load_verifying_key(other, material.verifying_key, material.version)


def test_another_version_is_refused(loaded: Loaded) -> None:
    version = "sha256:" + "0" * 64
    with pytest.raises(KeyMismatch, match=r"this is version sha256:[0-9a-f]{64}"):
        load_proving_key(loaded.spec, loaded.material.proving_key, version)
    with pytest.raises(KeyMismatch, match=r"this is version sha256:[0-9a-f]{64}"):
        load_verifying_key(loaded.spec, loaded.material.verifying_key, version)


def test_the_two_files_are_not_mistaken_for_each_other(loaded: Loaded) -> None:
    material = loaded.material
    with pytest.raises(KeyMismatch, match="not a proving key"):
        load_proving_key(loaded.spec, material.verifying_key, material.version)
    with pytest.raises(KeyMismatch, match="not a verifying key"):
        load_verifying_key(loaded.spec, material.proving_key, material.version)


@A_FEW
@given(place=st.integers(min_value=0), bit=st.integers(0, 7))
def test_a_damaged_file_is_refused(keys: dict[CircuitSpec, Loaded], place: int, bit: int) -> None:
    material = keys[ADDITION].material
    damaged = bytearray(material.proving_key)
    damaged[place % len(damaged)] ^= 1 << bit
    with pytest.raises(KeyMismatch):
        load_proving_key(ADDITION, bytes(damaged), material.version)


@A_FEW
@given(st.binary(max_size=200))
def test_noise_is_refused(noise: bytes) -> None:
    with pytest.raises(KeyMismatch):
        load_proving_key(ADDITION, noise, "sha256:")
    with pytest.raises(KeyMismatch):
        load_verifying_key(ADDITION, noise, "sha256:")


def test_key_bytes_are_not_in_the_representation(loaded: Loaded) -> None:
    assert len(repr(loaded.material)) < 300


@pytest.mark.parametrize("threads", ["", "-1", "two", "5000", "1.5"])
def test_a_wrong_thread_variable_is_named(
    threads: str, keys: dict[CircuitSpec, Loaded], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUSTER_PROVING_THREADS", threads)
    material = keys[ADDITION].material
    with pytest.raises(InvalidInput, match="MUSTER_PROVING_THREADS"):
        load_proving_key(ADDITION, material.proving_key, material.version)
