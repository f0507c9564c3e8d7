"""Settings that are unusual and harmless beside a fault that no rule knows: they are not accused of its effects."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from splithorizon.diagnosis import causes, state
from splithorizon.diagnosis.finding import Case, Symptom
from splithorizon.diagnosis.reading.model import CLIENT, SERVER, Host
from splithorizon.diagnosis.root_cause import diagnose, of_reading
from splithorizon.istio import certificates
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
    pod,
    proxies,
    sound,
)

REFUSED = logs(
    "primary", code=503, flags="UF,URX", cluster=OUTBOUND, upstream=GATEWAYS["remote"],
    failure="delayed_connect_error:_Connection_refused",
)  # fmt: skip
LATE = logs(
    "primary", code=503, flags="UF,URX", cluster=OUTBOUND, upstream=GATEWAYS["remote"], failure="connection timeout"
)
NEVER_THERE = holds("primary", near("primary"), Host(GATEWAYS["remote"], connect_failures=7, requests=7))
TWO_PRIORITIES = holds("primary", near("primary"), Host(GATEWAYS["remote"], successes=9, requests=9, priority=1))
PLAIN = {"tls": {"mode": "DISABLE"}}


def rule(kind: str, namespace: str = "sample", annotations: dict[str, str] | None = None, **spec: Any) -> Change:
    return adds("primary", made(kind, "h", namespace, annotations=annotations, spec=spec))


def destination(**policy: Any) -> Change:
    return rule("DestinationRule", host="helloworld", trafficPolicy=policy)


def routed(*routes: Object) -> Change:
    return proxies("primary", CLIENT, hosts=({"domains": [HOST], "name": HOST, "routes": list(routes)},))


def goes_to(cluster: str, **match: Any) -> Object:
    return {"match": {"prefix": "/", **match}, "route": {"cluster": cluster}}


def http(*routes: Object) -> Change:
    return rule("VirtualService", hosts=["helloworld"], http=list(routes))


def to(host: str = "helloworld", **more: Any) -> list[Object]:
    return [{"destination": {"host": host, **more}}]


CANARY = {"headers": {"x-canary": {"exact": "yes"}}}
CANARY_IN_ENVOY = {"headers": [{"name": "x-canary", "string_match": {"exact": "yes"}}]}
HEALTH = {"uri": {"exact": "/healthz"}}


def pods_annotations(name: str, pod_name: str, **annotations: str) -> Change:
    full = {f"traffic.sidecar.istio.io/{key}": value for key, value in annotations.items()}
    return edits(name, "Pod", pod_name, lambda one: one["metadata"].update(annotations=full))


def filtering(apply_to: str, value: Any, app: str = "sleep", **match: Any) -> Change:
    operation = match.pop("operation", "MERGE")
    patch = {"applyTo": apply_to, "match": match, "patch": {"operation": operation, "value": value}}
    return rule("EnvoyFilter", workloadSelector={"labels": {"app": app}}, configPatches=[patch])


def at_gateway(apply_to: str, value: Any, **match: Any) -> Change:
    patch = {"applyTo": apply_to, "match": {"context": "GATEWAY", **match}, "patch": {"value": value}}
    selector = {"labels": {"istio": "eastwestgateway"}}
    return rule("EnvoyFilter", "istio-system", workloadSelector=selector, configPatches=[patch])


def root(text: str) -> str:
    name, key = certificates.name(text), certificates.new_key()
    return certificates.authority(name, key, issuer=name, issuer_key=key).public_bytes(Encoding.PEM).decode()


def trusts(name: str, bundle: str) -> Change:
    return edits(
        name, "ConfigMap", "istio-ca-root-cert", lambda one: one.update(data={"root-cert.pem": bundle})
    )  # fmt: skip


OLD_ROOT, NEW_ROOT = root("Root 0"), root("Root 1")
FAULT = {"name": "envoy.filters.http.fault", "typed_config": {"abort": {"http_status": 503}}}
BREAKERS = {"circuit_breakers": {"thresholds": [{"max_requests": 1}]}}
OVERFLOWS = logs("primary", code=503, flags="UO", cluster=OUTBOUND)
DENIED = logs("remote", SERVER, code=403, details="rbac_access_denied_matched_policy[none]")
UNREADY = [{"type": "Ready", "status": "False", "message": "containers with unready status: [discovery]"}]


def unready(name: str, pod_name: str, labels: dict[str, str]) -> Change:
    """One pod more in the system namespace, which is not ready."""
    one = pod(pod_name, "istio-system", "10.10.0.99", labels, sidecar=False)
    one["status"]["conditions"] = UNREADY
    return adds(name, one)


def worker_without_pods() -> Change:
    failure = {"type": "ReplicaFailure", "status": "True", "message": "pods is forbidden: exceeded quota"}
    spec = {"replicas": 1, "template": {"metadata": {"labels": {"app": "worker"}}}}
    return adds("remote", made("Deployment", "worker", "sample", spec=spec, status={"conditions": [failure]}))


def ports(name: str, *numbers: int, target: Any = None) -> Change:
    found = [{"name": f"http-{one}", "port": one, **({"targetPort": target} if target else {})} for one in numbers]
    return edits(name, "Service", "helloworld", lambda one: one["spec"].update(ports=found))


def declared(*found: Object) -> Change:
    return edits("remote", "Pod", "helloworld-1", lambda one: one["spec"]["containers"][0].update(ports=list(found)))


INNOCENT: dict[str, Change] = {
    # DestinationRules.
    "plain text at a port that the Service does not have": also(
        destination(portLevelSettings=[{"port": {"number": 9090}, **PLAIN}]), FAR_LOST
    ),
    "plain text that the port's own settings replace": also(
        destination(**PLAIN, portLevelSettings=[{"port": {"number": 5000}, "tls": {"mode": "ISTIO_MUTUAL"}}]), FAR_LOST
    ),
    "plain text of a subset that no route uses": also(
        rule("DestinationRule", host="helloworld", subsets=[{"name": "old", "trafficPolicy": PLAIN}]), FAR_LOST
    ),
    "plain text of other clients": also(
        rule(
            "DestinationRule", host="helloworld", trafficPolicy=PLAIN,
            workloadSelector={"matchLabels": {"app": "batch"}},
        ),
        FAR_LOST,
    ),
    "a limit of other clients": also(
        rule(
            "DestinationRule", host="helloworld", trafficPolicy={"connectionPool": {"http": {"http2MaxRequests": 9}}},
            workloadSelector={"matchLabels": {"app": "batch"}},
        ),
        OVERFLOWS,
    ),
    "a usual time for connections": also(destination(connectionPool={"tcp": {"connectTimeout": "10s"}}), LATE),
    "a time for connections that are refused": also(
        destination(connectionPool={"tcp": {"connectTimeout": "2s"}}), REFUSED
    ),
    "failover between localities": also(
        destination(loadBalancer={"localityLbSetting": {"failover": [{"from": "a", "to": "b"}]}}),
        holds(
            "primary", Host("10.10.0.4:5000", successes=9, locality="a"),
            Host(GATEWAYS["remote"], connect_failures=7, requests=7, locality="b"),
        ),
    ),
    "an ejection of what never answers": also(
        destination(outlierDetection={"consecutive5xxErrors": 5}),
        holds(
            "primary", near("primary"),
            Host(GATEWAYS["remote"], connect_failures=7, requests=7, health=("failed_outlier_check",)),
        ),
    ),
    "plain text of a rule that another one outdoes": also(
        adds("primary", made(
            "DestinationRule", "all", "istio-system", spec={"host": "*.local", "trafficPolicy": PLAIN}
        )),
        destination(connectionPool={"tcp": {"maxConnections": 1000}}),
        proxies("primary", CLIENT, clusters={OUTBOUND: {
            "metadata": {"filter_metadata": {"istio": {"config": "…/namespaces/sample/destination-rule/h"}}},
        }}),
        FAR_LOST,
    ),
    "a name that no gateway is told, which refuses": also(
        destination(tls={"mode": "ISTIO_MUTUAL", "sni": HOST}), REFUSED
    ),
    "a header that no gateway is told, which refuses": also(destination(proxyProtocol={"version": "V1"}), REFUSED),
    # VirtualServices.
    "a canary by its header": also(
        http({"match": [CANARY], "route": to("canary")}, {"route": to()}),
        routed(goes_to("outbound|5000||canary.sample.svc.cluster.local", **CANARY_IN_ENVOY), goes_to(OUTBOUND)),
        NEVER_THERE,
    ),
    "a subset by its header": also(
        rule("DestinationRule", host="helloworld", subsets=[{"name": "v2", "labels": {"version": "v2"}}]),
        http({"match": [CANARY], "route": to(subset="v2")}, {"route": to()}),
        proxies("primary", CLIENT, endpoints={
            OUTBOUND: (near("primary"), Host(GATEWAYS["remote"], connect_failures=7, requests=7)),
            f"outbound|5000|v2|{HOST}": (Host(GATEWAYS["remote"], connect_failures=7, requests=7),),
        }),
        routed(goes_to(f"outbound|5000|v2|{HOST}", **CANARY_IN_ENVOY), goes_to(OUTBOUND)),
    ),
    "an answer to one path": also(
        http({"match": [HEALTH], "directResponse": {"status": 200}}, {"route": to()}),
        routed(
            {
                "match": {"path": "/healthz"}, "direct_response": {"status": 200},
                "metadata": {"filter_metadata": {"istio": {"config": "…/namespaces/sample/virtual-service/h"}}},
            },
            goes_to(OUTBOUND),
        ),
        NEVER_THERE,
    ),
    "a fault with another status": also(
        http({"match": [CANARY], "fault": {"abort": {"httpStatus": 418}}, "route": to()}, {"route": to()}),
        logs("primary", code=503, flags="FI", details="fault_filter_abort", cluster=OUTBOUND),
    ),
    "a fault for other clients": also(
        http(
            {"match": [{"sourceLabels": {"app": "batch"}}], "fault": {"abort": {"httpStatus": 503}}, "route": to()},
            {"route": to()},
        ),
        logs("primary", code=503, flags="FI", details="fault_filter_abort", cluster=OUTBOUND),
    ),
    "a time limit of another route": also(
        http({"name": "slow", "timeout": "30s", "route": to()}, {"name": "rest", "route": to()}),
        logs("primary", code=504, flags="UT", cluster=OUTBOUND, route="rest"),
    ),
    "a match of every path": also(
        http({"match": [{"uri": {"prefix": "/"}}], "route": to()}),
        logs("primary", code=404, flags="NR", authority="helloworld.sample:5000"),
    ),
    "a rule that another one outdoes": also(
        rule("VirtualService", hosts=["*.sample.svc.cluster.local"], http=[{"timeout": "30s", "route": to()}]),
        routed({
            **goes_to(OUTBOUND),
            "metadata": {"filter_metadata": {"istio": {"config": "…/namespaces/sample/virtual-service/other"}}},
        }),
        logs("primary", code=504, flags="UT", cluster=OUTBOUND),
    ),
    # Policies.
    "a policy that is only tried": also(
        rule("AuthorizationPolicy", annotations={"istio.io/dry-run": "true"}, rules=[{}]), DENIED
    ),
    "plain text at another port of the pods": also(
        rule(
            "PeerAuthentication", selector={"matchLabels": {"app": "helloworld"}},
            portLevelMtls={"9090": {"mode": "DISABLE"}},
        ),
        FAR_LOST,
    ),
    "plain text at a port, without a selector": also(
        rule("PeerAuthentication", mtls={"mode": "STRICT"}, portLevelMtls={"5000": {"mode": "DISABLE"}}), FAR_LOST
    ),
    "a workload's policy in the root namespace": also(
        rule("PeerAuthentication", "istio-system", selector={"matchLabels": {"app": "helloworld"}},
             mtls={"mode": "DISABLE"}),
        FAR_LOST,
    ),
    # Sidecar resources.
    "a port that the Service names": also(
        ports("remote", 5000, target="http"),
        ports("primary", 5000, target="http"),
        *(
            edits(one, "Pod", "helloworld-1",
                  lambda found: found["spec"]["containers"][0].update(ports=[{"containerPort": 5000, "name": "http"}]))
            for one in ("primary", "remote")
        ),
        rule("Sidecar", workloadSelector={"labels": {"app": "helloworld"}}, ingress=[{"port": {"number": 5000}}]),
        LATE,
    ),
    "another port that a Sidecar leaves out": also(
        ports("primary", 5000, 9090), ports("remote", 5000, 9090), *(
            proxies(one, CLIENT, endpoints={
                f"outbound|{port}||{HOST}": (near(one), Host(GATEWAYS[other])) for port in (5000, 9090)
            })
            for one, other in (("primary", "remote"), ("remote", "primary"))
        ),
        rule("Sidecar", workloadSelector={"labels": {"app": "helloworld"}}, ingress=[{"port": {"number": 5000}}]),
        LATE,
    ),
    # EnvoyFilters.
    "a filter of another version": also(
        filtering("CLUSTER", BREAKERS, proxy={"proxyVersion": r"^1\.9.*"}),
        proxies("primary", CLIENT, metadata={"NETWORK": "primary-network", "CLUSTER_ID": "primary",
                                             "ISTIO_VERSION": "1.29.1"}),
        OVERFLOWS,
    ),
    "a filter of another Service": also(
        filtering("CLUSTER", BREAKERS, cluster={"service": "payments.shop.svc.cluster.local"}), OVERFLOWS
    ),
    "the time limit of a filter's own service": also(
        filtering("HTTP_FILTER", {"name": "x", "typed_config": {"grpc_service": {"timeout": "0.25s"}}}),
        logs("primary", code=504, flags="UT", cluster=OUTBOUND),
    ),
    "a filter of what comes in, at a client": also(
        filtering("HTTP_FILTER", FAULT, context="SIDECAR_INBOUND"),
        logs("primary", code=503, flags="FI", details="fault_filter_abort", cluster=OUTBOUND),
    ),
    "a filter's fault with another status": also(
        filtering("HTTP_FILTER", FAULT, context="SIDECAR_OUTBOUND"),
        logs("primary", code=418, flags="FI", details="fault_filter_abort", cluster=OUTBOUND),
    ),
    "a filter of clusters, where a listener is refused": also(
        filtering("CLUSTER", {"connect_timeout": "5s"}),
        proxies("primary", CLIENT, rejected=({"name": "0.0.0.0_5000", "details": "duplicate filter chain"},)),
    ),
    "a filter that is taken out": also(
        filtering("HTTP_FILTER", None, operation="REMOVE",
                  listener={"filterChain": {"filter": {"subFilter": {"name": "envoy.filters.http.grpc_stats"}}}}),
        REFUSED,
    ),
    "a filter's answer to one path": also(
        filtering("HTTP_ROUTE", {"name": "health", "match": {"path": "/healthz"}, "direct_response": {"status": 200}}),
        REFUSED,
    ),
    "a limit of connections at a gateway that refuses": also(
        at_gateway("NETWORK_FILTER", {"name": "envoy.filters.network.connection_limit"}), REFUSED
    ),
    "a limit at another port of the gateway": also(
        at_gateway("NETWORK_FILTER", {"name": "envoy.filters.network.connection_limit"}, listener={"portNumber": 8443}),
        logs("primary", code=503, flags="UF,URX", cluster=OUTBOUND, upstream=GATEWAYS["remote"], failure="TLS_error"),
    ),
    # Services.
    "a target port that is not declared": also(
        ports("remote", 5000, target=5000), ports("primary", 5000, target=5000),
        declared({"containerPort": 9090, "name": "metrics"}), REFUSED,
    ),
    "a port that one cluster alone has and nobody asks for": also(
        ports("primary", 5000, 9090), ports("remote", 5000), *(
            proxies(one, CLIENT, endpoints={
                OUTBOUND: (near(one), Host(GATEWAYS[other], successes=9)), f"outbound|9090||{HOST}": (near(one),),
            })
            for one, other in (("primary", "remote"), ("remote", "primary"))
        ),
    ),
    "a webhook of a tag that nobody asks for": also(
        adds("remote", made(
            "MutatingWebhookConfiguration", "istio-revision-tag-prod",
            labels={"app": "sidecar-injector", "istio.io/tag": "prod", "istio.io/rev": "1-20"},
            webhooks=[{"name": "x", "clientConfig": {
                "caBundle": "3 characters", "service": {"name": "istiod-1-20", "namespace": "istio-system"},
            }}],
        )),
        NEVER_THERE,
    ),
    "an entry with the pods' own addresses": also(
        rule("ServiceEntry", hosts=[HOST], resolution="STATIC", endpoints=[{"address": "10.10.0.4"}]), NEVER_THERE
    ),
    # Pods.
    "a second istiod that is not ready": also(
        unready("primary", "istiod-2", {"app": "istiod", "istio.io/rev": "default"}), NEVER_THERE
    ),
    "an istiod of another revision": also(
        unready("primary", "istiod-old", {"app": "istiod", "istio.io/rev": "old"}), NEVER_THERE
    ),
    "a second gateway that is not ready": also(
        unready("remote", "istio-eastwestgateway-2", {"app": "istio-eastwestgateway", "istio": "eastwestgateway"}),
        NEVER_THERE,
    ),
    "another's pods that are not created": also(worker_without_pods(), NEVER_THERE),
    "a port that is added to those captured": also(
        pods_annotations("primary", "sleep-1", includeOutboundPorts="8080"), NEVER_THERE
    ),
    # Gateways and networks.
    "source addresses of everybody": also(
        edits("remote", "Service", "istio-eastwestgateway",
              lambda one: one["spec"].update(loadBalancerSourceRanges=["0.0.0.0/0"])),
        LATE,
    ),
    "source addresses at a gateway that refuses": also(
        edits("remote", "Service", "istio-eastwestgateway",
              lambda one: one["spec"].update(loadBalancerSourceRanges=["10.89.0.0/16"])),
        REFUSED,
    ),
    "another gateway's Service with the network's label": also(
        adds("remote", made(
            "Service", "ingress", "istio-system", {"topology.istio.io/network": "remote-network"},
            spec={"selector": {"app": "ingress"}, "ports": [{"port": 443}]},
        )),
        REFUSED,
    ),
    "roots that are being changed": also(
        trusts("primary", OLD_ROOT + NEW_ROOT), trusts("remote", OLD_ROOT),
        logs("primary", code=503, flags="UF", cluster=OUTBOUND, upstream=GATEWAYS["remote"],
             failure="TLS_error:CERTIFICATE_VERIFY_FAILED"),
    ),
    "a pod whose namespace names its network": also(
        edits("remote", "Pod", "helloworld-1",
              lambda one: one["metadata"]["labels"].pop("topology.istio.io/network")),
        FAR_LOST,
    ),
    "mutual TLS by a rule in place of the automatic one": also(
        mesh("enableAutoMtls: false"), destination(tls={"mode": "ISTIO_MUTUAL"}), REFUSED
    ),
}  # fmt: skip


@pytest.mark.parametrize("harmless", INNOCENT.values(), ids=INNOCENT)
def test_a_harmless_setting_is_not_accused_of_what_something_unknown_does(harmless: Change) -> None:
    assert [one.id for one in of_reading(harmless(sound())).root_causes] == []


def test_of_two_filters_the_one_that_the_answer_names_is_accused() -> None:
    patches = [
        {"applyTo": "HTTP_FILTER", "patch": {"value": {"name": f"envoy.filters.http.{one}"}}}
        for one in ("compressor", "csrf")
    ]
    spec = {"workloadSelector": {"labels": {"app": "helloworld"}}, "configPatches": patches}
    broken = also(
        adds("primary", made("EnvoyFilter", "h", "sample", spec=spec)),
        logs("remote", SERVER, code=403, details="csrf_origin_mismatch"),
    )
    (found,) = of_reading(broken(sound())).root_causes
    assert [one.value for one in found.finding.evidence if "patch" in one.field] == ["envoy.filters.http.csrf"]


def test_a_port_of_udp_is_no_endpoint_that_is_missing() -> None:
    both = [{"name": "http", "port": 5000}, {"name": "stats", "port": 9125, "protocol": "UDP"}]
    with_udp = also(
        *(
            edits(one, "Service", "helloworld", lambda found: found["spec"].update(ports=both))
            for one in ("primary", "remote")
        )
    )
    reading = with_udp(sound())
    assert [state.lacking(reading, one) for one in reading.clusters] == ["", ""]


@pytest.mark.parametrize(("match", "accused"), [(CANARY, False), ({"uri": {"prefix": "/hello"}}, True)])
def test_a_suspicion_is_none_of_a_route_for_requests_with_a_header_of_their_own(match: Object, accused: bool) -> None:
    reading = http({"match": [match], "route": to("canary")}, {"route": to()})(sound())
    asked = (Symptom("test_x", cause_ids=(causes.RULE_SENDS_ELSEWHERE.id,)),)
    found = [one.id for one in diagnose(Case(reading, asked)).root_causes]
    assert found == [causes.RULE_SENDS_ELSEWHERE.id] * accused
