"""The secrets of a mesh that this run did not make itself, for the scan that must not find them in a report."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from pathlib import Path

import yaml

from splithorizon.kube import Kube
from splithorizon.mesh import remote_secret


def client_keys(kubeconfigs: Iterable[Path]) -> Iterator[bytes]:
    """The private key of every user in the files, decoded; a file that a stopped program left half-written has none."""
    for kubeconfig in kubeconfigs:
        try:
            users = (yaml.safe_load(kubeconfig.read_text()) or {}).get("users") or []
            yield from [base64.b64decode(user["user"]["client-key-data"]) for user in users if _has_key(user)]
        except (OSError, ValueError, AttributeError, TypeError, yaml.YAMLError):
            continue


def of_mesh(kube: Kube) -> Iterator[bytes]:
    """The key of the cluster's own CA, and the tokens by which its istiod watches others; nothing where none is.

    Raises EnvironmentBroke where the API server does not answer.
    """
    cacerts = kube.get("Secret", "cacerts", remote_secret.NAMESPACE) or {}
    if key := cacerts.get("data", {}).get("ca-key.pem"):
        yield base64.b64decode(key)
    for secret in kube.list("Secret", remote_secret.NAMESPACE, labels="istio/multiCluster=true"):
        yield remote_secret.token_of(secret)


def _has_key(user: dict[str, dict[str, str]]) -> bool:
    return bool((user.get("user") or {}).get("client-key-data"))
