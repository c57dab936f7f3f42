"""Witnesses at rest: AES-256-GCM with keys from a file (NIST SP 800-38D).

A sealed witness names its key, so that keys can be changed while old work still waits, and is bound
to its workload, so that it opens in no other row. One that is not sealed is read as it is: it was
stored before there was a key.
"""

import base64
import binascii
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

# No JSON begins like this.
_MAGIC = b"\x00MW1"
_KEY_BYTES = 32
_ID_BYTES = 8
_NONCE_BYTES = 12
_HEAD = len(_MAGIC) + _ID_BYTES + _NONCE_BYTES

ALLOWED = "a file with one key a line, each 32 random bytes in base64, the one to seal with first"


class WitnessKeysError(Exception):
    """The file with the keys can't be used; the text shows nothing of what it says."""


class Unreadable(Exception):  # noqa: N818 - named after the cause
    """A witness is sealed with a key that is not here, or was altered."""


class Witnesses:
    """Seals with the first key, opens with any; without keys it seals nothing.

    Args:
        keys: 32 bytes each.
    """

    def __init__(self, keys: Sequence[bytes] = ()) -> None:
        self._keys = {_key_id(key): AESGCM(key) for key in keys}
        self._first = next(iter(self._keys), None)

    @property
    def sealing(self) -> bool:
        """Whether what is stored from now on is sealed."""
        return self._first is not None

    def seal(self, workload_id: UUID, witness: bytes) -> bytes:
        """A witness as it is stored."""
        if self._first is None:
            return witness
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._keys[self._first].encrypt(nonce, witness, workload_id.bytes)
        return _MAGIC + self._first + nonce + sealed

    def open(self, workload_id: UUID, stored: bytes) -> bytes:
        """A witness as it was before it was stored.

        Raises:
            Unreadable: its key is not here, or it is not what was sealed.
        """
        if not stored.startswith(_MAGIC):
            return stored
        key_id = stored[len(_MAGIC) : len(_MAGIC) + _ID_BYTES]
        key = self._keys.get(key_id)
        if key is None:
            raise Unreadable(
                f"task {workload_id}: its witness is sealed with key {key_id.hex()}, which is not "
                "in database.witness_key_file"
            )
        nonce = stored[_HEAD - _NONCE_BYTES : _HEAD]
        try:
            return key.decrypt(nonce, stored[_HEAD:], workload_id.bytes)
        except InvalidTag:
            raise Unreadable(f"task {workload_id}: its witness was altered") from None


def read_witness_keys(path: Path) -> Witnesses:
    """The keys in a file.

    Raises:
        WitnessKeysError: it has none, or something else too.
    """
    try:
        lines = path.read_text(encoding="ascii").split()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no ASCII text"
        raise WitnessKeysError(f"{str(path)!r} ({reason})") from None
    keys = []
    for number, line in enumerate(lines, start=1):
        try:
            key = base64.b64decode(line, validate=True)
        except binascii.Error:
            key = b""
        if len(key) != _KEY_BYTES:
            raise WitnessKeysError(f"{str(path)!r}, line {number}")
        keys.append(key)
    if not keys:
        raise WitnessKeysError(f"{str(path)!r}, which is empty")
    return Witnesses(keys)


def _key_id(key: bytes) -> bytes:
    return hashlib.sha256(b"muster-witness-key-v1" + key).digest()[:_ID_BYTES]
