"""The credential in a remote secret: of which kind, until when it is valid, and what Istio's reader account needs."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import yaml
from cryptography import x509

from splithorizon.kube.client import Object

_JWT_PARTS = 3
# What istiod watches in every cluster, in all versions since 1.21. More than that stands in a cluster's own role.
_WATCHED = {
    "": ("pods", "services", "nodes", "namespaces"),
    "discovery.k8s.io": ("endpointslices",),
}


@dataclass(frozen=True, order=True)
class Right:
    """One verb on one resource of an API group, in every namespace."""

    group: str
    resource: str
    verb: str

    def __str__(self) -> str:
        """As a sentence has it."""
        return f"{self.verb} {self.resource}" + (f" ({self.group})" if self.group else "")

    @property
    def attributes(self) -> dict[str, str]:
        """As an access review asks for it."""
        return {"group": self.group, "resource": self.resource, "verb": self.verb}


@dataclass(frozen=True)
class RemoteCredential:
    """One data key of a remote secret. ``ends`` is the end of its life, and None with ``ends_known`` if it has none."""

    place: str
    cluster_id: str
    kind: str
    ends: datetime | None = None
    ends_known: bool = False
    token: str = field(default="", repr=False)
    """Bearer token; empty for another kind. It must not reach a report."""


def of_secrets(secrets: Iterable[Object]) -> Iterator[RemoteCredential]:
    """The credentials of remote secrets, one for each data key that has a kubeconfig with a user."""
    for secret in secrets:
        metadata = secret["metadata"]
        for cluster_id, encoded in (secret.get("data") or {}).items():
            place = f"Secret {metadata.get('namespace', '')}/{metadata['name']}, data key {cluster_id}"
            yield _credential(place, cluster_id, _user(str(encoded)))


def end_of_token(token: str) -> tuple[datetime | None, bool]:
    """The end of a JWT's life and True, None and True for one without an end; None and False for an opaque token."""
    parts = token.split(".")
    if len(parts) != _JWT_PARTS:
        return None, False
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        expires = claims.get("exp")
        return (None if expires is None else datetime.fromtimestamp(float(expires), UTC)), True
    except (binascii.Error, ValueError, TypeError, AttributeError, OverflowError, OSError):
        return None, False


def needed() -> frozenset[Right]:
    """What istiod's account has to be allowed in a cluster that it watches."""
    return frozenset(
        Right(group, resource, verb)
        for group, resources in _WATCHED.items()
        for resource in resources
        for verb in ("list", "watch")
    )


def rights_of(role: Mapping[str, Any] | None) -> frozenset[Right]:
    """Every right that the rules of a ClusterRole give in all of a group's resources or in one of them."""
    return frozenset(
        Right(group, resource, verb)
        for rule in (role or {}).get("rules") or []
        # Rules for single objects, or for paths that are no resource, are not asked for.
        if not rule.get("resourceNames")
        for group in rule.get("apiGroups") or []
        for resource in rule.get("resources") or []
        for verb in rule.get("verbs") or []
    )


def reader_role_of(revision: str, namespace: str) -> str:
    """The name of the ClusterRole that Istio's installation gives the reader account of a revision."""
    infix = "" if revision in {"", "default"} else f"-{revision}"
    return f"istio-reader-clusterrole{infix}-{namespace}"


def _user(encoded: str) -> Mapping[str, Any]:
    with suppress(ValueError, yaml.YAMLError, KeyError, TypeError, IndexError):
        user = yaml.safe_load(base64.b64decode(encoded))["users"][0]["user"]
        return user if isinstance(user, dict) else {}
    return {}


def _credential(place: str, cluster_id: str, user: Mapping[str, Any]) -> RemoteCredential:
    if token := str(user.get("token") or ""):
        ends, known = end_of_token(token)
        return RemoteCredential(place, cluster_id, "token", ends, known, token)
    if encoded := user.get("client-certificate-data"):
        with suppress(ValueError):
            certificate = x509.load_pem_x509_certificate(base64.b64decode(encoded))
            return RemoteCredential(place, cluster_id, "client certificate", certificate.not_valid_after_utc, True)
    return RemoteCredential(place, cluster_id, "exec plug-in" if "exec" in user else "none that is known")
