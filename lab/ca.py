"""One root for all clusters, and for each an intermediate CA below it, in Istio's ``cacerts``."""

from __future__ import annotations

import base64
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import Encoding

from splithorizon.base.errors import UsageProblem
from splithorizon.istio import certificates
from splithorizon.istio.certificates import Key, fingerprint
from splithorizon.istio.topology import PRIMARY_REMOTE
from splithorizon.kube.client import Object

# Istio's own names for them, in a folder as in the Secret.
FILES = ("ca-cert.pem", "ca-key.pem", "root-cert.pem", "cert-chain.pem")


@dataclass(frozen=True)
class Trust:
    """The four files of each cluster's CA; in memory only, the clusters get them as a Secret."""

    files: Mapping[str, Mapping[str, bytes]] = field(repr=False)

    @classmethod
    def make(cls, names: Collection[str] = PRIMARY_REMOTE.names) -> Trust:
        """Make a root and an intermediate for each cluster of one run; the root's key is forgotten at once.

        Keys are P-256: istiod signs with them as with RSA, and one costs 0.3 ms to make instead of
        the 40 ms of RSA 2048.
        """
        key = certificates.new_key()
        name = certificates.name("Root CA")
        root = certificates.authority(name, key, issuer=name, issuer_key=key)
        return cls({name: _intermediate(name, root, key) for name in names})

    @classmethod
    def read(cls, folder: Path, names: Collection[str] = PRIMARY_REMOTE.names) -> Trust:
        """Read ``--ca-dir``: the four files for all clusters, or a folder with them for each cluster.

        Raises UsageProblem where they cannot be read, do not belong together or differ in their
        root.
        """
        folders = {name: folder / name if (folder / name).is_dir() else folder for name in names}
        trust = cls({name: _read(path) for name, path in folders.items()})
        roots = {name: fingerprint(trust.files[name]["root-cert.pem"]) for name in names}
        if len(set(roots.values())) > 1:
            seen = ", ".join(f"{name} {found}" for name, found in roots.items())
            raise UsageProblem(
                f"--ca-dir {folder}: the clusters' roots differ, they could not trust each other: "
                f"{seen}. Nothing was created."
            )
        return trust

    def trusting_too(self, other: Trust) -> Trust:
        """The same CAs, whose clusters trust the other's root beside their own; their own stands first."""
        own, added = self.files, other.files
        return Trust({
            name: {**files, "root-cert.pem": files["root-cert.pem"] + added[name]["root-cert.pem"]}
            for name, files in own.items()
        })  # fmt: skip

    def cacerts(self, name: str) -> Object:
        """Make the Secret that a cluster's CA comes from; it must be there before istiod starts."""
        files = self.files[name]
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "cacerts", "namespace": "istio-system"},
            "data": {file: base64.b64encode(content).decode() for file, content in files.items()},
        }

    @property
    def secrets(self) -> list[bytes]:
        """The private keys, for the scan that must not find them in a report."""
        return [files["ca-key.pem"] for files in self.files.values()]


def _intermediate(name: str, root: x509.Certificate, root_key: Key) -> dict[str, bytes]:
    key = certificates.new_key()
    certificate = certificates.authority(
        certificates.name("Intermediate CA", name),
        key,
        issuer=root.subject,
        issuer_key=root_key,
        path_length=0,
    )
    ca, anchor = certificate.public_bytes(Encoding.PEM), root.public_bytes(Encoding.PEM)
    return {
        "ca-cert.pem": ca,
        "ca-key.pem": certificates.pem_of(key),
        "root-cert.pem": anchor,
        "cert-chain.pem": ca + anchor,
    }


def _read(folder: Path) -> dict[str, bytes]:
    try:
        files = {name: (folder / name).read_bytes() for name in FILES}
    except OSError as error:
        raise _unusable(folder, f"{error.filename}: {error.strerror}") from None
    found = {name: _parse(folder, name, content) for name, content in files.items()}
    key, roots, chain = (found[f"{name}.pem"] for name in ("ca-key", "root-cert", "cert-chain"))
    ca = found["ca-cert.pem"][0]

    if not certificates.belong_together(ca, key.public_key()):
        raise _unusable(folder, "ca-key.pem is not the key of ca-cert.pem")
    if not certificates.is_authority(ca):
        raise _unusable(folder, "ca-cert.pem may not sign certificates (no CA:TRUE)")
    if problem := certificates.trust_problem(ca, chain, roots):
        raise _unusable(folder, f"ca-cert.pem does not lead to root-cert.pem through cert-chain.pem: {problem}")
    now = datetime.now(UTC)
    for certificate in (ca, *roots):
        if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
            valid = f"{certificate.not_valid_before_utc:%F} to {certificate.not_valid_after_utc:%F}"
            raise _unusable(folder, f"{certificate.subject.rfc4514_string()} is valid from {valid}")
    return files


def _parse(folder: Path, name: str, content: bytes) -> Any:
    """Read a private key, or a list of at least one certificate."""
    try:
        if name == "ca-key.pem":
            return serialization.load_pem_private_key(content, password=None)
        return x509.load_pem_x509_certificates(content)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        kind = "an unencrypted private key" if name == "ca-key.pem" else "a certificate"
        raise _unusable(folder, f"{name} is not {kind} in PEM ({error})") from None


def _unusable(folder: Path, why: str) -> UsageProblem:
    return UsageProblem(f"--ca-dir {folder} cannot be used: {why}. Nothing was created.")
