"""Takes credentials out of what is collected: by the fields that hold them, before everything passes the redactor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MASKED = "[masked]"
# Fields of Envoy's API that hold a key, a token or a password, whatever is in them.
_SECRET_FIELDS = frozenset(
    {
        "private_key", "password", "token", "token_secret", "hmac_secret", "session_ticket_keys", "generic_secret",
        "client_secret", "jwks_inline", "private_key_provider",
    }
)  # fmt: skip


def of_envoy(value: Any) -> Any:
    """A configuration of Envoy's with the content of its secrets masked; names and certificates stay."""
    if isinstance(value, Mapping):
        return {key: MASKED if key in _SECRET_FIELDS else of_envoy(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [of_envoy(entry) for entry in value]
    return value


def of_secret(secret: Mapping[str, Any]) -> dict[str, Any]:
    """A Secret by its name, labels and type, and by the keys of its data with their lengths in base64."""
    metadata = secret.get("metadata") or {}
    kept = ("name", "namespace", "labels", "creationTimestamp", "resourceVersion")
    return {
        "kind": "Secret",
        "metadata": {name: metadata[name] for name in kept if name in metadata},
        "type": secret.get("type", ""),
        # A list: to the redactor whatever follows a key such as "password" is one.
        "data": [{"key": key, "characters": len(str(value))} for key, value in (secret.get("data") or {}).items()],
    }
