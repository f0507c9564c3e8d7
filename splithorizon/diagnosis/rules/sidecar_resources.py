"""Sidecar resources: which Services they show to clients, and which ports they open for a pod."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from splithorizon.diagnosis import root_causes, scope, state
from splithorizon.diagnosis.finding import Case, Fact, Finding, Layer, of, rule, shown
from splithorizon.diagnosis.reading.model import (
    CLIENT,
    Cluster,
    LogCount,
    Object,
    Reading,
    labels_of,
    name_of,
    namespace_of,
    spec_of,
)
from splithorizon.diagnosis.rules.client_rules import (
    failing,
    failing_code,
    limits_of,
    overflow_at_servers,
    pool_of,
    sidecar_of,
)
from splithorizon.diagnosis.rules.follows import REFUSED
from splithorizon.diagnosis.rules.services import refused_inside


@rule
def hidden_services(case: Case) -> Iterator[Finding]:
    """A Sidecar resource hides the service from its clients."""
    reading = case.reading
    for plane in reading.config_clusters:
        root = state.root_namespace(reading, plane)
        for cluster in state.managed_by(reading, plane):
            for proxy in cluster.of(CLIENT):
                pod = cluster.get("Pod", proxy.pod, proxy.namespace)
                one = sidecar_of(plane, root, proxy.namespace, labels_of(pod or {}))
                if one is None or _shows(reading, one, proxy.namespace):
                    continue
                egress = spec_of(one).get("egress") or []
                yield Finding(
                    root_causes.SIDECAR_HIDES_SERVICE, Layer.RULE,
                    (
                        Fact(of(plane, one), "spec.egress[].hosts", shown([entry.get("hosts") for entry in egress])),
                        Fact(of(plane, one), "spec.workloadSelector.labels",
                             f"{shown(dict(scope.selector_of(one)))}, binds {cluster.name}/{proxy.pod}"),
                    ),
                    f"add {reading.namespace}/{reading.host} to the egress of Sidecar "
                    f"{namespace_of(one)}/{name_of(one)} (in {plane.name})",
                    state.lacking_service(cluster, reading.host), REFUSED,
                )  # fmt: skip


@rule
def ports_of_pods(case: Case) -> Iterator[Finding]:
    """A Sidecar resource hides the port from the service's pods, leads it elsewhere, or limits it."""
    reading = case.reading
    for plane in reading.config_clusters:
        root = state.root_namespace(reading, plane)
        for cluster in state.managed_by(reading, plane):
            ports = scope.ports(state.service_of(reading, cluster) or {})
            for pod in state.pods_of(reading, cluster) if ports else ():
                one = sidecar_of(plane, root, reading.namespace, labels_of(pod))
                if one is None:
                    continue
                # By the target, which is what a Sidecar names; one that no container has cannot be told.
                by_target = {scope.target_of(port, pod): int(port["port"]) for port in ports}
                targets = {target: number for target, number in by_target.items() if target}
                yield from _limited(plane, one, cluster, pod, targets)
                yield from _led_elsewhere(plane, one, cluster, pod)
                yield from _hidden(reading, plane, one, f"{cluster.name}/{name_of(pod)}", targets)


def _hidden(reading: Reading, plane: Cluster, one: Object, pod: str, targets: Mapping[int, int]) -> Iterator[Finding]:
    """A Sidecar's ingress leaves out targets of the Service's ports, and requests at these ports fail."""
    ingress = spec_of(one).get("ingress") or []
    numbers = {(entry.get("port") or {}).get("number") for entry in ingress}
    if not ingress or targets.keys() <= numbers:
        return
    hidden = {str(number) for target, number in targets.items() if target not in numbers}

    def meant(line: LogCount) -> bool:
        return not line.cluster or state.parts_of(line.cluster)[1] in hidden

    failed = failing(reading, reading.host, ("UF", "URX", "NR", "UC"), meant)
    yield Finding(
        root_causes.SIDECAR_HIDES_PORT, Layer.RULE,
        (Fact(of(plane, one), "spec.ingress[].port.number", f"{shown(sorted(map(str, numbers)))}, binds {pod}, "
              f"whose port is {shown(sorted(map(str, targets)))}"),),
        f"add the port to the ingress of Sidecar {name_of(one)}",
        failed or failing_code(reading, reading.host, meant), REFUSED,
    )  # fmt: skip


def _limited(plane: Cluster, one: Object, cluster: Cluster, pod: Object, targets: Collection[int]) -> Iterator[Finding]:
    """A Sidecar limits what its pods' sidecars take at once."""
    for place, pool in dict(found for port in targets if (found := pool_of(one, port))).items():
        for field, value in limits_of(pool).items():
            yield Finding(
                root_causes.CONNECTIONS_LIMITED, Layer.RULE,
                (Fact(of(plane, one), f"{place}.{field}", shown(value)),),
                f"kubectl <{plane.name}> -n {namespace_of(one)} edit sidecar {name_of(one)}: take {field} out",
                overflow_at_servers(cluster, name_of(pod)), REFUSED,
            )  # fmt: skip


def _led_elsewhere(plane: Cluster, one: Object, cluster: Cluster, pod: Object) -> Iterator[Finding]:
    """An ingress listener of a Sidecar leads to a port that the pod's containers do not declare, and fails there."""
    declared = {int(port["containerPort"]) for port in scope.declared(pod)}
    for number, entry in enumerate(spec_of(one).get("ingress") or []):
        target = str(entry.get("defaultEndpoint", ""))
        port = target.rpartition(":")[2]
        if not port.isdigit() or not declared or int(port) in declared:
            continue
        yield Finding(
            root_causes.SIDECAR_LEADS_ELSEWHERE, Layer.RULE,
            (
                Fact(of(plane, one), f"spec.ingress[{number}].defaultEndpoint", target),
                Fact(of(cluster, pod, "Pod"), "spec.containers[].ports", shown(sorted(map(str, declared)))),
            ),
            f"let defaultEndpoint of Sidecar {namespace_of(one)}/{name_of(one)} name the application's port",
            refused_inside(cluster, int((entry.get("port") or {}).get("number") or 0), name_of(pod)),
            REFUSED,
        )  # fmt: skip


def _shows(reading: Reading, one: Object, client_namespace: str) -> bool:
    egress = spec_of(one).get("egress")
    if not egress:
        return True
    ports = {port.get("port") for cluster in reading.clusters if (found := state.service_of(reading, cluster))
             for port in scope.ports(found)}  # fmt: skip
    return any(
        scope.egress_shows(str(entry), client_namespace, reading.namespace, reading.host)
        for listener in egress
        if not (number := (listener.get("port") or {}).get("number")) or number in ports
        for entry in listener.get("hosts") or []
    )
