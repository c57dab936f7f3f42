"""Authorities of our own and the certificates that they issue; pure but for the keys it makes."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_AUTHORITY_LIFE = timedelta(days=3650)
_LIFE = timedelta(days=90)
_SKEW = timedelta(minutes=5)
_USED_BEFORE_RENEWAL = 2 / 3


@dataclass(frozen=True, slots=True)
class Authority:
    """PEM texts: the authorities that are trusted, the newest first, and its key."""

    certificates: bytes
    key: bytes


@dataclass(frozen=True, slots=True)
class Pair:
    """PEM texts: a certificate and its key."""

    certificate: bytes
    key: bytes


class Usage(Enum):
    """What a certificate is good for."""

    SERVER = ExtendedKeyUsageOID.SERVER_AUTH
    CLIENT = ExtendedKeyUsageOID.CLIENT_AUTH


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom a certificate is for: its DNS names, of which the first is its common name, too."""

    names: tuple[str, ...]
    usage: Usage


def new_authority(common: str, now: datetime) -> Authority:
    """A new authority with that common name."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name(common)
    certificate = (
        _builder(subject, subject, key.public_key(), now, _AUTHORITY_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    return Authority(_pem(certificate), _key_text(key))


def kept_authority(held: Authority, common: str, now: datetime) -> Authority:
    """`held`, or where it is due a new one that trusts the old ones, too.

    Raises:
        ValueError: `held` can't be read, or its key is not that of the newest.
    """
    authorities = x509.load_pem_x509_certificates(held.certificates)
    _require_key(authorities[0], held.key)
    if not _due(authorities[0], now):
        return held
    # The old authority stays trusted until everybody has a certificate of the new one.
    fresh = new_authority(common, now)
    kept = b"".join(_pem(each) for each in authorities if each.not_valid_after_utc > now)
    return Authority(fresh.certificates + kept, fresh.key)


def issue(authority: Authority, subject: Subject, now: datetime) -> Pair:
    """A new certificate.

    Raises:
        ValueError: the authority can't be read.
    """
    signer = serialization.load_pem_private_key(authority.key, password=None)
    if not isinstance(signer, ec.EllipticCurvePrivateKey):
        raise ValueError("the authority's key is of another kind")  # noqa: TRY004 - of the text
    issuer = x509.load_pem_x509_certificates(authority.certificates)[0].subject
    key = ec.generate_private_key(ec.SECP256R1())
    alternatives = x509.SubjectAlternativeName([x509.DNSName(name) for name in subject.names])
    certificate = (
        _builder(_name(subject.names[0]), issuer, key.public_key(), now, _LIFE)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([subject.usage.value]), critical=False)
        .add_extension(alternatives, critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
        .sign(signer, hashes.SHA256())
    )
    return Pair(_pem(certificate), _key_text(key))


def kept_pair(held: Pair, authority: Authority, subject: Subject, now: datetime) -> Pair:
    """`held`, or a new one where it is due, of another subject, or of an older authority.

    Raises:
        ValueError: `held` or the authority can't be read, or the key is not the certificate's.
    """
    certificate = x509.load_pem_x509_certificate(held.certificate)
    _require_key(certificate, held.key)
    newest = x509.load_pem_x509_certificates(authority.certificates)[0]
    if (
        _due(certificate, now)
        or set(_dns_names(certificate)) != set(subject.names)
        or _issuer_key(certificate)
        != x509.SubjectKeyIdentifier.from_public_key(newest.public_key()).digest
    ):
        return issue(authority, subject, now)
    return held


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


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_text(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _require_key(certificate: x509.Certificate, key: bytes) -> None:
    try:
        private = serialization.load_pem_private_key(key, password=None)
    except (TypeError, ValueError, UnsupportedAlgorithm) as error:
        raise ValueError("the key can't be read") from error
    if private.public_key() != certificate.public_key():
        raise ValueError("the key is of another certificate")


def _due(certificate: x509.Certificate, now: datetime) -> bool:
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return now >= begin + (end - begin) * _USED_BEFORE_RENEWAL


def _dns_names(certificate: x509.Certificate) -> list[str]:
    extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return extension.value.get_values_for_type(x509.DNSName)


def _issuer_key(certificate: x509.Certificate) -> bytes | None:
    extension = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
    return extension.value.key_identifier
