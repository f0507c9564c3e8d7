"""What breaks only the next pod, proxy or token, while traffic is whole."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta

from splithorizon.base import clock
from splithorizon.diagnosis import causes, scope, state
from splithorizon.diagnosis.finding import Case, Fact, Finding, Layer, of, rule, shown
from splithorizon.diagnosis.reading.model import (
    Cluster,
    Object,
    Reading,
    labels_of,
    name_of,
    namespace_of,
    spec_of,
)
from splithorizon.diagnosis.rules.control_plane import other_bundle
from splithorizon.diagnosis.rules.follows import INJECTION
from splithorizon.diagnosis.rules.gateways import led_past, not_listening
from splithorizon.istio import remote_credential
from splithorizon.istio.names import REVISION_LABEL
from splithorizon.istio.remote_credential import Right

_MUST_LAST = timedelta(days=1)
_PORTS = {15012: "proxies", 15017: "webhooks"}
_INJECTION = INJECTION | {
    causes.WEBHOOK_LEADS_NOWHERE.id, causes.WEBHOOK_NOT_TRUSTED.id, causes.ISTIOD_UNREACHABLE.id,
}  # fmt: skip
_PATH = re.compile(r"/cluster/(?P<cluster>[^/]+)/net/(?P<net>[^/]+)")


@rule
def webhooks(case: Case) -> Iterator[Finding]:
    """An injection webhook names a Service or a port that is not there."""
    for cluster in case.reading.clusters:
        if not cluster.read("Service"):
            continue
        facts: dict[str, Fact] = {}
        for one, number, webhook in state.injection_webhooks(cluster):
            if _is_called(case.reading, cluster, one) and (fact := _nowhere(cluster, one, number, webhook)):
                facts.setdefault(name_of(one), fact)
        known = ", ".join(
            name_of(service)
            for service in cluster.all("Service", cluster.system_namespace)
            if name_of(service).startswith("istiod")
        )
        for name, fact in facts.items():
            yield Finding(
                causes.WEBHOOK_LEADS_NOWHERE,
                Layer.LATENT,
                (fact, Fact(f"Services {cluster.name}/{cluster.system_namespace}", "metadata.name", known)),
                f"let the webhooks of {name} name a Service that is there: {known or 'none is'}",
                f"{cluster.name}'s API server has no such Service or port to call",
                _INJECTION,
            )


def _is_called(reading: Reading, cluster: Cluster, one: Object) -> bool:
    """Whether pods of the Service's namespace come by a webhook: it is the revision's own, or of the tag they name."""
    if tag := labels_of(one).get("istio.io/tag"):
        namespace = labels_of(cluster.get("Namespace", reading.namespace) or {})
        return tag == namespace.get(REVISION_LABEL, "default")
    return _of_revision(one, reading.revision_of(cluster))


def _of_revision(one: Object, revision: str) -> bool:
    labels = labels_of(one)
    return labels.get(REVISION_LABEL, "default") == revision or "istio.io/tag" in labels


def _nowhere(cluster: Cluster, one: Object, number: int, webhook: Object) -> Fact | None:
    service = (webhook.get("clientConfig") or {}).get("service")
    if not service:
        return None
    namespace, name, port = service["namespace"], service["name"], int(service.get("port", 443))
    if namespace != cluster.system_namespace:
        return None
    found = cluster.get("Service", name, namespace)
    place = f"webhooks[{number}].clientConfig.service"
    if found is None:
        return Fact(of(cluster, one), f"{place}.name", f"{name}; there is no Service {namespace}/{name}")
    if port not in [int(known["port"]) for known in scope.ports(found)]:
        return Fact(of(cluster, one), f"{place}.port", f"{port}; Service {namespace_of(found)}/{name} has no such port")
    return None


@rule
def bundles(case: Case) -> Iterator[Finding]:
    """An injection webhook trusts another root than those in istiod's own cluster, and istiod may correct it."""
    for cluster in case.reading.clusters:
        if cluster.runs_istiod or not (fact := other_bundle(case.reading, cluster)):
            continue
        yield Finding(
            causes.WEBHOOK_NOT_TRUSTED,
            Layer.LATENT,
            (fact,),
            f"let the CA bundle be the root of {cluster.control_plane}'s istiod (istio-ca-root-cert)",
            case.suspected(causes.WEBHOOK_NOT_TRUSTED),
            _INJECTION | {causes.ISTIOD_MAY_NOT_WRITE.id, causes.ROOTS_DIFFER.id},
        )


