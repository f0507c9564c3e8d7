"""X.509 for certificate authorities: made, compared, followed to their root."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import NameOID

Key: TypeAlias = ec.EllipticCurvePrivateKey

# A cluster that is kept must not outlive its CA.
_VALID_FOR = timedelta(days=365)
# As istiod's own.
_WORKLOAD_VALID_FOR = timedelta(days=1)
# A node whose clock lags behind this machine's must not find the root not valid yet.
_CLOCK_SKEW = timedelta(hours=1)
_USAGE = x509.KeyUsage(
    digital_signature=True, key_cert_sign=True, crl_sign=True,
    content_commitment=False, key_encipherment=False, data_encipherment=False,
    key_agreement=False, encipher_only=False, decipher_only=False,
)  # fmt: skip


def fingerprint(certificate: bytes) -> str:
    """Take the SHA-256 fingerprint of a PEM text's first certificate, as openssl prints it."""
    return x509.load_pem_x509_certificate(certificate).fingerprint(hashes.SHA256()).hex(":").upper()


def new_key() -> Key:
    """Make a P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


def pem_of(key: Key) -> bytes:
    """Write the private key itself, unencrypted, in PKCS#8."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def name(common: str, location: str = "") -> x509.Name:
    """Name a subject of Istio's; the location tells the clusters' authorities apart."""
    attributes = [(NameOID.ORGANIZATION_NAME, "Istio"), (NameOID.COMMON_NAME, common)]
    attributes += [(NameOID.LOCALITY_NAME, location)] if location else []
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in attributes])


def authority(
    subject: x509.Name,
    key: Key,
    *,
    issuer: x509.Name,
    issuer_key: Key,
    path_length: int | None = None,
) -> x509.Certificate:
    """Certify a key as an authority that may have ``path_length`` authorities below it."""
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder(subject_name=subject, issuer_name=issuer, public_key=key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + _VALID_FOR)
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(_USAGE, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
            critical=False,
        )
        .sign(issuer_key, hashes.SHA256())
    )


def workload(identity: str, key: Key, *, issuer: x509.Name, issuer_key: Key) -> x509.Certificate:
    """Certify a key as a workload's, known by a SPIFFE id."""
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder(subject_name=x509.Name([]), issuer_name=issuer, public_key=key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + _WORKLOAD_VALID_FOR)
        .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(identity)]), critical=True)
        .sign(issuer_key, hashes.SHA256())
    )


def belong_together(certificate: x509.Certificate, key: PublicKeyTypes) -> bool:
    """Whether the certificate is that key's."""
    return _public(certificate.public_key()) == _public(key)


def _public(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def is_authority(certificate: x509.Certificate) -> bool:
    """Whether the certificate allows its key to sign others."""
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def leads_to(certificate: x509.Certificate, chain: list[x509.Certificate], roots: list[x509.Certificate]) -> bool:
    """Whether issuer after issuer out of the chain ends at a root; each is tried once."""
    if any(_issued(certificate, root) for root in roots):
        return True
    issuers = [issuer for issuer in chain if issuer != certificate and _issued(certificate, issuer)]
    return any(leads_to(issuer, [other for other in chain if other != issuer], roots) for issuer in issuers)


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True
