"""Reads what an istiod says of the mesh on its debug pages."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from splithorizon.base.errors import EnvironmentBroke
from splithorizon.diagnosis.reading import served
from splithorizon.diagnosis.reading.budget import Budget, Spent
from splithorizon.diagnosis.reading.model import Istiod, Object
from splithorizon.istio import gateway_services
from splithorizon.kube import pod_http
from splithorizon.kube.api_resources import path_of
from splithorizon.kube.client import Kube
from splithorizon.kube.pod_status import SIDECAR
from splithorizon.traffic.debug_api import parse

_OK = 200
_CONTAINER = "discovery"
_LAST_LINES = 20
_OF_A_FAILURE = re.compile(r"\b(error|fatal|panic|failed)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Pod:
    """A program in a pod that answers HTTP on a loopback port, and the command that asks it from within."""

    namespace: str
    name: str
    container: str
    port: int
    command: tuple[str, ...]


def istiod(namespace: str, name: str) -> Pod:
    """The debug pages of an istiod."""
    return Pod(namespace, name, _CONTAINER, 15014, ("/usr/local/bin/pilot-discovery", "request", "GET"))


def envoy(namespace: str, name: str) -> Pod:
    """A proxy's administration pages."""
    return Pod(namespace, name, SIDECAR, 15000, ("pilot-agent", "request", "GET"))


def log_of(
    kube: Kube,
    namespace: str,
    pod: str,
    query: Sequence[tuple[str, str]],
    budget: Budget,
    *,
    at_most: int | None = None,
) -> str:
    """The log of a pod, by the parameters of the API; raises TooLarge where it has more bytes than it may have."""
    limit = budget.limit if at_most is None else min(at_most, budget.limit)
    text = kube.read(f"{path_of('Pod', namespace, pod)}/log", query, limit=limit, within=budget.seconds)
    budget.spend(len(text))
    return text.decode(errors="replace")


def logged_before_crash(kube: Kube, namespace: str, pod: str, budget: Budget) -> str:
    """The last line about a failure that an istiod's container before this one logged, else its last one."""
    query = [("container", _CONTAINER), ("previous", "true"), ("tailLines", str(_LAST_LINES))]
    text = log_of(kube, namespace, pod, query, budget)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return next((line for line in reversed(lines) if _OF_A_FAILURE.search(line)), lines[-1] if lines else "")


Attempt = Callable[[str, Callable[[], Any]], Any]
"""Reads one thing by its name: the answer, or None for what could not be read, which is then noted."""


def read(kube: Kube, namespace: str, pod: str, hosts: tuple[str, ...], budget: Budget, attempt: Attempt) -> Istiod:
    """The pages of one istiod; of the endpoints that it knows only those of ``hosts``."""

    def page(path: str) -> Any:
        return attempt(f"{path} of istiod {pod}", lambda: asked(kube, istiod(namespace, pod), path, budget))

    found = Istiod(
        pod,
        clusters=_objects(page("/debug/clusterz")),
        networks=_networks(page("/debug/networkz")),
        proxies=_objects(page("/debug/syncz")),
        mesh=page("/debug/mesh"),
    )
    chain = attempt(f"certificate of istiod {pod}", lambda: served.of_istiod(kube, namespace, pod, budget))
    return replace(found, shards=_shards(page("/debug/endpointShardz"), hosts), certificate=chain or "")


def asked(kube: Kube, pod: Pod, path: str, budget: Budget) -> Any:
    """What a program in a pod answers on its own loopback port, as JSON.

    By a port-forward, which starts nothing in the pod; where that is not allowed, by the program's own command. Raises
    EnvironmentBroke or ValueError where neither gives JSON.
    """
    try:
        with kube.port_forward(pod.name, pod.namespace, pod.port, within=budget.seconds) as stream:
            status, body = pod_http.get(stream, path, limit=budget.limit)
    except Spent:
        raise
    except EnvironmentBroke:
        argv = (*pod.command, path.removeprefix("/") if pod.container == SIDECAR else path)
        stdout, stderr, ended = kube.execute(
            pod.name, pod.namespace, pod.container, argv, within=budget.seconds, limit=budget.limit
        )
        budget.spend(len(stdout))
        if ended:
            raise ValueError(f"exit status {ended}: {(stderr or stdout).strip()[-200:]}") from None
        return parse(stdout)
    budget.spend(len(body))
    if status != _OK:
        raise ValueError(f"HTTP {status}: {body[:200].decode(errors='replace')}")
    return json.loads(body)


def _networks(page: Any) -> tuple[Object, ...] | None:
    gateways = _objects(page)
    return None if gateways is None else tuple(map(dict, gateway_services.for_sidecars(gateways)))


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
