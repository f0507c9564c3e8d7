"""Meshes as people build them: each condition leads to its one consequence, before anything is written."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from splithorizon.base.errors import UsageProblem
from splithorizon.base.paths import SUITES
from splithorizon.conditions import behaviours
from splithorizon.conditions.condition import Effect
from splithorizon.conditions.decide import Decision, decide, described
from splithorizon.conditions.reading import ClusterConditions, MeshConditions
from splithorizon.istio.info import ExternalIstiod
from splithorizon.run import catalogue
from splithorizon.run.catalogue import Profile
from tests.support.mesh_info import mesh_info

Object = dict[str, Any]

NAMESPACE = "splithorizon-run"
OF_EACH = {"kubernetes.io/metadata.name": NAMESPACE, "istio.io/rev": "default"}
LABELS = dict.fromkeys(("primary", "remote"), OF_EACH)
PLAIN = ClusterConditions("primary", network="primary-network", version="1.29.1", arguments=("discovery",))
REMOTE = ClusterConditions("remote", network="remote-network", runs_istiod=False)


def made(kind: str, name: str = "theirs", namespace: str = "istio-system", **spec: Any) -> Object:
    return {"kind": kind, "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def primary(**changes: Any) -> MeshConditions:
    """A mesh whose primary differs from a plain one; objects are given by kind."""
    return MeshConditions((replace(PLAIN, **changes), REMOTE), NAMESPACE, LABELS)


def root(*objects: Object, **mesh: Any) -> MeshConditions:
    kinds = {one["kind"]: tuple(other for other in objects if other["kind"] == one["kind"]) for one in objects}
    return primary(objects=kinds, mesh=mesh)


def policy(action: str | None = None, *rules: Object, **more: Any) -> MeshConditions:
    spec = {**({"action": action} if action else {}), **({"rules": list(rules)} if rules else {}), **more}
    return root(made("AuthorizationPolicy", **spec))


def source(**fields: Any) -> Object:
    return {"from": [{"source": fields}]}


def operation(**fields: Any) -> Object:
    return {"to": [{"operation": fields}]}


def settings(mesh: MeshConditions) -> list[Effect]:
    return [one.effect for one in decide(mesh).conditions]


@dataclass(frozen=True)
class Case:
    """A mesh, the effects of its conditions, and a part of what is said or applied."""

    mesh: MeshConditions
    effects: list[Effect] = field(default_factory=list)
    says: str = ""


NEUTRALISED, CONSIDERED, NOT_CLAIMED, REFUSED, UNKNOWN = Effect

OUTLIERS = {"outlierDetection": {"consecutive5xxErrors": 5}}
EVERYTHING = made("DestinationRule", host="*.local", trafficPolicy=OUTLIERS)

CASES = {
    "a plain mesh": Case(primary()),
    # Policies of the root namespace.
    "default deny": Case(policy(), [NEUTRALISED], "has no rules: it admits nobody"),
    "an ALLOW of the mesh": Case(policy("ALLOW", source(namespaces=["prod"])), [NEUTRALISED]),
    "an ALLOW that binds the gateway alone": Case(
        policy("ALLOW", selector={"matchLabels": {"istio": "eastwestgateway"}})
    ),
    "a DENY of everything": Case(policy("DENY", {}), [NOT_CLAIMED], "AuthorizationPolicy primary/istio-system/theirs"),
    "a DENY of plain text": Case(policy("DENY", source(notPrincipals=["*"]))),
    "a DENY of a path": Case(policy("DENY", operation(paths=["/admin*"]))),
    "a DENY of another namespace": Case(policy("DENY", source(namespaces=["dev"]))),
    "a DENY of all but some namespaces": Case(policy("DENY", source(notNamespaces=["prod"])), [NOT_CLAIMED]),
    "a DENY of a method": Case(policy("DENY", operation(methods=["POST"])), [NOT_CLAIMED]),
    "a DENY by address": Case(policy("DENY", source(ipBlocks=["10.0.0.0/8"])), [NOT_CLAIMED], "may"),
    "a DENY without a token": Case(policy("DENY", source(notRequestPrincipals=["*"])), [NOT_CLAIMED]),
    "a DENY by a header": Case(
        policy("DENY", {"when": [{"key": "request.headers[x-debug]", "values": ["1"]}]}), []
    ),
    "a DENY by something unknown": Case(
        policy("DENY", {"when": [{"key": "connection.sni", "values": ["*"]}]}), [NOT_CLAIMED], "may"
    ),
    "a DENY without rules": Case(policy("DENY")),
    "a DENY in a dry run": Case(
        root({**made("AuthorizationPolicy", action="DENY", rules=[{}]), "metadata": {
            "name": "x", "namespace": "istio-system", "annotations": {"istio.io/dry-run": "true"}}})
    ),
    "an external authorizer": Case(
        policy("CUSTOM", {}, provider={"name": "opa"}), [NOT_CLAIMED], "asks opa about the run's requests"
    ),
    "an external authorizer of other hosts": Case(
        policy("CUSTOM", operation(hosts=["shop.example"]), provider={"name": "opa"})
    ),
    "a policy of another namespace": Case(root(made("AuthorizationPolicy", namespace="prod"))),
    # Where requests go.
    "outlier detection for all": Case(root(EVERYTHING), [NEUTRALISED], "outlierDetection"),
    "a hash for all": Case(
        root(made("DestinationRule", host="*", trafficPolicy={"loadBalancer": {"simple": "RANDOM"}})), [NEUTRALISED]
    ),
    "mutual TLS for all": Case(
        root(made("DestinationRule", host="*.local", trafficPolicy={"tls": {"mode": "ISTIO_MUTUAL"}}))
    ),
    "outlier detection for another domain": Case(
        root(made("DestinationRule", host="*.example.com", trafficPolicy=OUTLIERS))
    ),
    "outlier detection that is not exported": Case(
        root(made("DestinationRule", host="*.local", exportTo=["."], trafficPolicy=OUTLIERS))
    ),
    "traffic distributed by locality": Case(
        root(localityLbSetting={"distribute": [{"from": "eu/*", "to": {"eu/*": 100}}]}), [NEUTRALISED]
    ),
    "locality failover without outlier detection": Case(
        root(localityLbSetting={"failover": [{"from": "eu", "to": "us"}]})
    ),
    "everything is local": Case(
        root(serviceSettings=[{"settings": {"clusterLocal": True}, "hosts": ["*"]}]),
        [REFUSED],
        "no request could leave its cluster",
    ),
    "everything is local but us": Case(
        root(
            serviceSettings=[
                {"settings": {"clusterLocal": True}, "hosts": ["*"]},
                {"settings": {"clusterLocal": False}, "hosts": [f"*.{NAMESPACE}.svc.cluster.local"]},
            ]
        )
    ),
    "another namespace is local": Case(
        root(serviceSettings=[{"settings": {"clusterLocal": True}, "hosts": ["*.shop.svc.cluster.local"]}])
    ),
    "Services are private": Case(root(defaultServiceExportTo=["."]), [NEUTRALISED], "gateways'"),
    "Services are public": Case(root(defaultServiceExportTo=["*"])),
    "REGISTRY_ONLY": Case(root(outboundTrafficPolicy={"mode": "REGISTRY_ONLY"}), [CONSIDERED]),
    "ALLOW_ANY": Case(root(outboundTrafficPolicy={"mode": "ALLOW_ANY"})),
    "clients know their own namespace alone": Case(root(made("Sidecar", "default", egress=[{"hosts": ["./*"]}]))),
    "clients know all namespaces": Case(root(made("Sidecar", "default", egress=[{"hosts": ["shop/*", "*/*"]}]))),
    "clients know other namespaces alone": Case(
        root(made("Sidecar", "default", egress=[{"hosts": ["istio-system/*", "shop/*"]}])),
        [NEUTRALISED],
        "Sidecar splithorizon-egress",
    ),
    "clients know nothing": Case(root(made("Sidecar", "default", egress=[{"hosts": ["~/*"]}])), [NEUTRALISED]),
    "clients of one workload know other namespaces": Case(
        root(made("Sidecar", workloadSelector={"labels": {"app": "x"}}, egress=[{"hosts": ["shop/*"]}]))
    ),
    "a Sidecar without egress": Case(root(made("Sidecar", "default", outboundTrafficPolicy={"mode": "ALLOW_ANY"}))),
    # What istiod is.
    "Istio 1.21": Case(primary(version="1.21.6"), [REFUSED], "1.22"),
    "Istio 1.22": Case(primary(version="1.22.0")),
    "an istiod without a version": Case(primary(version="sha256:0123456789ab")),
    "gateways of istiod's version": Case(
        primary(version="1.29.1", gateway_images={"istio-system/eastwest": "h/proxyv2:1.29.0"})
    ),
    "gateways of the version before": Case(
        primary(version="1.29.1", gateway_images={"istio-system/eastwest": "h:5000/proxyv2:1.28.3-distroless"})
    ),
    "gateways that are too old": Case(
        primary(version="1.29.1", gateway_images={"istio-system/eastwest": "h:5000/proxyv2:1.27.3@sha256:01"}),
        [CONSIDERED],
        "istio-system/eastwest 1.27.3 in primary, istiod 1.29.1",
    ),
    "gateways that are newer than istiod": Case(
        primary(version="1.29.1", gateway_images={"istio-system/eastwest": "h/proxyv2:1.30.0"}),
        [CONSIDERED],
        "istio-system/eastwest 1.30.0",
    ),
    "gateways by digest": Case(
        primary(version="1.29.1", gateway_images={"istio-system/eastwest": "h:5000/proxyv2@sha256:01"})
    ),
    "gateways beside an istiod by digest": Case(
        primary(version="sha256:0123456789ab", gateway_images={"istio-system/eastwest": "h/proxyv2:1.20.0"})
    ),
    "a selector by label": Case(
        root(discoverySelectors=[{"matchLabels": {"istio-discovery": "enabled"}}]),
        [NEUTRALISED],
        "istio-discovery=enabled",
    ),
    "a selector by expression": Case(
        root(discoverySelectors=[{"matchExpressions": [{"key": "env", "operator": "In", "values": ["prod", "dev"]}]}]),
        [NEUTRALISED],
        "env=prod",
    ),
    "a selector that any namespace meets": Case(
        root(discoverySelectors=[{"matchExpressions": [{"key": "env", "operator": "NotIn", "values": ["dev"]}]}]),
        [CONSIDERED],
    ),
    "a selector by name": Case(
        root(discoverySelectors=[{"matchLabels": {"kubernetes.io/metadata.name": "prod"}}]),
        [REFUSED],
        "--namespace-label KEY=VALUE",
    ),
    "no debug endpoints": Case(
        primary(environment={"ENABLE_DEBUG_ON_HTTP": "false"}), [NOT_CLAIMED], "ENABLE_DEBUG_ON_HTTP"
    ),
    "an ambient mesh": Case(
        MeshConditions((PLAIN, replace(REMOTE, has_gateway=False, objects={
            "Service": (made("Service", "eastwest", ports=[{"port": 15008}]),)})), NAMESPACE, LABELS),
        [REFUSED],
        "ambient",
    ),
    "a gateway for both": Case(
        primary(objects={"Service": (made("Service", "eastwest", ports=[{"port": 15008}, {"port": 15443}]),)})
    ),
    "another cluster domain": Case(
        primary(arguments=("discovery", "--domain", "corp.internal")), [CONSIDERED], "corp.internal"
    ),
    "another trust domain": Case(
        root(trustDomain="corp", trustDomainAliases=["cluster.local"]), [CONSIDERED], "aliases cluster.local"
    ),
    "something that may not be read": Case(primary(unread=("Node objects: HTTP 403",)), [UNKNOWN], "HTTP 403"),
    # Logs.
    "a text format": Case(root(accessLogFormat="[%START_TIME%]\n"), [NEUTRALISED], "accessLogFormat"),
    "a JSON format": Case(root(accessLogEncoding="JSON", accessLogFormat='{"a": "%PATH%"}'), [NEUTRALISED]),
    "Istio's own JSON": Case(root(accessLogEncoding="JSON")),
    "another provider": Case(
        root(extensionProviders=[{"name": "envoy", "envoyFileAccessLog": {"logFormat": {"text": "x"}}}]), [NEUTRALISED]
    ),
    "a filter that changes logs": Case(
        root(made("EnvoyFilter", configPatches=[{"patch": {"value": {"typed_config": {"access_log": []}}}}])),
        [NEUTRALISED],
        "changes access_log",
    ),
    "a filter that changes something else": Case(
        root(made("EnvoyFilter", configPatches=[{"patch": {"value": {"typed_config": {"idle_timeout": "1s"}}}}]))
    ),
    # Platforms; these are not tried on the real thing.
    "ARM": Case(primary(objects={"Node": ({"os": "linux", "architecture": "arm64"},)}), [CONSIDERED], "1 linux/arm64"),
    "Windows nodes beside": Case(
        primary(objects={"Node": tuple({"os": each, "architecture": "amd64"} for each in ("linux", "windows"))}),
        [CONSIDERED],
        "1 linux/amd64, 1 windows/amd64",
    ),
    "every node is tainted": Case(
        primary(objects={"Node": (
            {"os": "linux", "architecture": "amd64", "spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]}},)}),
        [CONSIDERED],
        "--overlay",
    ),
    "OpenShift": Case(primary(openshift=True), [CONSIDERED], "name no user"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_condition_has_its_one_consequence(name: str) -> None:
    case = CASES[name]
    decision = decide(case.mesh)
    assert [one.effect for one in decision.conditions] == case.effects
    assert case.says in " ".join(map(str, decision.conditions))


def test_a_refused_mesh_is_bad_input_and_says_what_to_do() -> None:
    refused = decide(CASES["everything is local"].mesh)
    with pytest.raises(
        UsageProblem, match=r"^--contexts a,b: serviceSettings .* clusterLocal .* Nothing was created\.$"
    ):
        refused.require_accepted(("a", "b"))
    for name, case in CASES.items():
        if REFUSED not in case.effects:
            decide(case.mesh).require_accepted((name,))


def test_only_what_neutralises_is_applied_and_only_what_is_not_claimed_is_left_out() -> None:
    for case in CASES.values():
        for one in decide(case.mesh).conditions:
            assert not one.objects or one.effect is NEUTRALISED
            assert not one.namespace_labels or one.effect is NEUTRALISED
            assert bool(one.behaviours) is (one.effect is NOT_CLAIMED)
            assert one.seen
            assert one.consequence


def test_default_deny_is_neutralised_for_identities_of_our_namespace_alone() -> None:
    (admitting,) = decide(CASES["default deny"].mesh).objects
    assert admitting["kind"] == "AuthorizationPolicy"
    assert admitting["spec"] == {"action": "ALLOW", "rules": [source(namespaces=[NAMESPACE])]}


def test_the_meshs_preference_is_replaced_and_its_tls_kept() -> None:
    tls = {"mode": "ISTIO_MUTUAL"}
    mesh = root(made("DestinationRule", host="*.local", trafficPolicy={**OUTLIERS, "tls": tls}))
    (rule,) = decide(mesh).objects
    assert rule["spec"]["host"] == f"*.{NAMESPACE}.svc.cluster.local"
    assert rule["spec"]["trafficPolicy"]["loadBalancer"]["localityLbSetting"] == {"enabled": False}
    assert rule["spec"]["trafficPolicy"]["tls"] == tls
    assert rule["spec"]["exportTo"] == ["."]


def test_the_log_in_our_format_turns_the_meshs_off() -> None:
    objects = {one["kind"]: one for one in decide(CASES["a JSON format"].mesh).objects}
    # Without a provider, in a mesh that has no default one, the accessLogFile of the mesh stays on.
    assert objects["Telemetry"]["spec"] == {"accessLogging": [{"providers": [{"name": "envoy"}], "disabled": True}]}
    assert "EnvoyFilter" in objects


def test_a_mesh_is_described_with_what_follows(tmp_path: Path) -> None:
    mesh = root(
        EVERYTHING, made("AuthorizationPolicy", "deny"), made("AuthorizationPolicy", "no", action="DENY", rules=[{}])
    )
    mesh = replace(mesh, clusters=(replace(mesh.clusters[0], arguments=("--domain=corp.local",)), REMOTE))
    info = described(mesh_info(tmp_path), mesh, decide(mesh))
    assert info.domain == "corp.local"
    assert info.needs_admission
    assert info.traffic_policy["loadBalancer"]["localityLbSetting"] == {"enabled": False}
    assert "istio-system/no" in info.not_claimed["test_both_versions_answer"]
    assert [one.name for one in info.conditions]
    plain = described(mesh_info(tmp_path), primary(), Decision())
    assert (plain.domain, plain.needs_admission, plain.traffic_policy, plain.not_claimed) == (
        "cluster.local", False, {}, {},
    )  # fmt: skip


def test_a_condition_of_two_control_planes_is_applied_once() -> None:
    plane = replace(PLAIN, objects={"AuthorizationPolicy": (made("AuthorizationPolicy"),)})
    mesh = MeshConditions((plane, replace(plane, name="second")), NAMESPACE, LABELS)
    decision = decide(mesh)
    assert [one.effect for one in decision.conditions] == [NEUTRALISED, NEUTRALISED]
    assert len(decision.objects) == 1


def test_what_asks_an_external_istiod_is_claimed_only_where_its_cluster_is_named() -> None:
    named, unnamed = (
        decide(MeshConditions((replace(PLAIN, external_istiod=one),), NAMESPACE, LABELS)).not_claimed
        for one in (ExternalIstiod("north"), ExternalIstiod())
    )
    assert {*named} == {*behaviours.BY_ISTIODS_ADDRESS, *behaviours.DISRUPTIVE}
    assert {*unnamed} - {*named} == {*behaviours.ISTIOD_READ} - {*behaviours.DISRUPTIVE}
    assert "--istiod-context" in unnamed["test_every_cluster_is_watched"]
    disruptive = {one.name for one in catalogue.behaviours(SUITES) if one.profile is Profile.DISRUPTIVE}
    assert disruptive == {*behaviours.DISRUPTIVE}, "nothing of an external control plane is taken away"


def test_every_group_names_behaviours_that_there_are() -> None:
    known = {one.name for one in catalogue.behaviours(SUITES)}
    for group in (
        behaviours.ANSWERED, behaviours.LOGGED, behaviours.PROTOCOLS, behaviours.ISTIOD_ASKED, behaviours.ISTIOD_READ,
        behaviours.BY_ISTIODS_ADDRESS, behaviours.DISRUPTIVE,
    ):  # fmt: skip
        assert set(group) <= known
        assert len(set(group)) == len(group)
    routing = {one.name for one in catalogue.behaviours(SUITES) if one.area == "routing"}
    assert routing <= {*behaviours.ANSWERED, *behaviours.PROTOCOLS}
