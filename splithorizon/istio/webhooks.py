"""The webhooks by which a cluster's API server has istiod inject sidecars, and where each of them leads."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator
from dataclasses import dataclass

from cryptography import x509

from splithorizon.istio import service_addresses
from splithorizon.istio.info import Address
from splithorizon.istio.names import REVISION_LABEL, revision_name
from splithorizon.kube.client import Kube, Object

_KIND = "MutatingWebhookConfiguration"
# istioctl gives this label to a selector that must match nothing, where a revision tag takes a configuration's place.
_SWITCHED_OFF = "istio.io/deactivated"
_HTTPS = 443


@dataclass(frozen=True)
class InjectionWebhook:
    """One webhook: where it is, where the API server sends pods, and what it trusts there.

    ``host`` is the name in the certificate that the API server demands, ``addresses`` are those behind its Service;
    both are empty for a webhook with a URL. ``problem`` says which Service or port is not there.
    """

    place: str
    name: str
    host: str = ""
    addresses: frozenset[Address] = frozenset()
    trusted: tuple[x509.Certificate, ...] = ()
    problem: str = ""


def of_revision(kube: Kube, revision: str) -> list[InjectionWebhook]:
    """Every injection webhook of a revision that the API server calls for some pods, with what it leads to now."""
    labels = f"app=sidecar-injector,{REVISION_LABEL}={revision_name(revision)}"
    return [
        _webhook(kube, f"{_KIND} {configuration['metadata']['name']}", webhook)
        for configuration in kube.list(_KIND, labels=labels)
        for webhook in configuration.get("webhooks") or []
        if _SWITCHED_OFF not in json.dumps(webhook.get("namespaceSelector") or {})
    ]


def _webhook(kube: Kube, configuration: str, webhook: Object) -> InjectionWebhook:
    client, name = webhook["clientConfig"], str(webhook["name"])
    place, trusted = f"{configuration}, {name}", tuple(_certificates(str(client.get("caBundle", ""))))
    if not (service := client.get("service")):
        return InjectionWebhook(place, name, trusted=trusted)
    namespace, target, port = service["namespace"], service["name"], int(service.get("port", _HTTPS))
    host = f"{target}.{namespace}.svc"
    found = kube.get("Service", target, namespace)
    if found is None:
        return InjectionWebhook(place, name, host, trusted=trusted, problem=f"no Service {namespace}/{target}")
    if port not in [int(one["port"]) for one in found["spec"].get("ports") or []]:
        problem = f"Service {namespace}/{target} has no port {port}"
        return InjectionWebhook(place, name, host, trusted=trusted, problem=problem)
    addresses = service_addresses.resolve(kube, f"{host}:{port}")
    problem = "" if addresses else f"Service {namespace}/{target} has no endpoint for port {port}"
    return InjectionWebhook(place, name, host, addresses, trusted, problem)


def _certificates(bundle: str) -> Iterator[x509.Certificate]:
    try:
        yield from x509.load_pem_x509_certificates(base64.b64decode(bundle, validate=True))
    except (binascii.Error, ValueError):
        # An empty bundle, or one that cannot be parsed: it trusts no certificate.
        return
