"""Settings of the mesh configuration that hide a service, and one that istiod cannot read."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from splithorizon.diagnosis import causes, root_causes, scope, state
from splithorizon.diagnosis.finding import Case, Fact, Finding, Layer, of, rule, shown
from splithorizon.diagnosis.reading.model import Cluster, Object, Reading, labels_of, spec_of
from splithorizon.diagnosis.rules.client_rules import MADE_AT_ONCE, failing, of_clients, rules_for
from splithorizon.diagnosis.rules.follows import REFUSED, UNREACHED

_PLACE = ("topology.kubernetes.io/region", "topology.kubernetes.io/zone", "topology.istio.io/subzone")


@rule
def discovery_selectors(case: Case) -> Iterator[Finding]:
    """DiscoverySelectors leave out the namespace of the service in a cluster, of all that an istiod watches."""
    reading = case.reading
    for plane, cluster in itertools.product(reading.config_clusters, reading.clusters):
        selectors = state.mesh_config(reading, plane).get("discoverySelectors") or []
        namespace = cluster.get("Namespace", reading.namespace)
        if not selectors or namespace is None:
            continue
        if any(scope.matches_labels(one, labels_of(namespace)) for one in selectors):
            continue
        yield Finding(
            root_causes.NAMESPACE_NOT_DISCOVERED,
            Layer.MESH_CONFIG,
            (
                _config(reading, plane, "discoverySelectors", selectors),
                Fact(of(cluster, namespace), "metadata.labels", shown(dict(labels_of(namespace)))),
            ),
            f"label the namespace {reading.namespace} of {cluster.name} as the selectors demand",
            state.lacking(state.seen_by_clients_of(reading, plane), cluster),
            UNREACHED,
        )


@rule
def cluster_local(case: Case) -> Iterator[Finding]:
    """ServiceSettings make the service cluster-local."""
    reading = case.reading
    for plane in reading.config_clusters:
        settings = state.mesh_config(reading, plane).get("serviceSettings") or []
        best: tuple[int, bool, int, str] = (-1, False, 0, "")
        for number, one in enumerate(settings):
            for host in one.get("hosts") or []:
                # The most specific host decides, as in Istio.
                if scope.host_matches(host, reading.host) and len(host.lstrip("*")) >= best[0]:
                    best = (len(host.lstrip("*")), bool((one.get("settings") or {}).get("clusterLocal")), number, host)
        if not best[1]:
            continue
        seen = state.seen_by_clients_of(reading, plane)
        lacking = [said for cluster in seen.clusters if (said := state.lacking(seen, cluster, others_only=True))]
        value = f"clusterLocal=true for hosts {best[3]}"
        yield Finding(
            root_causes.SERVICE_CLUSTER_LOCAL,
            Layer.MESH_CONFIG,
            (_config(reading, plane, f"serviceSettings[{best[2]}]", value),),
            f"take {reading.host} out of serviceSettings",
            lacking[0] if lacking else "",
            UNREACHED,
        )


@rule
def locality_distributed(case: Case) -> Iterator[Finding]:
    """The mesh configuration sends what comes from a client's locality to others, and leaves out all of a cluster."""
    reading = case.reading
    for plane in reading.config_clusters:
        setting = state.mesh_config(reading, plane).get("localityLbSetting") or {}
        for number, one, cluster, senders in left_out(reading, plane, setting):
            nodes = [
                Fact(of(cluster, node, "Node"), "metadata.labels", _labels_of_place(node))
                for node in cluster.all("Node")
            ]
            yield Finding(
                causes.LOCALITY_PREFERRED,
                Layer.MESH_CONFIG,
                (_config(reading, plane, f"localityLbSetting.distribute[{number}]", one), *nodes[:1]),
                f"let localityLbSetting.distribute of {plane.name} name {cluster.name}'s locality, or take it out",
                state.lacking(state.seen_by_clients_in(reading, senders), cluster),
                UNREACHED,
            )


def left_out(
    reading: Reading, plane: Cluster, setting: Mapping[str, Any]
) -> Iterator[tuple[int, Object, Cluster, list[Cluster]]]:
    """Each entry of a distribution that leaves out all of a cluster, with its number, and the senders that it binds."""
    distribute = setting.get("distribute") or [] if setting.get("enabled") is not False else []
    for number, one in enumerate(distribute):
        senders = [
            other
            for other in state.managed_by(reading, plane)
            if any(_deciding(distribute, place) == number for place in _places(other))
        ]
        for cluster in reading.clusters if senders else ():
            places = _places(cluster)
            # Of nodes that could not be read nothing is known.
            if places and not any(_meant(to, place) for to in one.get("to") or {} for place in places):
                yield number, one, cluster, senders


def _deciding(distribute: Sequence[Object], place: str) -> int:
    """The number of the entry that is for what a locality sends: the first, as in Istio; -1 where there is none."""
    return next((number for number, one in enumerate(distribute) if _meant(str(one.get("from")), place)), -1)


def _places(cluster: Cluster) -> set[str]:
    """The localities of a cluster's nodes, as region/zone/subzone."""
    return {"/".join(labels_of(node).get(label, "") for label in _PLACE) for node in cluster.all("Node")}


def _labels_of_place(node: Object) -> str:
    return shown({label: labels_of(node).get(label) for label in _PLACE[:2]})


def _meant(pattern: str, place: str) -> bool:
    """Whether a pattern such as region/* or region/zone means a locality."""
    wanted, parts = pattern.split("/"), place.split("/")
    return all(one in ("*", part) for one, part in zip(wanted, parts, strict=False))


