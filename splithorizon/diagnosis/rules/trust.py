"""Roots that differ, and mutual TLS that is switched off or not demanded."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from splithorizon.base.addresses import host_of
from splithorizon.diagnosis import causes, identities, root_causes, scope, state
from splithorizon.diagnosis.finding import Case, Fact, Finding, Layer, of, rule, shown
from splithorizon.diagnosis.reading.model import (
    GATEWAY,
    Cluster,
    Object,
    Proxy,
    Reading,
    labels_of,
    name_of,
    namespace_of,
    spec_of,
)
from splithorizon.diagnosis.rules.client_rules import failing
from splithorizon.diagnosis.rules.follows import UNREACHED
from splithorizon.istio import certificates
from splithorizon.istio.names import DEFAULT_DOMAIN, NO_TRUST_DOMAIN, ROOT_CONFIG_MAP

_ROOT = "root-cert.pem"


@rule
def roots(case: Case) -> Iterator[Finding]:
    """The pods of two clusters are given different roots to trust."""
    reading = case.reading
    found: list[tuple[Cluster, Object, str]] = []
    for cluster in reading.clusters:
        one = cluster.get("ConfigMap", ROOT_CONFIG_MAP, reading.namespace)
        if one and (text := (one.get("data") or {}).get(_ROOT, "").strip()):
            found.append((cluster, one, hashlib.sha256(text.encode()).hexdigest()[:16]))
    if len({one[2] for one in found}) < 2:
        return
    yield Finding(
        causes.ROOTS_DIFFER,
        Layer.TRUST,
        tuple(
            Fact(of(cluster, one, "ConfigMap"), f"data.{_ROOT}", f"SHA-256 {digest}") for cluster, one, digest in found
        ),
        "give every cluster the same root (cacerts), or trust both until the change is over",
        ("" if _overlap(one for _, one, _ in found) else identities.unverified(reading))
        or case.suspected(causes.ROOTS_DIFFER),
        UNREACHED | {causes.ROOTS_DIFFER.id, causes.ISTIOD_MAY_NOT_WRITE.id},
    )


def _overlap(config_maps: Iterable[Object]) -> bool:
    """Whether all bundles have a root in common, as while roots are changed: then proxies' certificates decide."""
    bundles = [{*identities.parsed(one["data"][_ROOT])} for one in config_maps]
    return bool(set[x509.Certificate].intersection(*bundles))


@rule
def chains(case: Case) -> Iterator[Finding]:
    """The certificate of a client or a pod leads to none of the roots that the other trusts, by their Envoys."""
    reading = case.reading
    for home, client in state.clients(reading):
        for cluster, server in state.servers(reading):
            facts = [*_untrusted(home, client, cluster, server), *_untrusted(cluster, server, home, client)]
            if not facts:
                continue
            where = (
                state.pod_addresses(reading, cluster)
                if home.network == cluster.network
                else {host_of(address) for address in state.gateway_addresses(reading, cluster)}
            )
            yield Finding(
                causes.ROOTS_DIFFER,
                Layer.TRUST,
                tuple(facts),
                "let both trust both roots until every pod has a certificate of the new one, and restart the pods that "
                "have none",
                _not_connected(home, client, reading.host, frozenset(where)) or identities.unverified(reading),
                UNREACHED | {causes.ROOTS_DIFFER.id, causes.ISTIOD_MAY_NOT_WRITE.id},
            )


def _untrusted(one: Cluster, proxy: Proxy, other: Cluster, judge: Proxy) -> Iterator[Fact]:
    """What shows that a proxy's certificate is none for another one; nothing where it is, or was not read."""
    chain, roots = identities.parsed(proxy.certificate), identities.parsed(judge.trusted)
    if not chain or not roots or certificates.trust_problem(chain[0], chain[1:], roots) != certificates.NO_ROOT:
        return
    yield Fact(
        f"Envoy {one.name}/{proxy.namespace}/{proxy.pod}",
        "secret default",
        f"certificate of issuer {_named(chain[-1].issuer)}, which leads to none of the roots below",
    )
    yield Fact(
        f"Envoy {other.name}/{judge.namespace}/{judge.pod}",
        "secret ROOTCA",
        ", ".join(f"{_named(root.subject)} (SHA-256 {root.fingerprint(hashes.SHA256()).hex()[:16]})" for root in roots),
    )


def _named(name: x509.Name) -> str:
    return name.rfc4514_string() or "without a name"


