"""The roots that a cluster's webhooks and namespaces are given to trust."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from splithorizon.base import clock
from splithorizon.istio.names import REVISION_LABEL, ROOT_CONFIG_MAP, revision_name
from splithorizon.kube.client import Kube, Object

_ROOT_KEY = "root-cert.pem"
_VALIDATING = "ValidatingWebhookConfiguration"
_WEBHOOKS = {"MutatingWebhookConfiguration": "sidecar-injector", _VALIDATING: "istiod"}


@dataclass(frozen=True)
class Root:
    """One trusted certificate, with its fingerprint and its end."""

    fingerprint: str
    begins: datetime
    ends: datetime
    certificate: x509.Certificate | None = field(default=None, compare=False, repr=False)

    def valid(self, *, still_for: timedelta = timedelta()) -> bool:
        """Whether it is valid now, and stays so for a while."""
        now = clock.now()
        return self.begins <= now and now + still_for <= self.ends


@dataclass(frozen=True)
class CABundle:
    """All that one place trusts, by the place's name; what cannot be read is no root, and ``problem`` says so."""

    place: str
    roots: tuple[Root, ...] = ()
    problem: str = ""

    @property
    def fingerprints(self) -> frozenset[str]:
        """What it trusts, in short."""
        return frozenset(root.fingerprint for root in self.roots)

    def __str__(self) -> str:
        """As a sentence has it."""
        roots = (f"{root.fingerprint[:11]}… until {root.ends:%F}" for root in self.roots)
        return f"{self.place}: {self.problem or ', '.join(roots)}"


def of_webhooks(kube: Kube, revision: str, *, managed: bool) -> list[CABundle]:
    """The bundle of every webhook of a revision by which the cluster's API server calls istiod.

    ``managed`` is whether that istiod runs in another cluster. istiod validates in its own cluster only: the validating
    webhooks of a managed cluster stay as they were installed, without a bundle and with failurePolicy Ignore. They are
    left out.
    """
    return [
        CABundle(f"{kind} {configuration['metadata']['name']}, {webhook['name']}", *_decoded(webhook["clientConfig"]))
        for kind, app in _WEBHOOKS.items()
        for configuration in kube.list(kind, labels=f"app={app},{REVISION_LABEL}={revision_name(revision)}")
        for webhook in configuration.get("webhooks") or []
        if not (managed and kind == _VALIDATING and _idle(webhook))
    ]


def _idle(webhook: Object) -> bool:
    return webhook.get("failurePolicy") == "Ignore" and not webhook["clientConfig"].get("caBundle")


def of_namespace(kube: Kube, namespace: str) -> CABundle:
    """The bundle by which the pods of a namespace know their istiod."""
    place = f"ConfigMap {namespace}/{ROOT_CONFIG_MAP} of the {kube.cluster}"
    found = kube.get("ConfigMap", ROOT_CONFIG_MAP, namespace)
    if found is None:
        return CABundle(place, problem="not there")
    return CABundle(place, *read(found.get("data", {}).get(_ROOT_KEY, "").encode()))


def read(pem: bytes) -> tuple[tuple[Root, ...], str]:
    """The roots of a PEM text, or why it has none."""
    if not pem.strip():
        return (), "empty"
    try:
        found = x509.load_pem_x509_certificates(pem)
    except ValueError:
        return (), "no certificate in PEM"
    return tuple(
        Root(one.fingerprint(hashes.SHA256()).hex(":").upper(), one.not_valid_before_utc, one.not_valid_after_utc, one)
        for one in found
    ), ""


def _decoded(client: dict[str, str]) -> tuple[tuple[Root, ...], str]:
    try:
        return read(base64.b64decode(client.get("caBundle", ""), validate=True))
    except binascii.Error:
        return (), "no base64"
