"""VirtualServices: where they make clients' proxies send requests for the service, or how they answer them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from splithorizon.diagnosis import causes, root_causes, scope, state
from splithorizon.diagnosis.causes import Cause
from splithorizon.diagnosis.finding import Case, Fact, Finding, Layer, Symptom, of, rule, shown
from splithorizon.diagnosis.reading.model import (
    Cluster,
    LogCount,
    Object,
    Proxy,
    Reading,
    name_of,
    namespace_of,
    spec_of,
)
from splithorizon.diagnosis.rules.client_rules import failing, is_of_a_client, of_clients, rules_for
from splithorizon.diagnosis.rules.follows import REFUSED
from splithorizon.traffic import workloads

# How an application answers a path, a method or a host that it does not have.
_NOT_KNOWN = (400, 404, 405, 421)
_REDIRECTS = (301, 302, 303, 307, 308)
# Paths of every request, as a rule matches them.
_EVERY_PATH = ({"prefix": "/"}, {"regex": ".*"}, {"regex": "/.*"})


def _name(reading: Reading, host: str) -> str:
    return next((name for name in reading.services if reading.host_of(name) == host), host)


@rule
def virtual_services(case: Case) -> Iterator[Finding]:
    """A VirtualService injects faults, limits time, or sends requests where they should not go."""
    reading = case.reading
    for host in map(reading.host_of, reading.services):
        for plane, one in rules_for(reading, "VirtualService", host):
            bound = of_clients(case, plane)
            held = (route for _, proxy in state.clients(bound.reading) for _, route in _routes(proxy, host))
            if spec_of(one).get("http") and state.overridden(held, one):
                continue
            for route in _http_routes(reading, plane, one):
                if _is_for_clients(reading, plane, route.settings):
                    yield from _of_route(bound, host, route)
            for kind in ("tcp", "tls"):
                for number, route in enumerate(spec_of(one).get(kind) or []):
                    yield from _destinations(bound, plane, one, host, f"spec.{kind}[{number}]", route)
            yield from _unmatched(bound, plane, one, host)
            yield Finding(
                causes.OLDER_RULE, Layer.RULE,
                (Fact(of(plane, one), "spec.hosts", shown(spec_of(one).get("hosts"))),
                 Fact(of(plane, one), "metadata.creationTimestamp", str(one["metadata"].get("creationTimestamp", "")))),
                f"kubectl <{plane.name}> -n {namespace_of(one)} delete virtualservice {name_of(one)}",
                _asking(bound, host).suspected(causes.OLDER_RULE),
                frozenset({causes.OLDER_RULE.id}),
            )  # fmt: skip


def _asking(case: Case, host: str) -> Case:
    """The case with the failed checks alone that ask a host: all but that of subsets ask the Service's own."""
    reading = case.reading
    subsets = reading.host_of(workloads.SUBSETS)

    def asked(by: Symptom) -> str:
        return subsets if "subsets" in by.behaviour else reading.host

    return replace(case, symptoms=tuple(one for one in case.symptoms if asked(one) == host))


@dataclass(frozen=True)
class _HttpRoute:
    """An HTTP route of a VirtualService, or of one that it delegates to.

    ``in_force`` is the rule that proxies name, and ``holder`` has the route at ``place``. ``absent`` are the delegates
    that do not exist, of routes before it: istiod leaves such a route out, so that its requests come to this one.
    """

    plane: Cluster
    in_force: Object
    holder: Object
    place: str
    settings: Mapping[str, Any]
    absent: tuple[Fact, ...] = ()

    def finding(
        self, cause: Cause, field: str, value: Any, witness: str, follows: frozenset[str] = frozenset()
    ) -> Finding:
        """What is found where a field of the route has this value."""
        facts = (*self.absent, Fact(of(self.plane, self.holder), f"{self.place}.{field}", shown(value)))
        edit = f"kubectl <{self.plane.name}> -n {namespace_of(self.holder)} edit virtualservice {name_of(self.holder)}"
        return Finding(cause, Layer.RULE, facts, f"{edit}: take {field} out", witness, follows | {cause.id})


