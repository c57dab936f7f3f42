"""Client certificates: which subject is which customer."""

from collections.abc import Iterable, Mapping

from cryptography import x509

from muster_coordinator.accounts.callers import Identity
from muster_coordinator.accounts.errors import Unauthenticated

SUBJECT = "a subject as in RFC 4514, such as CN=acme,O=Example"


def read_subject(text: str) -> x509.Name:
    """A subject as RFC 4514 writes it, the most particular part first.

    Raises:
        ValueError: it is none.
    """
    try:
        name = x509.Name.from_rfc4514_string(text)
    except ValueError:
        raise ValueError(SUBJECT) from None
    if not list(name):
        raise ValueError(SUBJECT)
    return name


class Subjects:
    """Knows whose certificates are whose.

    Args:
        known: subjects and whom they stand for; a subject counts as a whole.
    """

    def __init__(self, known: Iterable[tuple[x509.Name, Identity]]) -> None:
        self._known: Mapping[x509.Name, Identity] = dict(known)

    def identity(self, certificate: bytes) -> Identity:
        """Whose certificate it is, in DER; TLS has looked whether an authority signed it.

        Raises:
            Unauthenticated: nobody's.
        """
        found = x509.load_der_x509_certificate(certificate)
        known = self._known.get(found.subject)
        if known is None:
            raise Unauthenticated(
                f"no customer has the certificate of {found.subject.rfc4514_string()[:200]!r}"
            )
        return known
