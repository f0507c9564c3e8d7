"""Collects the credentials that this run sends to API servers, so that reports can be redacted."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from splithorizon.base import private_file

# A shorter secret occurs in other text by chance, so that it cannot be redacted.
SHORTEST = 16
_FOLDER = "credentials"
_SECRET_FIELDS = ("token", "password")
_SECRET_FILES = ("tokenFile", "client-key")
_AUTH_PROVIDER_FIELDS = ("id-token", "refresh-token", "access-token", "client-secret")


def in_kubeconfig(content: object) -> Iterator[bytes]:
    """Every secret of every user in a parsed kubeconfig, also in files that it names; none in an invalid kubeconfig."""
    users = content.get("users") if isinstance(content, Mapping) else None
    for entry in users if isinstance(users, list) else ():
        user = entry.get("user") if isinstance(entry, Mapping) else None
        if isinstance(user, Mapping):
            yield from (secret for secret in _of_user(user) if len(secret) >= SHORTEST)


def keep(folder: Path, secret: bytes) -> None:
    """Write a secret to a private file in the folder of the run, which the xdist controller reads at the end.

    An exec plug-in returns a different token to every xdist worker, and no kubeconfig contains it.
    """
    if len(secret) < SHORTEST:
        return
    secrets = folder / _FOLDER
    file = secrets / hashlib.sha256(secret).hexdigest()
    # A full disk must not prevent an undo.
    with suppress(OSError):
        secrets.mkdir(mode=0o700, exist_ok=True)
        if not file.exists():
            private_file.write(file, secret.decode())


def kept_in(folder: Path) -> Iterator[bytes]:
    """Every secret that ``keep`` wrote to the folder of a run."""
    for file in sorted((folder / _FOLDER).glob("*")):
        yield from _of_file(file)


def _of_user(user: Mapping[str, Any]) -> Iterator[bytes]:
    for value in (user.get(field) for field in _SECRET_FIELDS):
        if isinstance(value, str):
            yield value.encode()
    for value in (user.get(field) for field in _SECRET_FILES):
        if isinstance(value, str):
            yield from _of_file(Path(value))
    if isinstance(key := user.get("client-key-data"), str):
        yield from _decoded(key)
    provider = user.get("auth-provider")
    settings = provider.get("config") if isinstance(provider, Mapping) else None
    if isinstance(settings, Mapping):
        yield from (str(settings[field]).encode() for field in _AUTH_PROVIDER_FIELDS if settings.get(field))


def _of_file(path: Path) -> Iterator[bytes]:
    try:
        yield path.read_bytes().strip()
    except OSError:
        # The folder of the run was removed; or a kubeconfig names a missing file, which the connection reports.
        return


def _decoded(encoded: str) -> Iterator[bytes]:
    try:
        yield base64.b64decode(encoded)
    except binascii.Error:
        return