@rule
def injection_path(case: Case) -> Iterator[Finding]:
    """An injection webhook asks for sidecars of another network or cluster than its own."""
    for cluster in case.reading.clusters:
        for one, field, path in _injection_paths(cluster, case.reading.revision_of(cluster)):
            asked = _PATH.search(path)
            if not asked:
                continue
            for part, what, wanted, cause in (
                ("net", "network", cluster.network, causes.PROXY_NETWORK_WRONG),
                ("cluster", "id", cluster.cluster_id, causes.PROXY_CLUSTER_ID_WRONG),
            ):
                if wanted and asked[part] != wanted:
                    yield Finding(
                        cause,
                        Layer.LATENT,
                        (Fact(of(cluster, one), field, f"{path}; the {what} is {wanted}"),),
                        f"let the path of {name_of(one)}'s webhooks name {wanted} (istiodRemote.injectionPath)",
                        case.suspected(cause),
                        frozenset({cause.id}),
                    )


def _injection_paths(cluster: Cluster, revision: str) -> Iterator[tuple[Object, str, str]]:
    """The path or URL of each injection webhook of a revision that is in use, with its object and field."""
    for one, number, webhook in state.injection_webhooks(cluster):
        field, path = state.webhook_path(webhook)
        if _of_revision(one, revision):
            yield one, f"webhooks[{number}].clientConfig.{field}", path


@rule
def istiod_behind_the_gateway(case: Case) -> Iterator[Finding]:
    """The gateway of istiod's cluster does not lead the ports for proxies or webhooks of other clusters to istiod."""
    reading = case.reading
    asked = case.suspected(causes.ISTIOD_PORT_LEADS_ELSEWHERE)
    for plane in reading.config_clusters:
        managed = [one for one in reading.clusters if one.control_plane == plane.name and not one.runs_istiod]
        if not managed or not asked:
            continue
        for number, users in _PORTS.items():
            facts = [*_not_led(plane, number), *_routed_elsewhere(plane, number)]
            if facts:
                yield Finding(
                    causes.ISTIOD_PORT_LEADS_ELSEWHERE,
                    Layer.LATENT,
                    tuple(facts),
                    f"let port {number} of {plane.name}'s gateway lead to istiod (expose-istiod.yaml): {users} of "
                    f"{', '.join(one.name for one in managed)} need it",
                    asked,
                    _INJECTION | {causes.ISTIOD_PORT_LEADS_ELSEWHERE.id},
                )


def _not_led(plane: Cluster, number: int) -> Iterator[Fact]:
    """The gateway's Service lacks the port, or sends it where the gateway does not listen for it."""
    pods = state.gateway_pods(plane)
    services = state.gateway_services(plane)
    found = [(one, index, port) for one in services for index, port in enumerate(scope.ports(one))]
    leading = [(one, index, port) for one, index, port in found if port.get("port") == number]
    if services and not leading:
        known = shown([port.get("port") for _, _, port in found])
        yield Fact(of(plane, services[0], "Service"), "spec.ports", f"{known}, without {number}")
    for service, index, port in leading:
        target = scope.target_of(port, *pods)
        if proxy := not_listening(plane, target):
            yield from led_past(plane, service, index, proxy, target)