def _not_connected(home: Cluster, client: Proxy, host: str, where: frozenset[str]) -> str:
    """A sentence on connections of a client that failed at one of the addresses; empty without any."""
    for hosts in state.held(client, host).values():
        for one in hosts:
            if host_of(one.address) in where and one.connect_failures:
                return (
                    f"the sidecar of {home.name}'s {client.pod} failed {one.connect_failures} times to connect to "
                    f"{one.address}"
                )
    return ""


@rule
def trust_domain(case: Case) -> Iterator[Finding]:
    """Pods of the service, or clients, have certificates of a trust domain that an istiod does not name.

    Each istiod has to name the trust domains of the others too: its proxies meet theirs on both sides of a request.
    """
    reading = case.reading
    for plane, cluster in itertools.product(reading.config_clusters, reading.clusters):
        config, found = state.mesh_config(reading, plane), state.config_map(reading, plane)
        if found is None:
            continue
        domain, aliases = str(config.get("trustDomain") or DEFAULT_DOMAIN), config.get("trustDomainAliases") or []
        facts = [
            Fact(f"Envoy {cluster.name}/{proxy.namespace}/{proxy.pod}", "secret default", f"certificate of {identity}")
            for proxy in cluster.proxies
            for identity in identities.of_proxy(proxy)
            if identity.removeprefix("spiffe://").partition("/")[0] not in (domain, *map(str, aliases))
        ]
        if facts:
            yield Finding(
                root_causes.TRUST_DOMAIN_CHANGED,
                Layer.TRUST,
                (
                    Fact(of(plane, found), "data.mesh.trustDomain", domain),
                    Fact(of(plane, found), "data.mesh.trustDomainAliases", shown(aliases)),
                    *facts,
                ),
                "name the former trust domain among trustDomainAliases until every pod was restarted"
                if cluster.control_plane == plane.name
                else f"name the trust domain of {cluster.name} among trustDomainAliases of {plane.name}",
                # In TLS 1.3 a server refuses after the handshake: the client sees its connection reset, and no reason.
                identities.unverified(reading) or failing(reading, reading.host, ("UC",)),
                UNREACHED | {causes.TRUST_DOMAIN_DIFFERS.id, causes.POLICY_DENIES.id},
            )


@rule
def identities_without_trust_domain(case: Case) -> Iterator[Finding]:
    """An istiod gave clients identities without a trust domain for a Service's endpoints.

    Istio 1.29.0 and 1.29.1 do so (istio/istio#59474): istiod may read a remote cluster's pods before its mesh
    configuration, mostly where its machine is busy, and then sends ``spiffe:///ns/sample/sa/default`` until the pods
    change. A Service with other pods of that account hides it.
    """
    for cluster, client in state.clients(case.reading):
        plane = state.control_plane_of(case.reading, cluster)
        facts = [
            Fact(
                f"Envoy {cluster.name}/{client.namespace}/{client.pod}",
                f"cluster {name}, match_subject_alt_names",
                ", ".join(one["expected_identities"]),
            )
            for name, one in client.clusters.items()
            if any(identity.startswith(NO_TRUST_DOMAIN) for identity in one.get("expected_identities", ()))
        ]
        if facts:
            yield Finding(
                root_causes.IDENTITY_WITHOUT_TRUST_DOMAIN,
                Layer.TRUST,
                tuple(facts),
                f"kubectl <{plane.name}> -n {plane.system_namespace} rollout restart deployment -l app=istiod",
                identities.unverified(case.reading),
                UNREACHED | {causes.ROOTS_DIFFER.id, causes.TRUST_DOMAIN_DIFFERS.id},
            )


