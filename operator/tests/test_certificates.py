from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store

from muster_operator.metrics_api.certificates import Certificates, first, renewed

NAMES = ("muster-metrics.muster-system.svc", "muster-metrics.muster-system")
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def verify(held: Certificates, trusted: bytes, at: datetime, name: str = NAMES[0]) -> None:
    server = x509.load_pem_x509_certificate(held.server)
    verifier = (
        PolicyBuilder()
        .store(Store(x509.load_pem_x509_certificates(trusted)))
        .time(at)
        .build_server_verifier(x509.DNSName(name))
    )
    verifier.verify(server, [])


@pytest.mark.parametrize("name", NAMES)
def test_the_server_is_trusted_by_its_names(name: str) -> None:
    held = first(NAMES, BEGIN)
    verify(held, held.authorities, BEGIN, name)


def test_nothing_is_made_anew_before_it_is_due() -> None:
    held = first(NAMES, BEGIN)
    assert renewed(held, NAMES, BEGIN + timedelta(days=59)) is held


def test_a_server_certificate_is_renewed_before_it_expires() -> None:
    held = first(NAMES, BEGIN)
    later = BEGIN + timedelta(days=61)
    fresh = renewed(held, NAMES, later)
    assert fresh.server != held.server
    assert fresh.authorities == held.authorities
    verify(fresh, held.authorities, later)


def test_a_renamed_service_gets_a_certificate_of_its_name() -> None:
    held = first(NAMES, BEGIN)
    fresh = renewed(held, ["other.muster-system.svc"], BEGIN)
    verify(fresh, held.authorities, BEGIN, "other.muster-system.svc")


def test_a_new_authority_is_trusted_beside_the_old_one() -> None:
    held = first(NAMES, BEGIN)
    later = BEGIN + timedelta(days=3650 * 0.7)
    fresh = renewed(held, NAMES, later)
    assert len(x509.load_pem_x509_certificates(fresh.authorities)) == 2
    verify(fresh, fresh.authorities, later)
    # A replica that still serves with the old pair is trusted, too.
    still = renewed(held, NAMES, BEGIN + timedelta(days=61))
    verify(still, fresh.authorities, BEGIN + timedelta(days=62))


def test_an_expired_authority_is_trusted_no_more() -> None:
    held = first(NAMES, BEGIN)
    fresh = renewed(held, NAMES, BEGIN + timedelta(days=3651))
    assert len(x509.load_pem_x509_certificates(fresh.authorities)) == 1


def test_what_is_no_certificate_is_an_error() -> None:
    broken = Certificates(b"nonsense", b"", b"", b"")
    with pytest.raises(ValueError, match=r"(?i)pem"):
        renewed(broken, NAMES, BEGIN)


@pytest.mark.parametrize("key", [b"", b"nonsense", first(NAMES, BEGIN).server_key])
@pytest.mark.parametrize("of", ["server_key", "authority_key"])
def test_a_key_that_is_damaged_or_anothers_is_an_error(of: str, key: bytes) -> None:
    broken = replace(first(NAMES, BEGIN), **{of: key})
    with pytest.raises(ValueError, match="key"):
        renewed(broken, NAMES, BEGIN)