@rule
def auto_mtls(case: Case) -> Iterator[Finding]:
    """The mesh configuration switches automatic mutual TLS off."""
    reading = case.reading
    for plane in reading.config_clusters:
        # A rule for the service may say it in place of the mesh.
        ruled = any(
            ((spec_of(one).get("trafficPolicy") or {}).get("tls") or {}).get("mode") == "ISTIO_MUTUAL"
            for home, one in rules_for(reading, "DestinationRule", reading.host)
            if home is plane
        )
        if ruled or state.mesh_config(reading, plane).get("enableAutoMtls") is not False:
            continue
        seen = state.seen_by_clients_of(reading, plane)
        lost = [said for one in seen.clusters if (said := state.lacking(seen, one, far_only=True))]
        failed = [said for one in seen.clusters if (said := state.trouble_at_gateway(seen, one))]
        yield Finding(
            root_causes.AUTO_MTLS_OFF,
            Layer.MESH_CONFIG,
            (_config(reading, plane, "enableAutoMtls", False),),
            f"take enableAutoMtls out of the mesh configuration of {plane.name}",
            next(iter((*lost, *failed)), ""),
            UNREACHED,
        )


@rule
def defaults(case: Case) -> Iterator[Finding]:
    """The mesh configuration has no request tried again, or gives up a connection at once, where no rule says else."""
    for plane in case.reading.config_clusters:
        config, bound = state.mesh_config(case.reading, plane), of_clients(case, plane)
        retries = config.get("defaultHttpRetryPolicy")
        if retries is not None and not (retries or {}).get("attempts"):
            yield Finding(
                causes.RETRIES_CHANGED,
                Layer.MESH_CONFIG,
                (_config(case.reading, plane, "defaultHttpRetryPolicy", retries),),
                f"take defaultHttpRetryPolicy out of the mesh configuration of {plane.name}",
                bound.suspected(causes.RETRIES_CHANGED),
                frozenset({causes.RETRIES_CHANGED.id}),
            )
        limit = str(config.get("connectTimeout") or "")
        if limit and scope.seconds(limit) < MADE_AT_ONCE:
            yield Finding(
                causes.CONNECTION_CUT,
                Layer.MESH_CONFIG,
                (_config(case.reading, plane, "connectTimeout", limit),),
                f"take connectTimeout out of the mesh configuration of {plane.name}",
                bound.suspected(causes.CONNECTION_CUT)
                or failing(bound.reading, case.reading.host, ("UF", "UT"), state.is_unanswered),
                REFUSED | {causes.CONNECTION_CUT.id},
            )


@rule
def exports(case: Case) -> Iterator[Finding]:
    """The service is not exported to the clients' namespace, or to that of a gateway."""
    reading = case.reading
    for cluster in reading.clusters:
        plane = state.control_plane_of(reading, cluster)
        service = state.service_of(reading, cluster)
        if service is None:
            continue
        own = state.export_of(service)
        default = state.mesh_config(reading, plane).get("defaultServiceExportTo") or []
        chosen = own or default
        if not chosen:
            continue
        fact = (
            Fact(of(cluster, service), "metadata.annotations networking.istio.io/exportTo", ",".join(own))
            if own
            else _config(reading, plane, "defaultServiceExportTo", default)
        )
        hidden = "~" in chosen or not all(
            scope.exported_to(chosen, reading.namespace, one) for one in reading.client_namespaces
        )
        from_gateway = not scope.exported_to(chosen, reading.namespace, cluster.system_namespace)
        if not hidden and not from_gateway:
            continue
        # A default holds for the clients that this istiod manages.
        told = reading.clusters if own else state.managed_by(reading, plane)
        witness = next((said for one in told if hidden and (said := state.lacking_service(one, reading.host))), "")
        witness = witness or (state.unexposed(reading, cluster) if from_gateway else "")
        yield Finding(
            causes.SERVICE_NOT_EXPORTED,
            Layer.MESH_CONFIG,
            (fact,),
            f"export the service to {cluster.system_namespace} and to its clients' namespaces",
            witness,
            UNREACHED,
        )


@rule
def unreadable(case: Case) -> Iterator[Finding]:
    """A field of the mesh configuration has a value that istiod cannot take: it goes on with the former text."""
    reading = case.reading
    for plane in reading.config_clusters:
        found = state.config_map(reading, plane)
        known = next((one.mesh for one in plane.istiods if one.mesh), None)
        text = ((found or {}).get("data") or {}).get("mesh", "")
        if not found or known is None or not text:
            continue
        asked = case.suspected(causes.MESH_CONFIG_UNREADABLE)
        for field, value, is_value in _not_taken(text, known):
            yield Finding(
                causes.MESH_CONFIG_UNREADABLE,
                Layer.MESH_CONFIG,
                (
                    Fact(of(plane, found), f"data.{field}", value),
                    Fact(f"istiod of {plane.name}", f"/debug/{field}", is_value),
                ),
                f"correct {field} in the ConfigMap, and look whether istiod of {plane.name} takes it (/debug/mesh)",
                asked,
                UNREACHED,
            )


def _not_taken(text: str, known: Object) -> Iterator[tuple[str, str, str]]:
    try:
        config = yaml.safe_load(text)
    except yaml.YAMLError as error:
        yield "mesh", f"no YAML: {error}".splitlines()[0], "the former text"
        return
    for field, value in (config or {}).items():
        held = known.get(field)
        if held is None or isinstance(value, dict | list) != isinstance(held, dict | list):
            continue
        # A duration or an enumeration may be written in several ways; another type is never the same.
        if isinstance(held, bool) and not isinstance(value, bool):
            yield f"mesh.{field}", shown(value), shown(held)


def _config(reading: Reading, plane: Cluster, field: str, value: object) -> Fact:
    found = state.config_map(reading, plane) or {"kind": "ConfigMap", "metadata": {"name": "istio"}}
    return Fact(of(plane, found), f"data.mesh.{field}", shown(value))