@rule
def peer_authentication(case: Case) -> Iterator[Finding]:
    """A PeerAuthentication switches mutual TLS off for the service's pods, or lets plain text in."""
    reading = case.reading
    for plane, policy in reading.configs("PeerAuthentication"):
        bound = [
            (cluster, pod)
            for cluster in reading.clusters
            if cluster.control_plane == plane.name
            for pod in state.pods_of(reading, cluster)
            if scope.binds(policy, state.root_namespace(reading, plane), reading.namespace, labels_of(pod))
            and not _narrower(reading, plane, policy, pod)
        ]
        if not bound:
            continue
        for field, mode in _modes(reading, policy, bound).items():
            if mode == "DISABLE":
                # Clients of another primary do not know the policy: they ask the gateway, which passes nothing on.
                lost = (
                    state.lacking(reading, cluster, far_only=True) or _ends_at_gateways(reading, cluster)
                    for cluster, _ in bound
                )
                yield Finding(
                    causes.NO_MUTUAL_TLS,
                    Layer.TRUST,
                    (
                        Fact(of(plane, policy), field, mode),
                        Fact(of(plane, policy), "spec.selector", _binds(policy, bound)),
                    ),
                    f"kubectl <{plane.name}> -n {namespace_of(policy)} delete peerauthentication {name_of(policy)}, "
                    "or let it be PERMISSIVE",
                    next(filter(None, lost), "") or case.suspected(causes.NO_MUTUAL_TLS),
                    UNREACHED | {causes.PLAIN_TEXT_ADMITTED.id, causes.NO_CLIENT_CERTIFICATE_DEMANDED.id,
                                 causes.CLIENT_NOT_IDENTIFIED.id, causes.POLICY_DENIES.id},
                )  # fmt: skip
            elif mode == "PERMISSIVE":
                yield Finding(
                    causes.PLAIN_TEXT_ADMITTED,
                    Layer.TRUST,
                    (
                        Fact(of(plane, policy), field, mode),
                        Fact(of(plane, policy), "spec.selector", _binds(policy, bound)),
                    ),
                    f"let {name_of(policy)} be STRICT, or delete it",
                    case.suspected(causes.PLAIN_TEXT_ADMITTED),
                    frozenset({causes.PLAIN_TEXT_ADMITTED.id}),
                )


def _modes(reading: Reading, policy: Object, bound: list[tuple[Cluster, Object]]) -> dict[str, str]:
    """The modes of a policy that are in force for the Service's ports at its pods, each by its field."""
    spec = spec_of(policy)
    # Without a selector Istio reads no modes of ports.
    of_ports = (spec.get("portLevelMtls") or {}) if scope.selector_of(policy) else {}
    own = {int(port): str((one or {}).get("mode") or "UNSET") for port, one in of_ports.items()}
    targets = {
        scope.target_of(port, pod)
        for cluster, pod in bound
        for port in scope.ports(state.service_of(reading, cluster) or {})
    }
    set_apart = {port for port, mode in own.items() if mode != "UNSET"}
    modes = {f"spec.portLevelMtls.{port}.mode": own[port] for port in set_apart & targets}
    if not targets or targets - set_apart:
        modes["spec.mtls.mode"] = str((spec.get("mtls") or {}).get("mode", ""))
    return modes


def _ends_at_gateways(reading: Reading, cluster: Cluster) -> str:
    """A sentence on requests that a cluster's gateways do not pass on; empty where one of them does, or none came."""
    ends = [state.passes_nothing(reading, cluster, proxy) for proxy in cluster.of(GATEWAY)]
    failed = state.trouble_at_gateway(reading, cluster)
    return f"{failed}; {ends[0]}" if failed and ends and all(ends) else ""


def _narrower(reading: Reading, plane: Cluster, policy: Object, pod: Object) -> bool:
    """Whether another policy is in force for a pod: of a workload before the namespace's, before the mesh's.

    Of two alike it is the older one. Of the root namespace Istio takes none with a selector.
    """
    mine = _rank(reading, plane, policy)
    return mine[0] == _NEVER or any(
        _rank(reading, plane, other) < mine
        for other in plane.all("PeerAuthentication")
        if other is not policy
        and scope.binds(other, state.root_namespace(reading, plane), reading.namespace, labels_of(pod))
        and str((spec_of(other).get("mtls") or {}).get("mode", "UNSET")) != "UNSET"
    )


_NEVER = 3


def _rank(reading: Reading, plane: Cluster, policy: Object) -> tuple[int, str]:
    created = str(policy["metadata"].get("creationTimestamp", ""))
    of_root = namespace_of(policy) == state.root_namespace(reading, plane)
    if scope.selector_of(policy):
        return (_NEVER if of_root else 0), created
    return (2 if of_root and namespace_of(policy) != reading.namespace else 1), created


def _binds(policy: Object, bound: list[tuple[Cluster, Object]]) -> str:
    selector = scope.selector_of(policy)
    pods = ", ".join(f"{cluster.name}/{name_of(pod)}" for cluster, pod in bound)
    return f"{shown(dict(selector)) if selector else 'none'}, binds {pods}"