def _http_routes(reading: Reading, plane: Cluster, rule: Object) -> Iterator[_HttpRoute]:
    """The HTTP routes of a VirtualService in their order, with those of its delegates in their places."""
    absent: list[Fact] = []
    for number, route in enumerate(spec_of(rule).get("http") or []):
        place = f"spec.http[{number}]"
        if not (named := route.get("delegate")):
            yield _HttpRoute(plane, rule, rule, place, route, tuple(absent))
            continue
        wanted = (str(named.get("namespace") or namespace_of(rule)), str(named.get("name")))
        holder = next(
            (
                one
                for home, one in reading.configs("VirtualService")
                if home.name == plane.name and (namespace_of(one), name_of(one)) == wanted
            ),
            None,
        )
        if holder is None:
            absent.append(Fact(of(plane, rule), f"{place}.delegate", f"{'/'.join(wanted)}, which does not exist"))
            continue
        for inner, delegated in enumerate(spec_of(holder).get("http") or []):
            yield _HttpRoute(plane, rule, holder, f"spec.http[{inner}]", delegated, tuple(absent))


def _is_for_clients(reading: Reading, plane: Cluster, route: Mapping[str, Any]) -> bool:
    """Whether a route is for a client of the control plane that was read, by what it matches of the sender."""
    for match in route.get("match") or [{}]:
        labels, namespace = match.get("sourceLabels") or {}, str(match.get("sourceNamespace") or "")
        sent = not (labels or namespace) or is_of_a_client(reading, plane, labels, namespace)
        if sent and "mesh" in (match.get("gateways") or ["mesh"]):
            return True
    return False


def _logged_of(http: _HttpRoute, line: LogCount) -> bool:
    """Whether a line may be of a request by this route: Envoy logs a route's name, if the format has it."""
    name = str(http.settings.get("name") or "")
    matches = {f"{name}.{match['name']}" for match in http.settings.get("match") or [] if match.get("name")}
    # A delegate's routes have names made of both rules'.
    return http.holder is not http.in_force or line.route in {"", name, *matches}


def _of_route(case: Case, host: str, http: _HttpRoute) -> Iterator[Finding]:
    yield from _limits(case, host, http)
    yield from _answers(case, host, http)
    yield from _destinations(case, http.plane, http.holder, host, http.place, http.settings)


def _limits(case: Case, host: str, http: _HttpRoute) -> Iterator[Finding]:
    """Faults that a route injects, limits of time, and retries."""
    reading, route = case.reading, http.settings

    def ended(flag: str, status: Any = None) -> str:
        def meant(line: LogCount) -> bool:
            return _logged_of(http, line) and str(line.code) == str(status or line.code)

        return failing(reading, host, (flag,), meant)

    fault, retries = route.get("fault") or {}, route.get("retries") or {}
    if abort := fault.get("abort"):
        # Of another status it is another rule's, or a filter's.
        witness = ended("FI", abort.get("httpStatus"))
        yield http.finding(root_causes.FAULT_INJECTED, "fault.abort", abort, witness, REFUSED)
    asked = case.suspected(causes.REQUEST_TIME_LIMITED)
    if delay := fault.get("delay"):
        yield http.finding(root_causes.FAULT_INJECTED, "fault.delay", delay, ended("DI") or asked, REFUSED)
    for field, limit in (("timeout", route.get("timeout")), ("retries.perTryTimeout", retries.get("perTryTimeout"))):
        if limit:
            yield http.finding(causes.REQUEST_TIME_LIMITED, field, limit, ended("UT") or asked, REFUSED)
    if "retries" in route and retries.get("attempts") in (0, None):
        witness = case.suspected(causes.RETRIES_CHANGED)
        yield http.finding(causes.RETRIES_CHANGED, "retries", route["retries"], witness)


