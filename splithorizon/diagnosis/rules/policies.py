"""AuthorizationPolicies and RequestAuthentications: who is refused, by which, and who is let in."""

from __future__ import annotations

import re
from collections.abc import Iterator

from splithorizon.diagnosis import causes, root_causes, scope, state
from splithorizon.diagnosis.finding import Case, Fact, Finding, Layer, of, rule, shown
from splithorizon.diagnosis.reading.model import (
    GATEWAY,
    SERVER,
    Cluster,
    Object,
    Proxy,
    Reading,
    annotations_of,
    labels_of,
    name_of,
    namespace_of,
    spec_of,
)
from splithorizon.diagnosis.rules.follows import REFUSED

# istiod adds a prefix to the names of CUSTOM policies, and a suffix where it cannot have their provider asked.
_MATCHED = re.compile(
    r"rbac_access_denied_matched_policy\[[\w-]*?ns\[([^\]]*)\]-policy\[([^\]]*)\]-rule\[(\d+)\][\w-]*\]"
)
_DENIED = "rbac_access_denied"
# Of a provider that a CUSTOM policy has Envoy ask: it denied the request, or did not answer.
_BY_PROVIDER, _PROVIDERS_FLAG = "ext_authz", "UAEX"
# What Go reads as true.
_TRUE = ("1", "t", "T", "true", "TRUE", "True")
_FORBIDDEN = 403
_DRY_RUN = "istio.io/dry-run"


def _bound(reading: Reading, plane: Cluster, policy: Object) -> list[tuple[Cluster, Proxy]]:
    root = state.root_namespace(reading, plane)
    return [
        (cluster, proxy)
        for cluster in reading.clusters
        if cluster.control_plane == plane.name
        for proxy in cluster.proxies
        if proxy.kind in (SERVER, GATEWAY)
        and (pod := cluster.get("Pod", proxy.pod, proxy.namespace))
        and scope.binds(policy, root, proxy.namespace, labels_of(pod))
    ]


def _denials(proxies: list[tuple[Cluster, Proxy]], policy: Object) -> Iterator[str]:
    """A sentence on each kind of requests that proxies denied by a policy, or because no ALLOW policy admits them."""
    action = _action(policy)
    for cluster, proxy in proxies:
        for line in proxy.log:
            named = _MATCHED.search(line.details)
            mine = named and (named[1], named[2]) == (namespace_of(policy), name_of(policy))
            # None of the ALLOW policies matched: each of them is a part of the reason.
            unmatched = action == "ALLOW" and not named and line.details.startswith(_DENIED)
            by_provider = _PROVIDERS_FLAG in line.flags.split(",") or line.details.startswith(_BY_PROVIDER)
            if mine or unmatched or (action == "CUSTOM" and by_provider):
                yield f"{line.count} requests at {cluster.name}'s {proxy.pod} ended with {line.code} {line.details}"


def _action(policy: Object) -> str:
    """What a policy does with a request that matches; one that is only tried does nothing."""
    tried = annotations_of(policy).get(_DRY_RUN, "") in _TRUE
    return "DRY RUN" if tried else str(spec_of(policy).get("action") or "ALLOW")