def _routed_elsewhere(plane: Cluster, number: int) -> Iterator[Fact]:
    """A VirtualService sends the port's connections to a Service that is not there, or is no istiod's."""
    for one in plane.all("VirtualService", plane.system_namespace):
        for field, destination in _destinations(one, number):
            host, port = str(destination.get("host", "")), (destination.get("port") or {}).get("number")
            name, _, rest = host.partition(".")
            service = plane.get("Service", name, rest.partition(".")[0] or namespace_of(one))
            if service is None and plane.read("Service"):
                yield Fact(of(plane, one, "VirtualService"), f"{field}.host", f"{host}; there is no such Service")
            elif service and port not in [known.get("port") for known in scope.ports(service)]:
                value = f"{shown(port)}; Service {name} has no such port"
                yield Fact(of(plane, one, "VirtualService"), f"{field}.port.number", value)


def _destinations(virtual_service: Object, number: int) -> Iterator[tuple[str, Object]]:
    """Where a VirtualService sends TLS connections of a port, with the field that says so."""
    for place, tls in enumerate(spec_of(virtual_service).get("tls") or []):
        if any(match.get("port") == number for match in tls.get("match") or []):
            for index, route in enumerate(tls.get("route") or []):
                yield f"spec.tls[{place}].route[{index}].destination", route.get("destination") or {}


@rule
def token_ends(case: Case) -> Iterator[Finding]:
    """The token in a remote secret ends within a day."""
    now = clock.now()
    for plane in case.reading.config_clusters:
        for secret in plane.secrets:
            ends = datetime.fromisoformat(secret.ends) if secret.ends else None
            # One that has ended is refused, which another rule reads from the answer.
            if ends is None or not now < ends < now + _MUST_LAST:
                continue
            yield Finding(
                causes.REMOTE_TOKEN_ENDS,
                Layer.LATENT,
                (
                    Fact(
                        f"Secret {plane.name}/{secret.namespace}/{secret.name}",
                        f"data.{secret.cluster_id}",
                        f"its token ends at {ends:%FT%TZ}",
                    ),
                ),
                f"istioctl <{secret.leads_to or secret.cluster_id}> create-remote-secret --name {secret.cluster_id} "
                f"| kubectl <secrets of {plane.name}> apply -f -",
                case.suspected(causes.REMOTE_TOKEN_ENDS),
                frozenset({causes.REMOTE_TOKEN_ENDS.id}),
            )


@rule
def reader_lacks(case: Case) -> Iterator[Finding]:
    """The role of Istio's reader account in a watched cluster lacks a right that istiod cannot do without."""
    asked = case.suspected(causes.REMOTE_SECRET_REFUSED)
    for cluster in case.reading.clusters:
        revision = case.reading.revision_of(cluster)
        role = cluster.get("ClusterRole", remote_credential.reader_role_of(revision, cluster.system_namespace))
        watched = any(plane.name != cluster.name for plane in case.reading.config_clusters)
        if not watched or role is None or not asked:
            continue
        has = remote_credential.rights_of(role)
        lacking: dict[tuple[str, str], list[str]] = {}
        for right in sorted(remote_credential.needed()):
            if not any(_gives(known, right) for known in has):
                lacking.setdefault((right.group, right.resource), []).append(right.verb)
        if lacking:
            yield Finding(
                causes.REMOTE_SECRET_REFUSED,
                Layer.LATENT,
                tuple(
                    Fact(of(cluster, role), "rules", _without(group, resource, verbs))
                    for (group, resource), verbs in lacking.items()
                ),
                f"install Istio's part of {cluster.name} again, or give {name_of(role)} these rules",
                asked,
                frozenset({causes.REMOTE_SECRET_REFUSED.id}),
            )


def _without(group: str, resource: str, verbs: list[str]) -> str:
    return f"{resource}: without {shown(verbs)}" + (f" ({group})" if group else "")


def _gives(known: Right, wanted: Right) -> bool:
    pairs = ((known.group, wanted.group), (known.resource, wanted.resource), (known.verb, wanted.verb))
    return all(one in ("*", other) for one, other in pairs)
