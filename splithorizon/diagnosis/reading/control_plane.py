"""Reads what an istiod says of the mesh on its debug pages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from splithorizon.diagnosis.reading.budget import Budget
from splithorizon.diagnosis.reading.model import Istiod, Object
from splithorizon.kube.client import Kube
from splithorizon.traffic.debug_api import parse

_CONTAINER = "discovery"
_COMMAND = ("/usr/local/bin/pilot-discovery", "request", "GET")

Attempt = Callable[[str, Callable[[], Any]], Any]
"""Reads one thing by its name: the answer, or None for what could not be read, which is then noted."""


def read(kube: Kube, namespace: str, pod: str, hosts: tuple[str, ...], budget: Budget, attempt: Attempt) -> Istiod:
    """The pages of one istiod; of the endpoints that it knows only those of ``hosts``."""

    def page(path: str) -> Any:
        return attempt(
            f"{path} of istiod {pod}", lambda: asked(kube, namespace, pod, _CONTAINER, (*_COMMAND, path), budget)
        )

    found = Istiod(
        pod,
        clusters=_objects(page("/debug/clusterz")),
        networks=_objects(page("/debug/networkz")),
        proxies=_objects(page("/debug/syncz")),
        mesh=page("/debug/mesh"),
    )
    return replace(found, shards=_shards(page("/debug/endpointShardz"), hosts))


def asked(kube: Kube, namespace: str, pod: str, container: str, argv: tuple[str, ...], budget: Budget) -> Any:
    """What a program in a container prints as JSON; raises EnvironmentBroke or ValueError where it prints none."""
    stdout, stderr, status = kube.execute(pod, namespace, container, argv, within=budget.seconds, limit=budget.limit)
    budget.spend(len(stdout))
    if status:
        raise ValueError(f"exit status {status}: {(stderr or stdout).strip()[-200:]}")
    return parse(stdout)


def _objects(page: Any) -> tuple[Object, ...] | None:
    """A page that is a list of objects; Go writes an empty one as null, which is an answer too."""
    return None if page is None else tuple(one for one in page if isinstance(one, dict))


def _shards(page: Any, hosts: tuple[str, ...]) -> Object | None:
    if not isinstance(page, dict):
        return None
    found: Object = {}
    for host in hosts:
        known: Object = {}
        for per_namespace in (page.get(host) or {}).values():
            for shard, endpoints in (per_namespace.get("Shards") or {}).items():
                known.setdefault(shard.rpartition("/")[2], []).extend(map(_endpoint, endpoints or []))
        found[host] = known
    return found


def _endpoint(one: Object) -> Object:
    kept = (
        "Addresses",
        "ServicePortName",
        "Network",
        "EndpointPort",
        "LbWeight",
        "TLSMode",
        "HealthStatus",
        "WorkloadName",
    )
    return {key: one.get(key) for key in kept} | {"Labels": one.get("Labels") or {}}
