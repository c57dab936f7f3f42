"""Looking at certificates and keys before they are used, so that what is wrong is named early."""

import ssl
from pathlib import Path


def check_authorities(path: Path) -> None:
    """Look whether a file holds certificates of authorities.

    Raises:
        ValueError: it does not, or can't be read; the text says what is allowed.
    """
    allowed = "a PEM file with at least one certificate"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cafile=path)
    except ssl.SSLError:
        raise ValueError(f"{allowed}; this one has none") from None
    except OSError as error:
        raise ValueError(f"{allowed}; this one: {error.strerror}") from None


def check_pair(certificate: Path, key: Path) -> None:
    """Look whether two files hold a certificate (with its chain) and the key that belongs to it.

    Raises:
        ValueError: they do not, or can't be read; the text says what is allowed.
    """
    allowed = "PEM files with a certificate and its unencrypted private key"
    for path in (certificate, key):
        try:
            with path.open("rb"):
                pass
        except OSError as error:
            raise ValueError(f"{allowed}; {path}: {error.strerror}") from None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # Without a password the library would ask for that of an encrypted key on the terminal.
        context.load_cert_chain(certificate, key, password="")
    except (ssl.SSLError, ValueError):
        raise ValueError(f"{allowed}; {certificate} and {key} are no such pair") from None
