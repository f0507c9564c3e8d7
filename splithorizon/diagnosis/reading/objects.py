"""Reads the objects of one cluster, page by page."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any

import yaml

from splithorizon.diagnosis.access import ClusterAccess, Target
from splithorizon.diagnosis.reading.budget import Budget, Spent
from splithorizon.diagnosis.reading.model import OTHER_AUTHORITY, Object, RemoteSecret
from splithorizon.istio import remote_credential
from splithorizon.istio.names import INJECTOR_VALUES, ROOT_CONFIG_MAP, config_map_of, injector_config_map_of
from splithorizon.kube.api_resources import path_of
from splithorizon.kube.api_server import Refused
from splithorizon.kube.client import Kube

_PAGE = "250"
# Of one kind; what lies behind it is reported as unread.
_PAGES = 8
_NOT_SERVED = 404
_OK = 200
_REFUSED = (401, 403)
# What istiod lists and watches of every cluster before it counts as synced.
_WATCHED = ("Pod", "Service", "EndpointSlice", "Namespace", "Node")

ISTIO_KINDS = (
    "DestinationRule", "VirtualService", "Sidecar", "EnvoyFilter", "Gateway", "ServiceEntry", "WorkloadEntry",
    "ProxyConfig", "AuthorizationPolicy", "PeerAuthentication", "RequestAuthentication", "Telemetry",
)  # fmt: skip
_OF_NAMESPACES = ("Pod", "Service", "EndpointSlice", "Deployment")
# Of a kubeconfig's user, what istiod does not take from a Secret.
_NOT_FROM_A_SECRET = ("client-key", "client-certificate", "tokenFile", "exec")
_OF_CLUSTER = ("Namespace", "Node", "MutatingWebhookConfiguration", "NetworkPolicy", "ClusterRoleBinding")
# Containers' environment and probes matter; what a kubelet adds for everyone does not.
_USELESS = ("managedFields", "ownerReferences", "generateName", "selfLink")
_USELESS_ANNOTATIONS = ("kubectl.kubernetes.io/last-applied-configuration", "sidecar.istio.io/status")


def kinds(access: ClusterAccess, target: Target) -> Iterator[tuple[str, str | None, str]]:
    """What is listed of a cluster: kind, namespace, label selector. Some kinds come more than once."""
    for kind in _OF_NAMESPACES:
        for namespace in dict.fromkeys((target.namespace, target.senders_in, access.system_namespace)):
            yield kind, namespace, ""
    # Gateways may be in a separate namespace; these Services are few.
    yield "Service", None, "topology.istio.io/network"
    for kind in _OF_CLUSTER:
        yield kind, None, ""
    yield "ClusterRole", None, "app=istio-reader"
    if access.control_plane == access.name:
        for kind in ISTIO_KINDS:
            yield kind, None, ""


def listed(kube: Kube, kind: str, namespace: str | None, labels: str, budget: Budget) -> list[Object]:
    """Every object of a kind, in pages; none where the API server does not serve the kind."""
    found: list[Object] = []
    token = ""
    for _ in range(_PAGES):
        query = [("limit", _PAGE), *([("labelSelector", labels)] if labels else [])]
        query += [("continue", token)] if token else []
        try:
            answer = kube.read(path_of(kind, namespace), query, limit=budget.limit, within=budget.seconds)
        except Refused as refused:
            if refused.status == _NOT_SERVED:
                return found
            raise
        budget.spend(len(answer))
        page = json.loads(answer)
        found += (trimmed(one, kind) for one in page.get("items") or [])
        if not (token := str((page.get("metadata") or {}).get("continue", ""))):
            return found
    raise Spent(f"more than {len(found)} of them: the rest is not read")


def config_maps(access: ClusterAccess, target: Target, revision: str, budget: Budget) -> list[Object]:
    """The mesh configuration, and the root that the pods of the Service trust; without what does not exist.

    An external istiod has its configuration from where it runs, or else where it reads its rules.
    """
    name = config_map_of(revision)
    own = config_map(access.running_istiod, access.system_namespace, name, budget)
    if not own and access.running_istiod is not access.kube:
        own = config_map(access.kube, access.system_namespace, name, budget)
    return [one for one in (own, config_map(access.kube, target.namespace, ROOT_CONFIG_MAP, budget)) if one]


def injector_values(access: ClusterAccess, revision: str, budget: Budget) -> list[Object]:
    """The ConfigMap of an istiod's injector with its values alone; none where the cluster has none."""
    found = config_map(access.running_istiod, access.system_namespace, injector_config_map_of(revision), budget)
    data = {key: value for key, value in (found.get("data") or {}).items() if key == INJECTOR_VALUES}
    return [{**found, "data": data}] if found else []


def config_map(kube: Kube, namespace: str, name: str, budget: Budget) -> Object:
    """One ConfigMap; empty where it does not exist."""
    try:
        answer = kube.read(path_of("ConfigMap", namespace, name), limit=budget.limit, within=budget.seconds)
    except Refused as refused:
        if refused.status == _NOT_SERVED:
            return {}
        raise
    budget.spend(len(answer))
    return trimmed(json.loads(answer), "ConfigMap")


