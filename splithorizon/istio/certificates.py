"""X.509 for certificate authorities: made, compared, followed to their root."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime, timedelta
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

from splithorizon.base import clock

Key: TypeAlias = ec.EllipticCurvePrivateKey

LIFE_LEFT = 0.2
"""The share of its life that a certificate in use has left: Istio renews one when half of its life is over."""

NO_ROOT = "no chain of issuers leads to a trusted root"

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
    """Name a subject of Istio's; the location is different for each cluster's CA."""
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
    life: tuple[datetime, datetime] | None = None,
) -> x509.Certificate:
    """Certify a key as an authority that may have ``path_length`` authorities below it, for a year by default."""
    now = clock.now()
    begins, ends = life or (now - _CLOCK_SKEW, now + _VALID_FOR)
    return (
        x509.CertificateBuilder(subject_name=subject, issuer_name=issuer, public_key=key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
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
    now = clock.now()
    return (
        x509.CertificateBuilder(subject_name=x509.Name([]), issuer_name=issuer, public_key=key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + _WORKLOAD_VALID_FOR)
        .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(identity)]), critical=True)
        .sign(issuer_key, hashes.SHA256())
    )


def server(
    hosts: Sequence[str], key: Key, *, issuer: x509.Name, issuer_key: Key, life: tuple[datetime, datetime]
) -> x509.Certificate:
    """Certify a key as a server's, known by host names."""
    begins, ends = life
    return (
        x509.CertificateBuilder(subject_name=x509.Name([]), issuer_name=issuer, public_key=key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts]), critical=True)
        .sign(issuer_key, hashes.SHA256())
    )


def belong_together(certificate: x509.Certificate, key: PublicKeyTypes) -> bool:
    """Whether the certificate is that key's."""
    return _public(certificate.public_key()) == _public(key)


def _public(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def identities(certificate: x509.Certificate) -> tuple[str, ...]:
    """The URIs that a workload's certificate is for: spiffe://<trust domain>/ns/<namespace>/sa/<account>."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return tuple(names.get_values_for_type(x509.UniformResourceIdentifier))


def is_authority(certificate: x509.Certificate) -> bool:
    """Whether the certificate allows its key to sign others."""
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def is_valid_now(certificate: x509.Certificate) -> bool:
    """Whether the present moment is within its life."""
    return certificate.not_valid_before_utc <= clock.now() <= certificate.not_valid_after_utc


def life(certificate: x509.Certificate) -> str:
    """The first and the last minute of its life, in UTC: ``2026-11-01T00:00Z to 2026-11-02T00:00Z``."""
    return f"{certificate.not_valid_before_utc:%FT%RZ} to {certificate.not_valid_after_utc:%FT%RZ}"


def is_root(certificate: x509.Certificate) -> bool:
    """Whether it is an authority that names itself as its issuer."""
    return certificate.issuer == certificate.subject and is_authority(certificate)


def life_left(certificate: x509.Certificate) -> float:
    """The share of its life that is left; negative for an expired certificate, over 1 before its life begins."""
    whole = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    return (certificate.not_valid_after_utc - clock.now()) / whole if whole else -1.0


def is_for_host(certificate: x509.Certificate, host: str) -> bool:
    """Whether a host name is one of the certificate's, a wildcard for the first label included."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False
    known = names.get_values_for_type(x509.DNSName)
    return host in known or f"*.{host.partition('.')[2]}" in known


def server_problem(chain: Sequence[x509.Certificate], host: str, roots: Collection[x509.Certificate]) -> str:
    """Say why a client that trusts ``roots`` refuses the chain of a server; empty where it does not.

    The chain begins with the server's own certificate; ``host`` is the name by which the client asks.
    """
    if not chain:
        return "no certificate"
    leaf, *issuers = chain
    if not is_valid_now(leaf):
        return f"valid from {life(leaf)}"
    if not is_for_host(leaf, host):
        return f"not a certificate of {host}"
    return trust_problem(leaf, issuers, roots)


def trust_problem(
    certificate: x509.Certificate, chain: Collection[x509.Certificate], roots: Collection[x509.Certificate]
) -> str:
    """Say why no valid path leads from a certificate over ``chain`` to a root; empty where one does.

    The certificate itself is not judged. Every issuer above it, the root too, must be valid now, must be allowed to
    sign certificates, and must not have more authorities below it than it allows.
    """
    if certificate in roots:
        return ""
    problems = [_problem_of(path, roots) for path in _paths(certificate, chain, roots)]
    return "" if "" in problems else next(iter(problems), NO_ROOT)


def _paths(
    certificate: x509.Certificate, chain: Collection[x509.Certificate], roots: Collection[x509.Certificate]
) -> Iterator[tuple[x509.Certificate, ...]]:
    """Every path from issuer to issuer that ends at a root; no certificate of the chain is twice in one."""
    yield from ((certificate, root) for root in roots if _issued(certificate, root))
    for issuer in chain:
        if issuer != certificate and _issued(certificate, issuer):
            rest = [other for other in chain if other not in (certificate, issuer)]
            yield from ((certificate, *path) for path in _paths(issuer, rest, roots))


def _problem_of(path: Sequence[x509.Certificate], roots: Collection[x509.Certificate]) -> str:
    now = clock.now()
    for above, issuer in enumerate(path[1:], start=1):
        named = f"the {'root' if issuer in roots else 'intermediate'} {issuer.subject.rfc4514_string()}"
        if now > issuer.not_valid_after_utc:
            return f"{named} expired at {issuer.not_valid_after_utc:%FT%RZ}"
        if now < issuer.not_valid_before_utc:
            return f"{named} is not valid before {issuer.not_valid_before_utc:%FT%RZ}"
        # A root of X.509 version 1 has no extension that could say so.
        if not may_sign(issuer) and not (issuer in roots and issuer.version is x509.Version.v1):
            return f"{named} may not sign certificates: it is no CA"
        # Those that sign themselves do not count (RFC 5280, 4.2.1.9).
        below = sum(is_authority(one) and one.issuer != one.subject for one in path[:above])
        if (allowed := _path_length(issuer)) is not None and below > allowed:
            return f"{named} allows {allowed} CAs below it, and has {below}"
    return ""


def may_sign(certificate: x509.Certificate) -> bool:
    """Whether the certificate is an authority's, and its key usage, where it names one, includes other certificates."""
    try:
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return is_authority(certificate)
    return is_authority(certificate) and usage.key_cert_sign


def _path_length(certificate: x509.Certificate) -> int | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length
    except x509.ExtensionNotFound:
        return None


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True
