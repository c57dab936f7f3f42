"""Where a port's certificates are, and finding out that they have changed."""

from dataclasses import dataclass
from pathlib import Path

from muster_runtime.filemarks import Mark, mark
from muster_runtime.pem import check_authorities, check_pair


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """Where certificate and key are.

    Args:
        authorities: of clients, which may then show certificates.
    """

    certificate: Path
    key: Path
    authorities: Path | None = None

    def marks(self) -> tuple[Mark | None, ...]:
        """What changes whenever one of them does."""
        files = (self.certificate, self.key, self.authorities)
        return tuple(mark(path) for path in files if path is not None)

    def check(self) -> None:
        """Look whether they can be used, which they can't in the middle of a rotation.

        Raises:
            ValueError: they can't; the text says what is allowed.
        """
        check_pair(self.certificate, self.key)
        if self.authorities is not None:
            check_authorities(self.authorities)
