"""The CA of each cluster: made for a run, or read from --ca-dir where that can work."""

from __future__ import annotations

import base64
import hashlib
import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PrivateFormat

from lab.ca import FILES, Trust
from splithorizon.base.errors import UsageProblem
from splithorizon.istio.certificates import fingerprint
from splithorizon.run.redaction import redact


def write(folder: Path, trust: Trust, role: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in trust.files[role].items():
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture(scope="module")
def trust() -> Trust:
    return Trust.make()


def test_both_clusters_have_one_root_and_a_ca_of_their_own(trust: Trust) -> None:
    primary, remote = (trust.files[role] for role in ("primary", "remote"))
    assert primary["root-cert.pem"] == remote["root-cert.pem"]
    assert primary["ca-cert.pem"] != remote["ca-cert.pem"]


def test_two_runs_share_nothing(trust: Trust) -> None:
    other = Trust.make()
    assert other.files["primary"]["root-cert.pem"] != trust.files["primary"]["root-cert.pem"]
    assert not set(other.secrets) & set(trust.secrets)


def test_a_root_is_trusted_beside_the_own_one(trust: Trust) -> None:
    other = Trust.make()
    both = trust.trusting_too(other)
    for name in ("primary", "remote"):
        own, added = trust.files[name], other.files[name]
        assert both.files[name] == {**own, "root-cert.pem": own["root-cert.pem"] + added["root-cert.pem"]}
    assert both.secrets == trust.secrets


def test_the_fingerprint_is_that_of_the_certificate_itself(trust: Trust) -> None:
    root = trust.files["primary"]["root-cert.pem"].decode()
    digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(root)).hexdigest().upper()
    assert fingerprint(root.encode()).replace(":", "") == digest