def _answers(case: Case, host: str, http: _HttpRoute) -> Iterator[Finding]:
    """Where a route has the sidecar answer, or the request changed."""
    reading, route = case.reading, http.settings
    for field in ("directResponse", "redirect"):
        if value := route.get(field):
            witness = _answered_itself(reading, host, http)
            yield http.finding(root_causes.RULE_ANSWERS_ITSELF, field, value, witness, REFUSED)
    if rewrite := route.get("rewrite"):
        witness = _not_known_there(reading, host, http)
        yield http.finding(root_causes.RULE_ANSWERS_ITSELF, "rewrite", rewrite, witness, REFUSED)
    changing = {"headers.request": route, **{
        f"route[{number}].headers.request": one for number, one in enumerate(route.get("route") or [])
    }}  # fmt: skip
    for field, one in changing.items():
        headers = (one.get("headers") or {}).get("request") or {}
        if any(str(key).lower() == "x-request-id" for part in headers.values() for key in part):
            witness = case.suspected(causes.REQUEST_ID_CHANGED)
            yield http.finding(causes.REQUEST_ID_CHANGED, field, headers, witness)


def _answered_itself(reading: Reading, host: str, http: _HttpRoute) -> str:
    for client, proxy in state.clients(reading):
        for line in state.logged(proxy, host=host):
            answered = line.details == "direct_response" or (line.code in _REDIRECTS and not line.upstream)
            if answered and _logged_of(http, line):
                return (
                    f"{line.count} requests of {client.name}'s {proxy.pod} got {line.code} {line.details} "
                    f"from the sidecar"
                )
        for virtual, route in _routes(proxy, host):
            answers = "direct_response" in route or "redirect" in route
            # A path of its own may well be answered: the log shows whether anybody asks for it.
            if answers and state.in_force(route, http.in_force) and _takes_all(route):
                return f"the sidecar of {client.name}'s {proxy.pod} answers {virtual} itself"
    return ""


def _not_known_there(reading: Reading, host: str, http: _HttpRoute) -> str:
    """A sentence on requests whose path or host the application does not know; empty without any."""
    for client, proxy in state.clients(reading):
        for line in state.logged(proxy, host=host):
            if line.code in _NOT_KNOWN and line.details == "via_upstream" and _logged_of(http, line):
                return f"{line.count} requests of {client.name}'s {proxy.pod} were answered with {line.code}"
    return ""


def _takes_all(route: Mapping[str, Any]) -> bool:
    """Whether a route of Envoy's takes every request that comes to it, whatever its path and headers are."""
    match = route.get("match") or {}
    narrower = {*match} & {"path", "safe_regex", "path_separated_prefix", "headers", "query_parameters"}
    return not narrower and match.get("prefix", "/") == "/"


def _is_taken(proxy: Proxy, route: Mapping[str, Any]) -> bool:
    """Whether requests go by a route of Envoy's: it takes all of them, or the log has some where it leads."""
    used = {*_clusters_of(route)}
    return _takes_all(route) or any(line.cluster in used for line in proxy.log)


