"""What istiod is, what it watches, and what it says of itself."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from splithorizon.conditions import behaviours
from splithorizon.conditions.condition import Condition, Effect
from splithorizon.conditions.reading import MeshConditions
from splithorizon.conditions.registry import rule
from splithorizon.diagnosis import scope
from splithorizon.diagnosis.finding import shown
from splithorizon.istio.versions import is_supported, tag_of

_OLDEST = (1, 22)
_HBONE = 15008


@rule
def version(mesh: MeshConditions) -> Iterator[Condition]:
    """Istio before 1.22 does not serve the version v1 of its APIs."""
    for plane in mesh.control_planes:
        match = re.match(r"v?(\d+)\.(\d+)", plane.version)
        if match and (int(match[1]), int(match[2])) < _OLDEST:
            yield Condition(
                "Istio is too old",
                f"istiod {plane.version} in {plane.name}",
                Effect.REFUSED,
                "its APIs are not served as v1 before Istio 1.22: upgrade, or use an older release of this suite's "
                "manifests by hand",
            )


@rule
def external(mesh: MeshConditions) -> Iterator[Condition]:
    """Istiod runs in a cluster that has no workload of the mesh: an external control plane."""
    for plane in mesh.control_planes:
        if plane.external_istiod is None:
            continue
        away = behaviours.BY_ISTIODS_ADDRESS + behaviours.DISRUPTIVE
        if plane.external_istiod.is_named:
            yield Condition(
                "the control plane is external",
                f"the istiod of {plane.name} runs in the cluster of context {plane.external_istiod.context}",
                Effect.NOT_CLAIMED,
                "istiod runs in an external cluster, where nothing is changed; how it is reached there is its owner's "
                "arrangement",
                behaviours=away,
            )
        else:
            yield Condition(
                "the control plane is external",
                f"the istiod of {plane.name} runs in a cluster that is not named",
                Effect.NOT_CLAIMED,
                "istiod runs in an external cluster that is not named: name it by --istiod-context",
                behaviours=tuple(dict.fromkeys(away + behaviours.ISTIOD_READ)),
            )


@rule
def skew(mesh: MeshConditions) -> Iterator[Condition]:
    """A gateway's proxy is of a version that its istiod does not support: newer, or older by more than one."""
    for cluster in mesh.clusters:
        versions = {name: tag_of(image) for name, image in cluster.gateway_images.items()}
        skewed = {
            name: version for name, version in versions.items() if is_supported(version, by=cluster.version) is False
        }
        if skewed:
            yield Condition(
                "gateways have a version that istiod does not support",
                f"{', '.join(f'{name} {version}' for name, version in skewed.items())} in {cluster.name}, istiod "
                f"{cluster.version}",
                Effect.CONSIDERED,
                "a proxy may be older than istiod by one minor version, and not newer: restart these gateways, or "
                "upgrade istiod. test_proxy_versions_are_supported judges what the proxies themselves say",
            )


@rule
def discovery(mesh: MeshConditions) -> Iterator[Condition]:
    """Istiod watches only some namespaces, by their labels: in others pods never get ready."""
    for plane in mesh.control_planes:
        selectors = plane.mesh.get("discoverySelectors") or []
        if not selectors:
            continue
        seen = f"discoverySelectors {shown(selectors)} of the mesh configuration in {plane.name}"
        name = "istiod watches selected namespaces"
        unwatched = {
            cluster: labels
            for cluster, labels in mesh.labels.items()
            if not any(scope.matches_labels(one, labels) for one in selectors)
        }
        if not unwatched:
            yield Condition(name, seen, Effect.CONSIDERED, "the run's namespace has the labels that they ask for")
            continue
        added = next((found for one in selectors if (found := _satisfying_all(one, unwatched)) is not None), None)
        if added is None:
            yield Condition(
                name, seen, Effect.REFUSED,
                "none of them selects a namespace with the run's labels: add what they ask for by "
                "--namespace-label KEY=VALUE",
            )  # fmt: skip
        else:
            shown_labels = ", ".join(f"{key}={value}" for key, value in added.items())
            if mesh.namespace_exists:
                where = f"namespace {mesh.namespace} in {' and '.join(unwatched)}"
                asked = f"istiod does not watch {where}: its owner has to label it {shown_labels}"
                yield Condition(name, seen, Effect.REFUSED, asked)
                continue
            consequence = f"the run's namespace gets the labels {shown_labels}"
            yield Condition(name, seen, Effect.NEUTRALISED, consequence, namespace_labels=added)


