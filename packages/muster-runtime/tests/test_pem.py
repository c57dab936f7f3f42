"""What is said about certificates and keys that can't be used."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from muster_runtime.pem import check_authorities, check_pair
from muster_testing.authority import Authority


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two good pairs, and their authority."""
    authority = Authority("test")
    authority.write(tmp_path / "ca.crt")
    authority.issue("one", tmp_path / "one")
    authority.issue("two", tmp_path / "two")
    (tmp_path / "text").write_text("no PEM")
    return tmp_path


def test_good_files_pass(folder: Path) -> None:
    check_authorities(folder / "ca.crt")
    check_pair(folder / "one.crt", folder / "one.key")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("text", "this one has none"),
        ("one.key", "this one has none"),
        ("missing", "No such file or directory"),
    ],
)
def test_a_file_without_authorities_is_refused(folder: Path, name: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        check_authorities(folder / name)


@pytest.mark.parametrize(
    ("certificate", "key", "said"),
    [
        ("one.crt", "two.key", "are no such pair"),
        ("text", "one.key", "are no such pair"),
        ("one.crt", "text", "are no such pair"),
        ("missing", "one.key", "missing: No such file or directory"),
        ("one.crt", "missing", "missing: No such file or directory"),
    ],
)
def test_files_that_are_no_pair_are_refused(
    folder: Path, certificate: str, key: str, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        check_pair(folder / certificate, folder / key)


def test_an_encrypted_key_is_refused_and_asks_nobody_for_its_password(folder: Path) -> None:
    secret = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"hunter2"),
    )
    (folder / "one.key").write_bytes(secret)
    with pytest.raises(ValueError, match="unencrypted private key"):
        check_pair(folder / "one.crt", folder / "one.key")
