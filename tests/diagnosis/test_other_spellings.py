"""The same mistakes in other fields, spellings and objects that Istio treats alike."""

from __future__ import annotations

from typing import Any

import pytest

from splithorizon.diagnosis import causes, root_causes
from splithorizon.diagnosis.causes import Cause
from splithorizon.diagnosis.finding import Case, Symptom
from splithorizon.diagnosis.reading.model import CLIENT, GATEWAY, SERVER, Host
from splithorizon.diagnosis.root_cause import diagnose, of_reading
from tests.support.made_reading import (
    FAR_LOST,
    GATEWAYS,
    HOST,
    OUTBOUND,
    Change,
    Object,
    adds,
    also,
    edits,
    holds,
    logs,
    made,
    mesh,
    near,
    proxies,
    sound,
)


def rule(kind: str, namespace: str = "sample", **spec: Any) -> Change:
    return adds("primary", made(kind, "h", namespace, spec=spec))


def to(host: str = "helloworld", **more: Any) -> list[Object]:
    return [{"destination": {"host": host}, **more}]


def annotated(name: str, pod: str, key: str, value: str) -> Change:
    """A pod has this annotation of its capture."""
    full = {f"traffic.sidecar.istio.io/{key}": value}
    return edits(name, "Pod", pod, lambda one: one["metadata"].update(annotations=full))


def nodes(*names: str) -> Change:
    """Each cluster has a node in a region of its name."""
    return also(
        *(adds(one, made("Node", f"{one}-node", labels={"topology.kubernetes.io/region": one})) for one in names)
    )


DISTRIBUTED = edits(
    "primary", "Service", "helloworld", lambda one: one["spec"].update(trafficDistribution="PreferClose")
)
FULL_AT_SERVER = logs("remote", SERVER, code=503, flags="UO", cluster="inbound|5000||")
LOST_AT_POD = logs("remote", GATEWAY, flags="UF", upstream="10.20.0.3:5000")
TO_ITSELF = {"distribute": [{"from": "primary/*", "to": {"primary/*": 100}}]}