def _satisfying_all(selector: Mapping[str, Any], unwatched: Mapping[str, Mapping[str, str]]) -> dict[str, str] | None:
    """Labels by which the namespaces of several clusters are selected; None where no labels would do for all."""
    added = [_satisfying(selector, labels) for labels in unwatched.values()]
    if None in added:
        return None
    return {key: value for each in added for key, value in (each or {}).items()}


def _satisfying(selector: Mapping[str, Any], labels: Mapping[str, str]) -> dict[str, str] | None:
    """Labels that a namespace needs in addition to be selected; None where no label that it lacks would do."""
    added = dict(selector.get("matchLabels") or {})
    for expression in selector.get("matchExpressions") or []:
        if expression.get("operator") == "In" and expression.get("values"):
            added.setdefault(expression["key"], str(expression["values"][0]))
        elif expression.get("operator") == "Exists":
            added.setdefault(expression["key"], labels.get(expression["key"], "true"))
    added = {key: value for key, value in added.items() if labels.get(key) != value}
    # A label of the run's own, or of Kubernetes, is not exchanged.
    if added.keys() & labels.keys() or not scope.matches_labels(selector, {**labels, **added}):
        return None
    return added


@rule
def debugging(mesh: MeshConditions) -> Iterator[Condition]:
    """Istiod does not answer on its debug endpoints."""
    for plane in mesh.control_planes:
        if plane.environment.get("ENABLE_DEBUG_ON_HTTP", "").lower() == "false":
            yield Condition(
                "istiod's debug endpoints are off",
                f"ENABLE_DEBUG_ON_HTTP=false of istiod in {plane.name}",
                Effect.NOT_CLAIMED,
                "istiod's debug endpoints are off (ENABLE_DEBUG_ON_HTTP=false): what it watches, and whom it serves, "
                "cannot be read",
                behaviours=behaviours.ISTIOD_ASKED,
            )


@rule
def ambient(mesh: MeshConditions) -> Iterator[Condition]:
    """The network's gateways speak HBONE alone, as those of an ambient mesh do."""
    for cluster in mesh.clusters:
        tunnels = [
            one
            for one in cluster.all("Service")
            if any(port.get("port") == _HBONE for port in (one.get("spec") or {}).get("ports") or [])
        ]
        if tunnels and not cluster.has_gateway:
            metadata = tunnels[0]["metadata"]
            yield Condition(
                "the gateways are those of an ambient mesh",
                f"Service {cluster.name}/{metadata['namespace']}/{metadata['name']} has port {_HBONE} (HBONE) alone",
                Effect.REFUSED,
                "sidecars cannot use such a gateway, and ambient mode is not claimed by this suite: add an east-west "
                "gateway for sidecars, with port 15443",
            )


@rule
def domain(mesh: MeshConditions) -> Iterator[Condition]:
    """Services have another DNS domain than the default one."""
    if mesh.domain != "cluster.local":
        yield Condition(
            "the cluster domain is another", f"istiod is started with --domain {mesh.domain}", Effect.CONSIDERED,
            f"Services are looked for below {mesh.domain}",
        )  # fmt: skip


@rule
def trust_domain(mesh: MeshConditions) -> Iterator[Condition]:
    """Workloads are certified in another trust domain than the default one."""
    for plane in mesh.control_planes:
        if plane.trust_domain != "cluster.local":
            aliases: Sequence[str] = plane.mesh.get("trustDomainAliases") or []
            yield Condition(
                "the trust domain is another",
                f"trustDomain {plane.trust_domain} in {plane.name}"
                + (f", aliases {', '.join(aliases)}" if aliases else ""),
                Effect.CONSIDERED,
                "identities are expected in it",
            )


@rule
def unread(mesh: MeshConditions) -> Iterator[Condition]:
    """Something could not be read."""
    for cluster in mesh.clusters:
        for what in cluster.unread:
            yield Condition(
                "a condition is not known", f"{cluster.name}: {what}", Effect.UNKNOWN,
                "the mesh is judged as if there were nothing of the kind",
            )  # fmt: skip
