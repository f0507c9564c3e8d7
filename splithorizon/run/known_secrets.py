"""Reads the secrets that this run did not create, for the redactor and the search for leaks."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator
from pathlib import Path

import yaml

from splithorizon.istio import remote_secret
from splithorizon.kube import credentials
from splithorizon.kube.client import Kube


def of_run(folder: Path) -> Iterator[bytes]:
    """Every credential in a run's kubeconfigs, and every token that credential plug-ins and workers have used since."""
    yield from of_kubeconfigs(folder.glob("*.kubeconfig"))
    yield from credentials.kept_in(folder)


def of_kubeconfigs(kubeconfigs: Iterable[Path]) -> Iterator[bytes]:
    """The keys, tokens and passwords of every user in the files. A file that cannot be parsed has none."""
    for kubeconfig in kubeconfigs:
        try:
            content = yaml.safe_load(kubeconfig.read_text())
        except (OSError, ValueError, yaml.YAMLError):
            continue
        yield from credentials.in_kubeconfig(content)


def of_mesh(kube: Kube) -> Iterator[bytes]:
    """The key of the cluster's CA, and the credentials in its remote secrets, if there are any.

    Raises EnvironmentBroke if the API server does not answer.
    """
    cacerts = kube.get("Secret", "cacerts", remote_secret.NAMESPACE) or {}
    if key := cacerts.get("data", {}).get("ca-key.pem"):
        yield base64.b64decode(key)
    yield from of_remote_secrets(kube, remote_secret.NAMESPACE)


def of_remote_secrets(kube: Kube, namespace: str) -> Iterator[bytes]:
    """The credentials in all remote secrets of a namespace, with which istiod watches other clusters.

    None where this user may not read them. Raises EnvironmentBroke if the API server does not answer.
    """
    for secret in kube.list_if_allowed("Secret", namespace, labels="istio/multiCluster=true") or []:
        for encoded in (secret.get("data") or {}).values():
            try:
                content = yaml.safe_load(base64.b64decode(encoded))
            except (binascii.Error, ValueError, yaml.YAMLError):
                # istiod cannot read it either.
                continue
            yield from credentials.in_kubeconfig(content)
