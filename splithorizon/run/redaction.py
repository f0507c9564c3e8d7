"""Removes private keys and tokens from what a run writes, and searches written files for them."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable
from pathlib import Path

from splithorizon.kube.credentials import SHORTEST

REDACTED = "[redacted]"

# The last line of a key is too short to identify it.
_SHORTEST_LINE = 40

# A log may be truncated within a key. Then everything that looks like more of the key is removed.
_PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----"
    r"(?:.*?-----END [A-Z0-9 ]*PRIVATE KEY-----|[\sA-Za-z0-9+/=\\]*)",
    re.DOTALL,
)
_JWT = re.compile(r"eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*")
# Tokens of EKS, Google Cloud and OpenShift are opaque, but each kind has a fixed prefix.
_OPAQUE = re.compile(r"\bk8s-aws-v1\.[\w-]{16,}={0,2}|\bya29\.[\w.-]{16,}|\bsha256~[\w-]{40,}")
# The beginning of any PEM text, and of any JWT, in base64.
_ENCODED = re.compile(r"(?:LS0tLS1CRUdJTi|ZXlK)[A-Za-z0-9+/]{24,}={0,2}")
_NAMED = re.compile(
    r"""(?P<name>(?<![\w-])(?:token|(?:id|refresh)-token|client-key-data|password)"""
    r"""["']?[ \t]*[:=][ \t]*["']?|\b[Bb]earer[ ])[^\s"',}]+"""
)


def redact(text: str) -> str:
    """Replace private keys and tokens by a placeholder, also in base64 as in Secrets. Certificates stay."""
    return _NAMED.sub(lambda match: match["name"] + REDACTED, _without_keys_and_tokens(text))


def leaks(folder: Path, secrets: Iterable[bytes]) -> list[Path]:
    """List the files in ``folder`` that contain a secret, a line of it or its base64, or any private key or token."""
    forms = {form for secret in secrets for form in _forms(secret)}
    files = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return sorted(path for path in files if _contains_secret(path.read_bytes(), forms))


class Redactor:
    """Removes the known secrets of a run, and everything that looks like a secret."""

    def __init__(self, secrets: Iterable[bytes] = ()) -> None:
        """Start with the secrets that are known so far."""
        self._secrets: set[bytes] = set()
        for secret in secrets:
            self.add(secret)

    def add(self, secret: bytes) -> None:
        """Add a secret. Raises ValueError for one that is so short that it may occur in any text."""
        if len(secret) < SHORTEST:
            raise ValueError(f"{len(secret)} bytes are too few to distinguish a secret from other text")
        self._secrets.add(secret)

    def redact(self, text: str) -> str:
        """Replace every secret in ``text`` by a placeholder."""
        text = redact(text)
        for form in (form.decode() for secret in self._secrets for form in _forms(secret)):
            text = text.replace(form, REDACTED)
        return text

    def leaks(self, folder: Path) -> list[Path]:
        """List the files in ``folder`` that contain a secret of this run."""
        return leaks(folder, self._secrets)


def _without_keys_and_tokens(text: str) -> str:
    """Replace what is recognised as a secret by its form alone, whatever precedes it."""
    text = _PRIVATE_KEY.sub(REDACTED, text)
    text = _JWT.sub(REDACTED, text)
    text = _OPAQUE.sub(REDACTED, text)
    return _ENCODED.sub(lambda match: REDACTED if _is_secret(match[0]) else match[0], text)


def _is_secret(encoded: str) -> bool:
    """Whether base64 encodes a private key or a token. The base64 of a certificate begins with the same characters."""
    whole = encoded.rstrip("=")
    try:
        decoded = base64.b64decode(whole[: len(whole) // 4 * 4])
    except binascii.Error:
        return False
    return b"PRIVATE KEY-----" in decoded or bool(_JWT.match(decoded.decode(errors="replace")))


def _contains_secret(content: bytes, forms: Iterable[bytes]) -> bool:
    if any(form in content for form in forms):
        return True
    # A user's kubeconfig and remote secret may contain secrets that this run does not know.
    text = content.decode(errors="replace")
    return _without_keys_and_tokens(text) != text


def _forms(secret: bytes) -> set[bytes]:
    """All forms in which a text may contain a secret.

    These are the whole secret, each line, base64 as in a Secret, and base64 twice as in a kubeconfig within a Secret.
    """
    lines = {line for line in secret.splitlines() if len(line) >= _SHORTEST_LINE}
    body = {line for line in lines if not line.startswith(b"-----")}
    once = _in_base64(secret.strip())
    twice = [form for inner in once for form in _in_base64(inner)]
    return {secret.strip(), *body, *once, *twice}


def _in_base64(secret: bytes) -> list[bytes]:
    """The characters of the secret in the base64 of any text that contains it.

    Three bytes become four characters, so there are three possible alignments. Characters that also depend on a byte
    before or after the secret are omitted.
    """
    forms = []
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + secret)
        shared_end = 4 if (before + len(secret)) % 3 else 0
        forms.append(encoded[4 if before else 0 : len(encoded) - shared_end])
    return forms