def trimmed(one: Object, kind: str) -> Object:
    """An object without what no rule looks at, and with the kind that a list leaves out."""
    metadata = {key: value for key, value in one.get("metadata", {}).items() if key not in _USELESS}
    if annotations := metadata.get("annotations"):
        kept = {key: value for key, value in annotations.items() if key not in _USELESS_ANNOTATIONS}
        metadata["annotations"] = kept
    trimmed_one = {**one, "kind": kind, "metadata": metadata}
    if kind == "Node":
        trimmed_one = {"kind": kind, "metadata": metadata}
    if kind == "MutatingWebhookConfiguration":
        trimmed_one["webhooks"] = [_without_bundle(webhook) for webhook in one.get("webhooks") or []]
    return trimmed_one


def _without_bundle(webhook: Mapping[str, Any]) -> Object:
    """The webhook with its CA bundle as length and hash, which is all that a rule compares."""
    client = dict(webhook.get("clientConfig") or {})
    if bundle := str(client.pop("caBundle", "")):
        client["caBundle"] = f"{len(bundle)} characters, SHA-256 {hashlib.sha256(bundle.encode()).hexdigest()[:16]}"
    return {**webhook, "clientConfig": client}


def remote_secrets(access: ClusterAccess, others: tuple[ClusterAccess, ...], budget: Budget) -> list[RemoteSecret]:
    """The data keys of the remote secrets of one control plane, and how each cluster answers its token."""
    found = listed_secrets(access.holding_secrets, access.system_namespace, budget)
    authorities = {one.name: _authority(one, budget) for one in others}
    secrets = []
    for secret in found:
        for cluster_id, encoded in (secret.get("data") or {}).items():
            metadata = secret["metadata"]
            server, certificate, user = _kubeconfig(str(encoded))
            token = str(user.get("token", ""))
            authority = _owner(certificate, authorities)
            by_key = next((one for one in others if one.cluster_id == cluster_id), None)
            by_authority = next((one for one in others if one.name == authority), None)
            reached, answer, refused = _reached([by_authority, by_key], token, budget)
            leads_to = reached.name if reached else ""
            ends, _ = remote_credential.end_of_token(token)
            secrets.append(
                RemoteSecret(
                    metadata.get("namespace", ""), metadata["name"], cluster_id, server, leads_to, authority, answer,
                    refused, _not_allowed(user), ends.isoformat() if ends else "",
                )
            )  # fmt: skip
    return secrets


def _owner(certificate: str, authorities: Mapping[str, str]) -> str:
    """The cluster whose CA it is; empty where there is none, where several have it, or where not all are known."""
    owners = [name for name, own in authorities.items() if own and own == certificate]
    if len(owners) == 1:
        return owners[0]
    return OTHER_AUTHORITY if certificate and not owners and all(authorities.values()) else ""


def _reached(
    candidates: Iterable[ClusterAccess | None], token: str, budget: Budget
) -> tuple[ClusterAccess | None, int, str]:
    """The first candidate whose API server knows the token, else the first of all; and how it answers the token."""
    found: tuple[ClusterAccess | None, int, str] = (None, 0, "")
    for one in candidates:
        if one is None or found[0] is one:
            continue
        answer, refused = _answered(one, token, budget) if token else (0, "")
        if found[0] is None or answer not in (0, HTTPStatus.UNAUTHORIZED):
            found = (one, answer, refused)
        if answer != HTTPStatus.UNAUTHORIZED:
            break
    return found


def _answered(access: ClusterAccess, token: str, budget: Budget) -> tuple[int, str]:
    """How a token is answered that lists what istiod watches of a cluster; and the one resource that is refused."""
    first = access.kube.status_for(token, path_of(_WATCHED[0], None), within=budget.seconds)
    if first != _OK:
        return first, ""
    for kind in _WATCHED[1:]:
        path = path_of(kind, None)
        status = access.kube.status_for(token, path, within=budget.seconds)
        if status in _REFUSED:
            return status, path.rpartition("/")[2]
    return first, ""


def listed_secrets(kube: Kube, namespace: str, budget: Budget) -> list[Object]:
    """The remote secrets as they are; they hold credentials, so nothing of them is kept."""
    query = [("limit", _PAGE), ("labelSelector", "istio/multiCluster=true")]
    answer = kube.read(path_of("Secret", namespace), query, limit=budget.limit, within=budget.seconds)
    budget.spend(len(answer))
    items: list[Object] = json.loads(answer).get("items") or []
    return items


def _authority(access: ClusterAccess, budget: Budget) -> str:
    with suppress(Exception):
        found = config_map(access.kube, "kube-system", "kube-root-ca.crt", budget)
        return str(found["data"]["ca.crt"]).strip()
    return ""


def _not_allowed(user: Object) -> str:
    """What istiod refuses by itself (``sanitizeKubeConfig``): what would have it read files or run commands."""
    provider = (user.get("auth-provider") or {}).get("name", "oidc")
    return next(
        (name for name in _NOT_FROM_A_SECRET if user.get(name)),
        "" if provider == "oidc" else f"auth-provider {provider}",
    )


def _kubeconfig(encoded: str) -> tuple[str, str, Object]:
    """Server, CA and user; what cannot be read is empty."""
    with suppress(ValueError, yaml.YAMLError, KeyError, TypeError, IndexError):
        content = yaml.safe_load(base64.b64decode(encoded))
        cluster = content["clusters"][0]["cluster"]
        user = content["users"][0]["user"]
        authority = base64.b64decode(cluster.get("certificate-authority-data", "")).decode().strip()
        return str(cluster.get("server", "")), authority, dict(user)
    return "", "", {}