def _routes(proxy: Proxy, host: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for virtual in proxy.hosts:
        if host in virtual.get("domains", []):
            for route in virtual.get("routes", []):
                yield str(virtual.get("name")), route


def _destinations(
    case: Case, plane: Cluster, one: Object, host: str, place: str, route: Mapping[str, Any]
) -> Iterator[Finding]:
    """Where a route sends requests: to another host, or to a subset that leaves out pods."""
    reading = case.reading
    edit = f"kubectl <{plane.name}> -n {namespace_of(one)} edit virtualservice {name_of(one)}"
    for number, choice in enumerate(route.get("route") or []):
        destination = choice.get("destination") or {}
        field = f"{place}.route[{number}].destination"
        target = scope.full_host(str(destination.get("host", "")), namespace_of(one), reading.domain)
        if target != host:
            yield Finding(
                causes.RULE_SENDS_ELSEWHERE, Layer.RULE,
                (Fact(of(plane, one), f"{field}.host", str(destination.get("host"))),
                 Fact(of(plane, one), "spec.hosts", shown(spec_of(one).get("hosts")))),
                edit, _sent_elsewhere(case, host, target, route),
                REFUSED | {causes.RULE_SENDS_ELSEWHERE.id, causes.SERVICE_IN_BOTH_CLUSTERS.id,
                           causes.GATEWAY_USED_FOR_NEAR.id},
            )  # fmt: skip
        elif subset := destination.get("subset"):
            known = _subset(reading, plane, host, str(subset))
            yield Finding(
                root_causes.RULE_PICKS_SUBSET, Layer.RULE,
                (Fact(of(plane, one), f"{field}.subset", str(subset)), *known),
                edit, _short_subset(reading, host, str(subset)), REFUSED,
            )  # fmt: skip
            for manager, failed in _without_subset(reading, plane, host, str(subset)):
                yield Finding(
                    root_causes.SUBSET_UNKNOWN_AT_GATEWAY, Layer.RULE,
                    (*known, Fact(f"DestinationRules for {host} in {manager.name}", "spec.subsets",
                                  f"none is named {subset}"),
                     Fact(of(plane, one), f"{field}.subset", str(subset))),
                    f"apply the DestinationRule of {plane.name} to {manager.name} too", failed, REFUSED,
                )  # fmt: skip
        wanted = destination.get("port") or {}
        service = state.service_of(reading, plane, _name(reading, host))
        if (
            service
            and wanted.get("number")
            and wanted["number"] not in [one.get("port") for one in scope.ports(service)]
        ):
            yield Finding(
                causes.RULE_SENDS_ELSEWHERE, Layer.RULE,
                (Fact(of(plane, one), f"{field}.port.number", str(wanted["number"])),),
                edit, failing(reading, host, ("NC", "UH", "NR", "UF")), REFUSED,
            )  # fmt: skip


def _sent_elsewhere(case: Case, host: str, target: str, settings: Mapping[str, Any]) -> str:
    """A sentence on requests for a host that go to another one, by a route of a rule; empty without any."""
    for client, proxy in state.clients(case.reading):
        for line in state.logged(proxy, host=host):
            if line.cluster.endswith(f"|{target}") and line.authority.partition(":")[0] in _names(host):
                return (
                    f"{line.count} requests of {client.name}'s {proxy.pod} for {line.authority} went to {line.cluster}"
                )
        for name, route in _routes(proxy, host):
            if _takes_all(route) and any(one.endswith(f"|{target}") for one in _clusters_of(route)):
                return f"the sidecar of {client.name}'s {proxy.pod} routes {name} to {target}"
    # Of requests with a header or a parameter of their own the log alone shows that there are any.
    marked = [{"headers", "queryParams"} & {*match} for match in settings.get("match") or [{}]]
    return "" if all(marked) else case.suspected(causes.RULE_SENDS_ELSEWHERE)


def _names(host: str) -> tuple[str, ...]:
    name, namespace, *_ = host.split(".")
    return (name, f"{name}.{namespace}", f"{name}.{namespace}.svc", host)


def _subset(reading: Reading, plane: Cluster, host: str, subset: str) -> tuple[Fact, ...]:
    """What a subset selects, by the DestinationRules of the same control plane that define it."""
    found = [
        Fact(of(home, one), f"spec.subsets {subset}.labels", shown(labels))
        for home, one, labels in _defining(reading, host, subset)
        if home.name == plane.name
    ]
    return tuple(found) or (
        Fact(f"DestinationRules for {host} in {plane.name}", "spec.subsets", f"none is named {subset}"),
    )


def _defining(reading: Reading, host: str, subset: str) -> Iterator[tuple[Cluster, Object, Any]]:
    """The DestinationRules that define a subset, each with its control plane and the labels that the subset selects."""
    for home, one in rules_for(reading, "DestinationRule", host):
        for known in spec_of(one).get("subsets") or []:
            if known.get("name") == subset:
                yield home, one, known.get("labels")


def _without_subset(reading: Reading, plane: Cluster, host: str, subset: str) -> Iterator[tuple[Cluster, str]]:
    """The other primaries that define no such subset, each with a sentence on a client that fails at a gateway there.

    A gateway has a name (SNI) for each subset that its own primary defines.
    """
    defining = {home.name for home, _, _ in _defining(reading, host, subset)}
    if plane.name not in defining:
        return
    for manager in reading.config_clusters:
        if manager.name in defining or not manager.read("DestinationRule"):
            continue
        addresses = frozenset[str]().union(
            *(state.gateway_addresses(reading, one) for one in state.managed_by(reading, manager))
        )
        failing_there = (
            state.failed_to_connect(client, proxy, one)
            for client, proxy in state.clients(reading)
            for port, hosts in state.held(proxy, host, subset).items()
            for one in hosts
            if one.address in addresses
            and one.never_answered
            # Where the service itself is not reached either, it is not for the subset's name.
            and not any(
                whole.address == one.address and whole.never_answered for whole in state.held(proxy, host).get(port, ())
            )
        )
        if failed := next(failing_there, ""):
            yield manager, failed


def _short_subset(reading: Reading, host: str, subset: str) -> str:
    """A sentence on a client whose subset lacks endpoints that the service has; empty where none does."""
    for client, proxy in state.clients(reading):
        for line in state.logged(proxy, flags=("NC", "UH"), host=host):
            # A route that has no cluster is logged without one: then the log does not say which subset it means.
            if line.cluster and f"|{subset}|" not in line.cluster:
                continue
            return (
                f"{line.count} requests of {client.name}'s {proxy.pod} ended with {line.code} "
                f"{line.flags}: {line.cluster}"
            )
        for _, route in _routes(proxy, host):
            used = {part for _, _, part, of in map(state.parts_of, _clusters_of(route)) if of == host}
            if subset not in used or not _is_taken(proxy, route):
                continue
            # What one subset of a route leaves out another may have.
            for port, hosts in state.held(proxy, host).items():
                reached = {one.address for name in used for one in state.held(proxy, host, name).get(port, ())}
                if missing := {one.address for one in hosts} - reached:
                    lacks = ", ".join(sorted(missing))
                    return f"the sidecar of {client.name}'s {proxy.pod} lacks {lacks} in subset {subset}"
    return ""


def _clusters_of(route: Mapping[str, Any]) -> Iterator[str]:
    """The Envoy clusters that a route sends requests to."""
    action = route.get("route") or {}
    if action.get("cluster"):
        yield str(action["cluster"])
    for one in (action.get("weighted_clusters") or {}).get("clusters", []):
        if one.get("weight"):
            yield str(one.get("name"))


def _unmatched(case: Case, plane: Cluster, one: Object, host: str) -> Iterator[Finding]:
    routes = list(_http_routes(case.reading, plane, one))
    if not routes or any(_matches_all(route.settings) for route in routes):
        return
    matches = [route.settings.get("match") for route in routes]
    yield Finding(
        root_causes.RULE_MATCHES_NOTHING, Layer.RULE,
        (*routes[-1].absent, Fact(of(plane, one), "spec.http[].match", shown(matches))),
        f"give {name_of(one)} a route without a match as its last",
        failing(case.reading, host, ("NR",)), REFUSED,
    )  # fmt: skip


def _matches_all(route: Mapping[str, Any]) -> bool:
    """Whether a route of a VirtualService is for every request of a client."""
    return any(
        not {*match} - {"name", "uri", "ignoreUriCase", "gateways"}
        and match.get("uri", _EVERY_PATH[0]) in _EVERY_PATH
        and "mesh" in (match.get("gateways") or ["mesh"])
        for match in route.get("match") or [{}]
    )
