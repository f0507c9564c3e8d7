"""Proxies of a version that their istiod does not support."""

from __future__ import annotations

from collections.abc import Iterator

from splithorizon.diagnosis import causes, state
from splithorizon.diagnosis.finding import Case, Fact, Finding, Layer, of, rule
from splithorizon.diagnosis.reading.model import Cluster, Istiod, Object, name_of, namespace_of, spec_of
from splithorizon.istio.versions import is_supported, tag_of


@rule
def proxy_versions(case: Case) -> Iterator[Finding]:
    """A gateway, or a pod of the service's namespace, is connected to an istiod that does not support its version."""
    for plane in case.reading.clusters:
        for istiod in plane.istiods:
            version = _version_of(plane, istiod)
            facts = tuple(
                Fact(
                    of(cluster, pod, "Pod"),
                    "istio_version in istiod's syncz",
                    f"{connected}; {istiod.pod} is {version}",
                )
                for cluster in case.reading.clusters
                for pod in _judged(case, cluster)
                if (connected := _connected(istiod, cluster, pod)) and is_supported(connected, by=version) is False
            )
            if facts:
                yield Finding(
                    causes.PROXY_VERSION_UNSUPPORTED,
                    Layer.GATEWAY,
                    facts,
                    "give these pods istiod's version: restart them, or upgrade what injects them or their image",
                    case.suspected(causes.PROXY_VERSION_UNSUPPORTED),
                )


def _judged(case: Case, cluster: Cluster) -> list[Object]:
    return [*state.gateway_pods(cluster), *cluster.all("Pod", case.reading.namespace)]


def _connected(istiod: Istiod, cluster: Cluster, pod: Object) -> str:
    """The version that a pod's proxy tells this istiod; empty where it is connected to none or tells none."""
    name = f"{name_of(pod)}.{namespace_of(pod)}"
    for one in istiod.proxies or ():
        if one.get("proxy") == name and one.get("cluster_id") in ("", cluster.cluster_id):
            return str(one.get("istio_version") or "")
    return ""


def _version_of(plane: Cluster, istiod: Istiod) -> str:
    """The tag of an istiod's image; empty where it has none, as by digest."""
    pod = plane.get("Pod", istiod.pod, plane.system_namespace) or {}
    for one in spec_of(pod).get("containers") or []:
        if one.get("name") == "discovery":
            return tag_of(str(one.get("image", "")))
    return ""
