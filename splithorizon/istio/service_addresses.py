"""The addresses to which a cluster forwards the connections to a Service, as kube-proxy reads them."""

from __future__ import annotations

import re

from splithorizon.istio.info import Address
from splithorizon.kube.client import Kube

_OF_THE_CLUSTER = re.compile(r"(?P<name>[^.:]+)\.(?P<namespace>[^.:]+)\.svc(?:\..+)?")


def resolve(kube: Kube, target: str) -> frozenset[Address]:
    """The addresses behind ``host:port``; itself, where the host is no Service of the cluster."""
    host, _, digits = target.rpartition(":")
    port = int(digits)
    found = _OF_THE_CLUSTER.fullmatch(host)
    if found is None:
        return frozenset({Address(host.strip("[]"), port)})
    name, namespace = found["name"], found["namespace"]
    service = kube.get("Service", name, namespace)
    if service is None:
        return frozenset()
    if external := service["spec"].get("externalName"):
        return frozenset({Address(external, port)})
    names = {one.get("name", "") for one in service["spec"]["ports"] if one["port"] == port}
    return frozenset(
        Address(address, one["port"])
        for endpoints in kube.list("EndpointSlice", namespace, f"kubernetes.io/service-name={name}")
        for one in endpoints.get("ports") or []
        if (one.get("name") or "") in names
        for endpoint in endpoints.get("endpoints") or []
        # Without the condition an endpoint counts as ready.
        if endpoint.get("conditions", {}).get("ready") is not False
        for address in endpoint["addresses"]
    )