def leaf(trust: Trust, role: str, folder: Path) -> Path:
    """Certify a workload as that cluster's istiod would; write its key and whole chain."""
    files = trust.files[role]
    issuer = x509.load_pem_x509_certificate(files["ca-cert.pem"])
    issuer_key = serialization.load_pem_private_key(files["ca-key.pem"], password=None)
    assert isinstance(issuer_key, ec.EllipticCurvePrivateKey)
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.SubjectAlternativeName([x509.DNSName("helloworld")])
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
    made = (
        x509.CertificateBuilder(issuer.subject, x509.Name([]), key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(minutes=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(name, critical=True)
        .add_extension(authority, critical=False)
        .sign(issuer_key, hashes.SHA256())
    )
    path = folder / "leaf.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(private + made.public_bytes(Encoding.PEM) + files["cert-chain.pem"])
    return path


def handshake(certificate: Path, root: bytes) -> None:
    """Let a client that trusts ``root`` connect to a server with that certificate, over TLS."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.verify_flags |= ssl.VerifyFlags.VERIFY_X509_STRICT
    client.load_verify_locations(cadata=root.decode())
    near, far = socket.socketpair()

    def serve() -> None:
        with far, server.wrap_socket(far, server_side=True, do_handshake_on_connect=False) as peer:
            try:
                peer.do_handshake()
                peer.unwrap()
            except OSError:
                return

    thread = threading.Thread(target=serve)
    thread.start()
    near.settimeout(10)
    try:
        with near, client.wrap_socket(near, server_hostname="helloworld") as peer:
            assert peer.getpeercert()
    finally:
        thread.join(timeout=60)


@pytest.mark.parametrize(("role", "other"), [("primary", "remote"), ("remote", "primary")])
def test_who_is_certified_in_one_cluster_is_trusted_in_the_other(
    trust: Trust, role: str, other: str, tmp_path: Path
) -> None:
    handshake(leaf(trust, role, tmp_path), trust.files[other]["root-cert.pem"])


def test_who_is_certified_by_another_run_is_not_trusted(trust: Trust, tmp_path: Path) -> None:
    certificate = leaf(Trust.make(), "remote", tmp_path)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(certificate, trust.files["primary"]["root-cert.pem"])


@pytest.mark.parametrize("role", ["primary", "remote"])
def test_the_secret_holds_exactly_istios_four_files(trust: Trust, role: str) -> None:
    secret = trust.cacerts(role)
    assert secret["metadata"] == {"name": "cacerts", "namespace": "istio-system"}
    decoded = {name: base64.b64decode(value) for name, value in secret["data"].items()}
    assert decoded == trust.files[role]
    assert set(decoded) == set(FILES)


def test_no_key_shows_in_a_traceback_nor_past_the_redactor(trust: Trust) -> None:
    assert "KEY" not in repr(trust)
    shown = redact(str(trust.cacerts("primary")))
    assert trust.cacerts("primary")["data"]["ca-key.pem"] not in shown
    assert trust.cacerts("primary")["data"]["ca-cert.pem"] in shown


def test_one_folder_serves_both_clusters(trust: Trust, tmp_path: Path) -> None:
    read = Trust.read(write(tmp_path, trust, "primary"))
    assert read.files["primary"] == read.files["remote"] == trust.files["primary"]


def test_a_folder_for_each_role_is_preferred(trust: Trust, tmp_path: Path) -> None:
    for role in ("primary", "remote"):
        write(tmp_path / role, trust, role)
    assert Trust.read(tmp_path) == trust


def test_different_roots_are_refused(trust: Trust, tmp_path: Path) -> None:
    write(tmp_path / "primary", trust, "primary")
    write(tmp_path / "remote", Trust.make(), "remote")
    with pytest.raises(UsageProblem, match=r"roots differ.*Nothing was created"):
        Trust.read(tmp_path)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(trust: Trust, tmp_path: Path, name: str) -> None:
    (write(tmp_path, trust, "primary") / name).unlink()
    with pytest.raises(UsageProblem, match=f"{name}: No such file.*Nothing was created"):
        Trust.read(tmp_path)


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_something_else_is_named(trust: Trust, tmp_path: Path, name: str) -> None:
    (write(tmp_path, trust, "primary") / name).write_text("hello")
    with pytest.raises(UsageProblem, match=f"{name} is not .* in PEM") as caught:
        Trust.read(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("ca-key.pem", "ca-key.pem is not the key of ca-cert.pem"),
        ("ca-cert.pem", "ca-key.pem is not the key of ca-cert.pem"),
        ("root-cert.pem", "does not lead to root-cert.pem"),
    ],
)
def test_files_that_do_not_belong_together_are_refused(trust: Trust, tmp_path: Path, name: str, why: str) -> None:
    folder = write(tmp_path, trust, "primary")
    (folder / name).write_bytes(Trust.make().files["primary"][name])
    with pytest.raises(UsageProblem, match=why):
        Trust.read(folder)


def self_signed(folder: Path, *, authority: bool = True, days: tuple[int, int] = (-1, 1), passphrase: str = "") -> Path:
    """Write an RSA CA as people make one by hand: signed by itself, its own root and chain."""
    key, now = rsa.generate_private_key(65537, 2048), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "by hand")])
    made = (
        x509.CertificateBuilder(name, name, key.public_key())
        .serial_number(1)
        .not_valid_before(now + timedelta(days=days[0]))
        .not_valid_after(now + timedelta(days=days[1]))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase:
        encryption = serialization.BestAvailableEncryption(passphrase.encode())
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
    (folder / "ca-key.pem").write_bytes(private)
    for file in ("ca-cert.pem", "root-cert.pem", "cert-chain.pem"):
        (folder / file).write_bytes(made.public_bytes(Encoding.PEM))
    return folder


def test_a_self_signed_rsa_authority_will_do(tmp_path: Path) -> None:
    trust = Trust.read(self_signed(tmp_path))
    assert {files["root-cert.pem"] for files in trust.files.values()} == {(tmp_path / "ca-cert.pem").read_bytes()}


def test_one_that_may_not_sign_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageProblem, match="CA:TRUE"):
        Trust.read(self_signed(tmp_path, authority=False))


def test_an_encrypted_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageProblem, match=r"ca-key\.pem is not an unencrypted private key"):
        Trust.read(self_signed(tmp_path, passphrase="secret"))


@pytest.mark.parametrize("days", [(-2, -1), (1, 2)], ids=["expired", "not valid yet"])
def test_one_that_is_not_valid_now_is_refused(tmp_path: Path, days: tuple[int, int]) -> None:
    with pytest.raises(UsageProblem, match=r"CN=by hand is valid from .* to "):
        Trust.read(self_signed(tmp_path, days=days))
