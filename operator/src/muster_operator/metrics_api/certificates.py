"""An authority of our own and the server's certificate; pure but for the keys it makes."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_AUTHORITY_LIFE = timedelta(days=3650)
_SERVER_LIFE = timedelta(days=90)
_SKEW = timedelta(minutes=5)
_USED_BEFORE_RENEWAL = 2 / 3


@dataclass(frozen=True, slots=True)
class Certificates:
    """PEM texts: the authorities that are trusted, the newest first, its key, and the server's."""

    authorities: bytes
    authority_key: bytes
    server: bytes
    server_key: bytes


def first(names: Sequence[str], now: datetime) -> Certificates:
    """A new authority, and a certificate for the DNS `names`."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name("muster-metrics-ca")
    authority = (
        _builder(subject, subject, key.public_key(), now, _AUTHORITY_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = authority.public_bytes(serialization.Encoding.PEM)
    return _serving(pem, _key_text(key), names, now)


def renewed(held: Certificates, names: Sequence[str], now: datetime) -> Certificates:
    """`held` with whatever is due made anew; the same object where nothing is.

    Raises:
        ValueError: `held` can't be read.
    """
    authorities = x509.load_pem_x509_certificates(held.authorities)
    if _due(authorities[0], now):
        # The old authority stays trusted until every replica serves with the new one.
        fresh = first(names, now)
        kept = b"".join(
            each.public_bytes(serialization.Encoding.PEM)
            for each in authorities
            if each.not_valid_after_utc > now
        )
        return Certificates(
            fresh.authorities + kept, fresh.authority_key, fresh.server, fresh.server_key
        )
    server = x509.load_pem_x509_certificate(held.server)
    if _due(server, now) or set(_dns_names(server)) != set(names):
        return _serving(held.authorities, held.authority_key, names, now)
    return held


def _serving(
    authorities: bytes, authority_key: bytes, names: Sequence[str], now: datetime
) -> Certificates:
    signer = serialization.load_pem_private_key(authority_key, password=None)
    if not isinstance(signer, ec.EllipticCurvePrivateKey):
        raise ValueError("the authority's key is of another kind")  # noqa: TRY004 - of the text
    issuer = x509.load_pem_x509_certificates(authorities)[0].subject
    key = ec.generate_private_key(ec.SECP256R1())
    alternatives = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
    server = (
        _builder(_name(names[0]), issuer, key.public_key(), now, _SERVER_LIFE)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(alternatives, critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
        .sign(signer, hashes.SHA256())
    )
    pem = server.public_bytes(serialization.Encoding.PEM)
    return Certificates(authorities, authority_key, pem, _key_text(key))


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    now: datetime,
    life: timedelta,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + life)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common[:64])])


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _key_text(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _due(certificate: x509.Certificate, now: datetime) -> bool:
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return now >= begin + (end - begin) * _USED_BEFORE_RENEWAL


def _dns_names(certificate: x509.Certificate) -> list[str]:
    extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return extension.value.get_values_for_type(x509.DNSName)
