"""Keeps private keys and tokens out of what a run writes, and looks for them afterwards."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable
from pathlib import Path

from splithorizon.kube.credentials import SHORTEST

REDACTED = "[redacted]"

# Of a key's lines, only whole ones.
_SHORTEST_LINE = 40

# A log may be cut off in the middle of a key: then all that looks like more of it goes.
_PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----"
    r"(?:.*?-----END [A-Z0-9 ]*PRIVATE KEY-----|[\sA-Za-z0-9+/=\\]*)",
    re.DOTALL,
)
_JWT = re.compile(r"eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*")
# Tokens of EKS, Google Cloud and OpenShift: opaque, but each begins alike.
_OPAQUE = re.compile(r"\bk8s-aws-v1\.[\w-]{16,}={0,2}|\bya29\.[\w.-]{16,}|\bsha256~[\w-]{40,}")
# How any PEM text, and any JWT, begins in base64.
_ENCODED = re.compile(r"(?:LS0tLS1CRUdJTi|ZXlK)[A-Za-z0-9+/]{24,}={0,2}")
_NAMED = re.compile(
    r"""(?P<name>(?<![\w-])(?:token|(?:id|refresh)-token|client-key-data|password)"""
    r"""["']?[ \t]*[:=][ \t]*["']?|\b[Bb]earer[ ])[^\s"',}]+"""
)


def redact(text: str) -> str:
    """Blank private keys and tokens, also in the base64 of Secrets; certificates stay."""
    return _NAMED.sub(lambda found: found["name"] + REDACTED, _without_keys_and_tokens(text))


def leaks(folder: Path, secrets: Iterable[bytes]) -> list[Path]:
    """List the files below ``folder`` that hold a secret: as it is, a line of it, or in base64; or any key or token."""
    forms = {form for secret in secrets for form in _forms(secret)}
    files = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return sorted(path for path in files if _holds(path.read_bytes(), forms))


class Redactor:
    """Knows the secrets that this run made or was given, and blanks them besides all that looks like one."""

    def __init__(self, secrets: Iterable[bytes] = ()) -> None:
        """Begin with the secrets known so far."""
        self._secrets: set[bytes] = set()
        for secret in secrets:
            self.add(secret)

    def add(self, secret: bytes) -> None:
        """Learn a secret; raises ValueError for one so short that it may stand in any text."""
        if len(secret) < SHORTEST:
            raise ValueError(f"{len(secret)} bytes are too few to be told from other text")
        self._secrets.add(secret)

    def redact(self, text: str) -> str:
        """Blank every secret in ``text``."""
        text = redact(text)
        for form in (form.decode() for secret in self._secrets for form in _forms(secret)):
            text = text.replace(form, REDACTED)
        return text

    def leaks(self, folder: Path) -> list[Path]:
        """List the files below ``folder`` that hold a secret of this run."""
        return leaks(folder, self._secrets)


def _without_keys_and_tokens(text: str) -> str:
    """Blank what is a secret by its form alone, whatever stands before it."""
    text = _PRIVATE_KEY.sub(REDACTED, text)
    text = _JWT.sub(REDACTED, text)
    text = _OPAQUE.sub(REDACTED, text)
    return _ENCODED.sub(lambda found: REDACTED if _is_secret(found[0]) else found[0], text)


def _is_secret(encoded: str) -> bool:
    """Whether base64 hides a private key or a token; that of a certificate begins alike."""
    whole = encoded.rstrip("=")
    try:
        decoded = base64.b64decode(whole[: len(whole) // 4 * 4])
    except binascii.Error:
        return False
    return b"PRIVATE KEY-----" in decoded or bool(_JWT.match(decoded.decode(errors="replace")))


def _holds(content: bytes, forms: Iterable[bytes]) -> bool:
    if any(form in content for form in forms):
        return True
    # A user's own kubeconfig and remote secret hold some that this run never learned.
    text = content.decode(errors="replace")
    return _without_keys_and_tokens(text) != text


def _forms(secret: bytes) -> set[bytes]:
    """All ways in which a secret may stand in a text.

    Whole, by the line, in base64 as in a Secret, in base64 twice as in a Secret's kubeconfig.
    """
    lines = {line for line in secret.splitlines() if len(line) >= _SHORTEST_LINE}
    body = {line for line in lines if not line.startswith(b"-----")}
    once = _in_base64(secret.strip())
    twice = [form for inner in once for form in _in_base64(inner)]
    return {secret.strip(), *body, *once, *twice}


def _in_base64(secret: bytes) -> list[bytes]:
    """Encode the secret as it comes out within any other text, as far as it alone decides that.

    Three bytes become four characters, so there are three ways to begin; a character that a
    neighbour's byte has a part in is left out, at either end.
    """
    forms = []
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + secret)
        shared_end = 4 if (before + len(secret)) % 3 else 0
        forms.append(encoded[4 if before else 0 : len(encoded) - shared_end])
    return forms