SPELLED: dict[str, tuple[Change, Cause, tuple[str, str]]] = {
    # VirtualServices.
    "a limit of each try": (
        also(
            rule("VirtualService", hosts=["helloworld"],
                 http=[{"retries": {"attempts": 2, "perTryTimeout": "1ms"}, "route": to()}]),
            logs("primary", code=504, flags="UT", cluster=OUTBOUND),
        ),
        causes.REQUEST_TIME_LIMITED,
        ("VirtualService primary/sample/h", "spec.http[0].retries.perTryTimeout"),
    ),
    "no route for a client's short name": (
        also(
            rule("VirtualService", hosts=["helloworld"], http=[{"match": [{"uri": {"prefix": "/x"}}], "route": to()}]),
            logs("primary", code=404, flags="NR", authority="helloworld:5000"),
        ),
        root_causes.RULE_MATCHES_NOTHING,
        ("VirtualService primary/sample/h", "spec.http[].match"),
    ),
    # DestinationRules.
    "plain text at a port of a subset": (
        also(
            rule("VirtualService", hosts=["helloworld"],
                 http=[{"route": [{"destination": {"host": "helloworld", "subset": "all"}}]}]),
            adds("primary", made("DestinationRule", "d", "sample", spec={"host": "helloworld", "subsets": [{
                "name": "all", "labels": {"app": "helloworld"},
                "trafficPolicy": {"portLevelSettings": [{"port": {"number": 5000}, "tls": {"mode": "DISABLE"}}]},
            }]})),
            logs("primary", code=503, flags="UC", cluster=f"outbound|5000|all|{HOST}"),
        ),
        root_causes.RULE_CHANGES_TLS,
        ("DestinationRule primary/sample/d", "spec.subsets[0].trafficPolicy.portLevelSettings[0].tls.mode"),
    ),
    "a distribution of a rule that leaves a cluster out": (
        also(
            rule("DestinationRule", host=HOST, trafficPolicy={"loadBalancer": {"localityLbSetting": TO_ITSELF}}),
            nodes("primary", "remote"), FAR_LOST,
        ),
        causes.LOCALITY_PREFERRED,
        ("DestinationRule primary/sample/h", "spec.trafficPolicy.loadBalancer.localityLbSetting"),
    ),
    "something before mutual TLS": (
        also(
            rule("DestinationRule", host="helloworld", trafficPolicy={"proxyProtocol": {"version": "V1"}}),
            holds("primary", near("primary"), Host(GATEWAYS["remote"], connect_failures=7, requests=7)),
        ),
        root_causes.RULE_CHANGES_TLS,
        ("DestinationRule primary/sample/h", "spec.trafficPolicy.proxyProtocol"),
    ),
    "a time for connections of the whole mesh": (
        also(
            mesh("connectTimeout: 1ms"),
            logs("primary", code=503, flags="UF,URX", cluster=OUTBOUND, upstream=GATEWAYS["remote"]),
        ),
        causes.CONNECTION_CUT,
        ("ConfigMap primary/istio-system/istio", "data.mesh.connectTimeout"),
    ),
    # Policies.
    "a provider that does not answer": (
        also(
            rule("AuthorizationPolicy", action="CUSTOM", provider={"name": "opa"}, rules=[{}]),
            mesh("extensionProviders: [{name: opa}]"),
            logs("remote", SERVER, code=403, flags="UAEX", details="ext_authz_error"),
        ),
        causes.POLICY_DENIES,
        ("AuthorizationPolicy primary/sample/h", "spec.provider.name"),
    ),
    # Sidecar resources.
    "a pool of a Sidecar": (
        also(
            rule("Sidecar", workloadSelector={"labels": {"app": "helloworld"}},
                 inboundConnectionPool={"http": {"http2MaxRequests": 1}}),
            adds("primary", made("DestinationRule", "d", "sample", spec={
                "host": "helloworld", "trafficPolicy": {"connectionPool": {"http": {"http2MaxRequests": 1000}}},
            })),
            FULL_AT_SERVER,
        ),
        root_causes.CONNECTIONS_LIMITED,
        ("Sidecar primary/sample/h", "spec.inboundConnectionPool"),
    ),
    "a pool of a Sidecar's port": (
        also(
            rule("Sidecar", workloadSelector={"labels": {"app": "helloworld"}},
                 ingress=[{"port": {"number": 5000}, "connectionPool": {"http": {"http2MaxRequests": 1}}}]),
            FULL_AT_SERVER,
        ),
        root_causes.CONNECTIONS_LIMITED,
        ("Sidecar primary/sample/h", "spec.ingress[0].connectionPool"),
    ),
    # Services.
    "a distribution in an annotation of another case": (
        also(
            edits("primary", "Service", "helloworld", lambda one: one["metadata"].update(
                annotations={"networking.istio.io/traffic-distribution": "preferclose"})),
            holds("primary", near("primary"), Host(GATEWAYS["remote"], successes=9, priority=1)),
        ),
        root_causes.TRAFFIC_KEPT_NEAR,
        ("Service primary/sample/helloworld", "metadata.annotations networking.istio.io/traffic-distribution"),
    ),
    "a distribution beside outlier detection": (
        also(
            DISTRIBUTED,
            rule("DestinationRule", host="helloworld", trafficPolicy={"outlierDetection": {}, "tls": {
                "mode": "ISTIO_MUTUAL"}}),
            holds("primary", near("primary"), Host(GATEWAYS["remote"], successes=9, priority=1)),
        ),
        root_causes.TRAFFIC_KEPT_NEAR,
        ("Service primary/sample/helloworld", "spec.trafficDistribution"),
    ),
    "a locality of a rule, which goes before that of the Service": (
        also(
            DISTRIBUTED,
            rule("DestinationRule", host=HOST, trafficPolicy={"outlierDetection": {}, "loadBalancer": {
                "localityLbSetting": {"failoverPriority": ["topology.istio.io/network"]}}}),
            holds("primary", near("primary"), Host(GATEWAYS["remote"], successes=9, priority=1)),
        ),
        causes.LOCALITY_PREFERRED,
        ("DestinationRule primary/sample/h", "spec.trafficPolicy.loadBalancer.localityLbSetting"),
    ),
    # Pods.
    "a port that is excluded by number and named by the Service": (
        also(
            edits("remote", "Service", "helloworld", lambda one: one["spec"]["ports"][0].update(targetPort="web")),
            edits("remote", "Pod", "helloworld-1", lambda one: one["spec"]["containers"][0].update(
                ports=[{"containerPort": 5000, "name": "web"}])),
            annotated("remote", "helloworld-1", "excludeInboundPorts", "5000"), LOST_AT_POD,
        ),
        root_causes.TRAFFIC_NOT_CAPTURED,
        ("Pod remote/sample/helloworld-1", "metadata.annotations traffic.sidecar.istio.io/excludeInboundPorts"),
    ),
    "a port that the injector's values exclude": (
        also(
            edits("remote", "Pod", "helloworld-1", lambda one: one["spec"].update(
                initContainers=[{"name": "istio-init", "args": ["istio-iptables", "-b", "*", "-d", "15090,5000"]}])),
            LOST_AT_POD,
        ),
        root_causes.TRAFFIC_NOT_CAPTURED,
        ("Pod remote/sample/helloworld-1", "spec.initContainers istio-init.args -d"),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("broken", "cause", "cite"), SPELLED.values(), ids=SPELLED)
def test_another_spelling_of_a_mistake_is_named_too(broken: Change, cause: Cause, cite: tuple[str, str]) -> None:
    found = of_reading(broken(sound())).root_causes
    assert [one.id for one in found] == [cause.id]
    facts = [(one.object, one.field) for one in found[0].finding.evidence]
    assert any(cite[0] == where and field.startswith(cite[1]) for where, field in facts), facts


NOT_CAPTURED = (Symptom("test_x", "primary", cause_ids=(causes.ACCESS_LOG_OFF.id,)),)


@pytest.mark.parametrize(
    ("key", "value", "accused"),
    [
        ("excludeOutboundIPRanges", "169.254.169.254/32", False),
        ("excludeOutboundIPRanges", "169.254.169.254/32, 10.96.0.0/12", True),
        ("includeOutboundIPRanges", "*", False),
        ("includeOutboundIPRanges", "10.96.0.0/12,10.10.0.0/16,10.89.0.0/16", False),
        ("includeOutboundIPRanges", "192.0.2.0/24", True),
        ("includeOutboundIPRanges", "", True),
        ("includeOutboundPorts", "8080", False),
        ("excludeOutboundPorts", "5000", True),
    ],
)
def test_a_client_is_not_captured_where_the_services_address_or_port_is_left_out(
    key: str, value: str, accused: bool
) -> None:
    reading = annotated("primary", "sleep-1", key, value)(sound())
    found = [one.id for one in diagnose(Case(reading, NOT_CAPTURED)).root_causes]
    assert (root_causes.TRAFFIC_NOT_CAPTURED.id in found) is accused


TELEMETRY = made("Telemetry", "h", "sample", spec={"accessLogging": [{"providers": [{"name": "otel"}]}]})


@pytest.mark.parametrize("written", [True, False])
def test_a_telemetry_with_another_provider_leaves_no_line_at_standard_output(written: bool) -> None:
    silent = () if written else ({"access_log": [{"path": ""}]},)
    listeners = sound()["primary"].of(CLIENT)[0].listeners if written else ({"name": "x", "chains": [*silent]},)
    reading = also(
        adds("primary", TELEMETRY), *(proxies(one, CLIENT, listeners=listeners) for one in ("primary", "remote"))
    )(sound())
    found = diagnose(Case(reading, NOT_CAPTURED)).root_causes
    assert [one.id for one in found] == [causes.ACCESS_LOG_OFF.id] * (not written)
    if found:
        (fact,) = found[0].finding.evidence
        assert (fact.object, fact.field) == ("Telemetry primary/sample/h", "spec.accessLogging[0].providers")


def test_a_short_life_of_certificates_is_found_where_the_pods_environment_has_it() -> None:
    def edit(one: Object) -> None:
        one["spec"]["containers"][1]["env"] = [{"name": "SECRET_TTL", "value": "2m"}]

    asked = (Symptom("test_x", cause_ids=(causes.CERTIFICATE_SHORT_LIVED.id,)),)
    (found,) = diagnose(Case(edits("remote", "Pod", "helloworld-1", edit)(sound()), asked)).root_causes
    assert found.id == causes.CERTIFICATE_SHORT_LIVED.id
    assert found.finding.evidence[0].field == "env SECRET_TTL"


def test_the_id_of_requests_is_changed_at_a_routes_destination_too() -> None:
    headers = {"request": {"set": {"x-request-id": "same"}}}
    reading = rule("VirtualService", hosts=["helloworld"], http=[{"route": to(headers=headers)}])(sound())
    asked = (Symptom("test_x", cause_ids=(causes.REQUEST_ID_CHANGED.id,)),)
    (found,) = diagnose(Case(reading, asked)).root_causes
    assert found.finding.evidence[0].field == "spec.http[0].route[0].headers.request"


def test_an_istiod_that_is_not_ready_is_not_spared_for_one_of_another_revision() -> None:
    other = made(
        "Pod", "istiod-old", "istio-system", {"app": "istiod", "istio.io/rev": "old"},
        status={"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    )  # fmt: skip

    def pulls(one: Object) -> None:
        waiting = {"name": "discovery", "image": "nowhere/x", "state": {"waiting": {"reason": "ImagePullBackOff"}}}
        one["status"].update(conditions=[], containerStatuses=[waiting])

    broken = also(adds("primary", other), edits("primary", "Pod", "istiod-1", pulls))
    assert [one.id for one in of_reading(broken(sound())).root_causes] == [causes.IMAGE_NOT_PULLED.id]


@pytest.mark.parametrize(("policy", "accused"), [("{attempts: 0}", True), ("{}", True), ("{attempts: 2}", False)])
def test_retries_of_the_whole_mesh_are_changed_by_its_configuration(policy: str, accused: bool) -> None:
    asked = (Symptom("test_x", cause_ids=(causes.RETRIES_CHANGED.id,)),)
    found = diagnose(Case(mesh(f"defaultHttpRetryPolicy: {policy}")(sound()), asked)).root_causes
    assert [one.id for one in found] == [causes.RETRIES_CHANGED.id] * accused
