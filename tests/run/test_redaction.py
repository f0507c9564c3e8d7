"""Secrets never reach a report: they are removed from texts, and written files are searched for them."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from lab.ca import Trust
from splithorizon.run.redaction import REDACTED, Redactor, leaks, redact

FILES = Trust.make().files["primary"]
KEY, CERTIFICATE = FILES["ca-key.pem"].decode(), FILES["ca-cert.pem"].decode()
TOKEN = ".".join(
    base64.urlsafe_b64encode(part).decode().rstrip("=")
    for part in (b'{"alg":"RS256"}', b'{"sub":"istio-reader"}', bytes(range(64)))
)


def in_base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def rsa_key(form: PrivateFormat) -> str:
    key = rsa.generate_private_key(65537, 2048)
    return key.private_bytes(Encoding.PEM, form, NoEncryption()).decode()


@pytest.mark.parametrize(
    "secret",
    [
        KEY,
        json.dumps(KEY),
        in_base64(KEY),
        KEY[: len(KEY) // 2],
        rsa_key(PrivateFormat.TraditionalOpenSSL),
        in_base64(rsa_key(PrivateFormat.PKCS8)),
        TOKEN,
        in_base64(TOKEN),
    ],
    ids=["pem", "json", "base64", "cut off", "rsa", "rsa base64", "jwt", "jwt base64"],
)
def test_keys_and_tokens_are_blanked_wherever_they_stand(secret: str) -> None:
    text = f"before {secret.strip()} after"
    shown = redact(text)
    assert REDACTED in shown
    for start in range(0, len(secret) - 24, 8):
        part = secret[start : start + 24]
        if "PRIVATE KEY" not in part:
            assert part not in shown
    assert shown.startswith("before ")
    if len(secret) != len(KEY) // 2:
        assert shown.endswith(" after")


@pytest.mark.parametrize(
    "token",
    ["k8s-aws-v1.aHR0cHM6Ly9zdHMuZXhhbXBsZS8_QQ", "ya29.a0AfB_byC-0123456789.abc", "sha256~" + "aB3" * 14 + "x"],
    ids=["EKS", "GKE", "OpenShift"],
)
def test_a_clouds_token_is_blanked_and_searched_for_by_how_it_begins(tmp_path: Path, token: str) -> None:
    assert redact(f"refused ({token}), again") == f"refused ({REDACTED}), again"
    (tmp_path / "log").write_text(f"refused {token}")
    assert leaks(tmp_path, []) == [tmp_path / "log"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("    token: abc.def", f"    token: {REDACTED}"),
        ('{"token": "abc", "a": 1}', f'{{"token": "{REDACTED}", "a": 1}}'),
        ("client-key-data: QUJD", f"client-key-data: {REDACTED}"),
        ("Authorization: Bearer abc", f"Authorization: Bearer {REDACTED}"),
        ("password=hunter2 user=x", f"password={REDACTED} user=x"),
    ],
)
def test_what_is_named_a_secret_is_blanked(text: str, shown: str) -> None:
    assert redact(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        CERTIFICATE,
        f"certificate-authority-data: {in_base64(CERTIFICATE)}",
        "automountServiceAccountToken: true",
        "istio-reader-service-account-istio-remote-secret-token",
        "type: kubernetes.io/service-account-token",
        '"- - -" 0 - "10.89.0.3:15443" outbound_.5000_._.helloworld.sample.svc.cluster.local',
        "5d9a6f2e-41f2-9f0a-b6a1-4f3f1f2b7c11",
        "hub.example/istio/pilot@sha256:" + "0f" * 32,
    ],
)
def test_what_a_reader_needs_stays(text: str) -> None:
    assert redact(text) == text


def test_a_second_pass_changes_nothing() -> None:
    once = redact(f"token: abc\n{KEY}{TOKEN} Bearer abc {in_base64(KEY)}")
    assert redact(once) == once


def test_a_known_secret_is_blanked_in_every_form() -> None:
    secret = os.urandom(24).hex()
    redactor = Redactor([secret.encode()])
    for before in ("", "a", "ab", "abc"):
        encoded = in_base64(f"{before}{secret} and more")
        shown = redactor.redact(f"plain {secret}, in base64 {encoded}")
        assert secret not in shown
        assert shown.count(REDACTED) == 2


def test_a_secret_too_short_to_tell_is_not_taken() -> None:
    with pytest.raises(ValueError, match="too few"):
        Redactor([b"abc"])


@pytest.mark.parametrize("before", ["", "x", "xy", "xyz"])
def test_a_leak_is_found_in_every_form(tmp_path: Path, before: str) -> None:
    deep = tmp_path / "run" / "bundle"
    deep.mkdir(parents=True)
    lines = KEY.splitlines()
    forms = {
        "plain": before + KEY,
        "json": json.dumps({"log": before + KEY}),
        "one-line": before + lines[1],
        "base64": in_base64(before + KEY),
        "kubeconfig": in_base64(f"{before}client-key-data: {in_base64(KEY)}"),
    }
    for name, text in forms.items():
        (deep / name).write_text(text)
    (deep / "innocent").write_text(before + CERTIFICATE + in_base64(CERTIFICATE) + redact(KEY))
    leaking = {path.name for path in leaks(tmp_path, [KEY.encode()])}
    assert leaking == set(forms)


def test_a_report_without_secrets_has_no_leaks(tmp_path: Path) -> None:
    redactor = Redactor([KEY.encode(), TOKEN.encode()])
    text = f"{KEY} {TOKEN} {in_base64(TOKEN)} {json.dumps(KEY)}"
    (tmp_path / "report.json").write_text(redactor.redact(text))
    assert redactor.leaks(tmp_path) == []
    (tmp_path / "report.json").write_text(text)
    assert redactor.leaks(tmp_path) == [tmp_path / "report.json"]


@pytest.mark.parametrize("secret", [KEY, TOKEN, in_base64(KEY)], ids=["key", "token", "key in base64"])
def test_a_secret_that_this_run_never_learned_is_a_leak_too(tmp_path: Path, secret: str) -> None:
    (tmp_path / "junit.xml").write_text(f"token = '{secret}'")
    (tmp_path / "report.json").write_text(CERTIFICATE)
    assert leaks(tmp_path, []) == [tmp_path / "junit.xml"]


def test_links_out_of_the_folder_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text(KEY)
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "latest").symlink_to(tmp_path / "key.pem")
    assert leaks(tmp_path / "reports", [KEY.encode()]) == []