@rule
def authorization(case: Case) -> Iterator[Finding]:
    """An AuthorizationPolicy denies requests for the service, at its pods or at a gateway."""
    reading = case.reading
    for plane, policy in reading.configs("AuthorizationPolicy"):
        action, bound = _action(policy), _bound(reading, plane, policy)
        witness = next(_denials(bound, policy), "")
        if not witness and action in ("DENY", "ALLOW", "CUSTOM"):
            witness = _at_gateway(bound, reading) or _forbidden(case, bound, policy)
        if not bound:
            continue
        pods = ", ".join(f"{cluster.name}/{proxy.pod}" for cluster, proxy in bound)
        yield Finding(
            causes.POLICY_DENIES,
            Layer.POLICY,
            (
                Fact(of(plane, policy), "spec.action", f"{action}, binds {pods}"),
                Fact(of(plane, policy), "spec.rules", shown(spec_of(policy).get("rules"))),
                *_provider(reading, plane, policy),
            ),
            f"kubectl <{plane.name}> -n {namespace_of(policy)} edit authorizationpolicy {name_of(policy)}",
            witness,
            REFUSED | {causes.CLIENT_NOT_IDENTIFIED.id, causes.POLICY_NOT_ENFORCED.id},
        )
        if action == "ALLOW" and any(proxy.kind == SERVER for _, proxy in bound):
            yield Finding(
                causes.ADMITTED_BY_ANOTHER_POLICY,
                Layer.POLICY,
                (
                    Fact(of(plane, policy), "spec.action", action),
                    Fact(of(plane, policy), "spec.rules", shown(spec_of(policy).get("rules"))),
                ),
                f"kubectl <{plane.name}> -n {namespace_of(policy)} delete authorizationpolicy {name_of(policy)}",
                case.suspected(causes.ADMITTED_BY_ANOTHER_POLICY),
                frozenset({causes.POLICY_NOT_ENFORCED.id}),
            )


def _provider(reading: Reading, plane: Cluster, policy: Object) -> Iterator[Fact]:
    """The provider that a CUSTOM policy asks, and whether the mesh configuration defines it."""
    if name := (spec_of(policy).get("provider") or {}).get("name"):
        defined = [one.get("name") for one in state.mesh_config(reading, plane).get("extensionProviders") or []]
        what = "" if name in defined else f", which extensionProviders do not define: {shown(defined)}"
        yield Fact(of(plane, policy), "spec.provider.name", f"{name}{what}")


def _at_gateway(bound: list[tuple[Cluster, Proxy]], reading: Reading) -> str:
    """A sentence on a gateway that has an authorization filter before the service's connections, and they fail.

    Only of a gateway that logs nothing: the log of another one says of every connection whether the filter denied it.
    """
    for cluster, proxy in bound:
        if proxy.kind != GATEWAY or proxy.log:
            continue
        filtered = any(
            "rbac" in name for one in proxy.listeners for chain in one["chains"] for name in chain["filters"]
        )
        if filtered and (said := state.trouble_at_gateway(reading, cluster)):
            return f"the gateway {proxy.pod} of {cluster.name} has an RBAC filter; {said}"
    return ""


def _forbidden(case: Case, bound: list[tuple[Cluster, Proxy]], policy: Object) -> str:
    """A sentence on refused requests where the pods' own logs were not read."""
    if str(spec_of(policy).get("action") or "ALLOW") == "CUSTOM" or any("log" in proxy.read for _, proxy in bound):
        return ""
    for client, proxy in state.clients(case.reading):
        for line in state.logged(proxy, host=case.reading.host):
            if line.code == _FORBIDDEN:
                return f"{line.count} requests of {client.name}'s {proxy.pod} ended with {line.code}"
    return case.suspected(causes.POLICY_DENIES)


@rule
def request_authentication(case: Case) -> Iterator[Finding]:
    """A RequestAuthentication refuses the tokens of requests."""
    reading = case.reading
    for plane, policy in reading.configs("RequestAuthentication"):
        for cluster, proxy in _bound(reading, plane, policy):
            line = next((one for one in proxy.log if one.code == 401 and "jwt" in one.details.lower()), None)
            yield Finding(
                root_causes.TOKEN_DEMANDED, Layer.POLICY,
                (Fact(of(plane, policy), "spec.jwtRules", shown(spec_of(policy).get("jwtRules"))),),
                f"kubectl <{plane.name}> -n {namespace_of(policy)} edit requestauthentication {name_of(policy)}",
                f"{line.count} requests at {cluster.name}'s {proxy.pod} ended with 401 {line.details}" if line else "",
                REFUSED,
            )  # fmt: skip
