"""Which root cause a reading shows, with which evidence; and that none is found without a witness."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from splithorizon.diagnosis import causes, root_causes
from splithorizon.diagnosis.causes import REGISTRY, Cause
from splithorizon.diagnosis.finding import Case, Symptom
from splithorizon.diagnosis.reading.model import CLIENT, GATEWAY, SERVER, Cluster, Host, Reading, RemoteSecret, Unread
from splithorizon.diagnosis.root_cause import NO_KNOWN_CAUSE, diagnose, of_reading
from splithorizon.diagnosis.root_causes import READ
from tests.istio.test_certificates import ROOT, Issuer, leaf_of
from tests.support.made_reading import (
    FAR_LOST,
    GATEWAYS,
    HOST,
    NAMES,
    OUTBOUND,
    PODS,
    Change,
    Object,
    adds,
    also,
    change,
    edits,
    holds,
    istiod,
    logs,
    made,
    mesh,
    near,
    pod,
    proxies,
    removes,
    sound,
    two_primaries,
)

HELLOWORLD = "helloworld"
FAR = Host(GATEWAYS["remote"], successes=9, requests=9)
STALE = Host(GATEWAYS["remote"], connect_failures=7, requests=7)


def rule(kind: str, name: str = "h", **spec: Any) -> Change:
    """A rule of the service's namespace, in the primary."""
    return adds("primary", made(kind, name, "sample", spec=spec))


def service(name: str, **spec: Any) -> Change:
    """Fields of the Service in a cluster."""
    return edits(name, "Service", HELLOWORLD, lambda one: one["spec"].update(spec))


def gateway_service(name: str, **spec: Any) -> Change:
    return edits(name, "Service", "istio-eastwestgateway", lambda one: one["spec"].update(spec))


def labels(name: str, kind: str, object_name: str, **changed: str | None) -> Change:
    def edit(one: Object) -> None:
        for key, value in changed.items():
            full = {"network": "topology.istio.io/network", "tls": "security.istio.io/tlsMode"}.get(key, key)
            one["metadata"]["labels"].pop(full, None)
            if value is not None:
                one["metadata"]["labels"][full] = value

    return edits(name, kind, object_name, edit)


def secrets(*known: RemoteSecret) -> Change:
    return change("primary", lambda cluster: replace(cluster, secrets=known))


def watches(**status: str) -> Change:
    return istiod(clusters=tuple({"id": name, "syncStatus": one} for name, one in status.items()))


def secret(**fields: Any) -> RemoteSecret:
    known = {"server": "https://10.89.0.2:6443", "leads_to": "remote", "answer": 200}
    return RemoteSecret("istio-system", "istio-remote-secret-remote", **{"cluster_id": "remote", **known, **fields})


ELECTED = {"metadata": {"filter_metadata": {"istio": {"config": "…/namespaces/sample/destination-rule/h"}}}}
FAULT_FILTER = {
    "name": "envoy.filters.http.fault",
    "typed_config": {"@type": "x/HTTPFault", "abort": {"http_status": 503, "percentage": {"numerator": 2}}},
}
TWO_PRIORITIES = holds("primary", near("primary"), replace(FAR, priority=1))
ROUTED = {"virtual": [{"domains": [HOST], "name": HOST}]}


def routed(**route: Any) -> Change:
    return proxies("primary", CLIENT, hosts=({"domains": [HOST], "name": HOST, "routes": [route]},))


def webhook(**client: Any) -> Change:
    """The remote's injection webhook has other fields of its clientConfig."""
    return edits(
        "remote",
        "MutatingWebhookConfiguration",
        "istio-sidecar-injector",
        lambda one: one["webhooks"][0]["clientConfig"].update(client),
    )


def istiod_port(**fields: Any) -> Change:
    """The primary's gateway has a port for proxies of other clusters."""
    port = {"port": 15012, "targetPort": 15012, **fields}
    return gateway_service("primary", ports=[{"port": 15443}, {"port": 15017, "targetPort": 15012}, port])


LISTENS = proxies("primary", GATEWAY, listening={15443: "0.0.0.0_15443", 15012: "0.0.0.0_15012", 15021: "readiness"})


def istiod_route(**destination: Any) -> Change:
    """A VirtualService leads port 15012 of the primary's gateway on."""
    tls = [{"match": [{"port": 15012}], "route": [{"destination": destination}]}]
    return adds("primary", made("VirtualService", "istiod-vs", "istio-system", spec={"hosts": ["*"], "tls": tls}))


CASES: list[tuple[str, Change, Cause, tuple[str, str, str]]] = [
    (
        "no remote secret",
        also(secrets(), watches(primary="synced"), FAR_LOST),
        causes.REMOTE_SECRET_MISSING,
        ("Secret primary/istio-system/istio-remote-secret-remote", "data", "not there"),
    ),
    (
        "another data key",
        also(secrets(secret(cluster_id="c2")), watches(primary="synced", c2="synced")),
        causes.REMOTE_SECRET_KEY_WRONG,
        ("istio-remote-secret-remote", "data.c2", "whose id is remote"),
    ),
    (
        "a loopback address",
        also(secrets(secret(server="https://127.0.0.1:6443")), watches(primary="synced", remote="timeout")),
        causes.REMOTE_SECRET_AT_LOOPBACK,
        ("istio-remote-secret-remote", "data.remote", "https://127.0.0.1:6443"),
    ),
    (
        "a dead token",
        also(secrets(secret(answer=401)), watches(primary="synced", remote="timeout")),
        causes.REMOTE_SECRET_REFUSED,
        ("istio-remote-secret-remote", "data.remote", "HTTP 401"),
    ),
    (
        "no binding",
        also(secrets(secret(answer=403)), removes("remote", "ClusterRoleBinding", "reader")),
        causes.REMOTE_SECRET_REFUSED,
        ("ClusterRoleBinding remote/", "subjects", "not there"),
    ),
    (
        "an istiod that starts and waits for a remote that refuses it",
        also(
            secrets(secret(answer=403)),
            removes("remote", "ClusterRoleBinding", "reader"),
            edits("primary", "Pod", "istiod-1", lambda one: one["status"].update(conditions=[])),
        ),
        causes.REMOTE_SECRET_REFUSED,
        ("ClusterRoleBinding remote/", "subjects", "not there"),
    ),
    (
        "an API server out of reach",
        watches(primary="synced", remote="timeout"),
        causes.API_SERVER_UNREACHABLE,
        ("istio-remote-secret-remote", "data.remote", "https://10.89.0.2:6443"),
    ),
    (
        "two names",
        also(
            secrets(secret(), secret(cluster_id="before")), watches(primary="synced", remote="synced", before="synced")
        ),
        causes.REMOTE_NAMED_TWICE,
        ("istio-remote-secret-remote", "data.before", "leads to"),
    ),
    (
        "istiod not ready",
        edits("primary", "Pod", "istiod-1", lambda one: one["status"].update(conditions=[])),
        root_causes.ISTIOD_NOT_READY,
        ("Pod primary/istio-system/istiod-1", "Ready", "False"),
    ),
    (
        "istiod's address",
        also(
            edits(
                "remote", "EndpointSlice", "istiod", lambda one: one.update(endpoints=[{"addresses": ["192.0.2.1"]}])
            ),
            istiod(proxies=({"proxy": "sleep-1.sample"},)),
        ),
        causes.ISTIOD_ADDRESS_STALE,
        ("EndpointSlice remote/istio-system/istiod", "endpoints", "192.0.2.1"),
    ),
    (
        "a webhook's Service",
        edits(
            "remote",
            "MutatingWebhookConfiguration",
            "istio-sidecar-injector",
            lambda one: one["webhooks"][0]["clientConfig"]["service"].update(name="istiod-1-7-0"),
        ),
        causes.WEBHOOK_LEADS_NOWHERE,
        ("MutatingWebhookConfiguration remote/", "clientConfig.service.name", "istiod-1-7-0"),
    ),
    (
        "discoverySelectors",
        also(
            mesh('discoverySelectors: [{matchLabels: {mesh: "yes"}}]'),
            labels("primary", "Namespace", "sample", mesh="yes"),
            FAR_LOST,
        ),
        root_causes.NAMESPACE_NOT_DISCOVERED,
        ("ConfigMap primary/istio-system/istio", "discoverySelectors", "mesh=yes"),
    ),
    (
        "clusterLocal",
        also(
            mesh('serviceSettings: [{settings: {clusterLocal: true}, hosts: ["*.sample.svc.cluster.local"]}]'), FAR_LOST
        ),
        root_causes.SERVICE_CLUSTER_LOCAL,
        ("ConfigMap primary", "serviceSettings[0]", "*.sample.svc.cluster.local"),
    ),
    (
        "exported to its own namespace",
        also(
            edits(
                "remote",
                "Service",
                HELLOWORLD,
                lambda one: one["metadata"].update(annotations={"networking.istio.io/exportTo": "."}),
            ),
            proxies("remote", GATEWAY, listeners=()),
        ),
        causes.SERVICE_NOT_EXPORTED,
        ("Service remote/sample/helloworld", "networking.istio.io/exportTo", "."),
    ),
    (
        "exported to nobody",
        also(mesh('defaultServiceExportTo: ["~"]'), proxies("primary", CLIENT, endpoints={})),
        causes.SERVICE_NOT_EXPORTED,
        ("ConfigMap primary", "defaultServiceExportTo", "~"),
    ),
    (
        "automatic mutual TLS off",
        also(mesh("enableAutoMtls: false"), FAR_LOST),
        root_causes.AUTO_MTLS_OFF,
        ("ConfigMap primary/istio-system/istio", "data.mesh.enableAutoMtls", "false"),
    ),
    (
        "source ranges",
        also(
            gateway_service("remote", loadBalancerSourceRanges=["192.0.2.0/24"]),
            logs("primary", code=503, flags="UF,URX", upstream=GATEWAYS["remote"], failure="connection timeout"),
        ),
        root_causes.GATEWAY_SOURCES_LIMITED,
        ("istio-eastwestgateway", "spec.loadBalancerSourceRanges", "192.0.2.0/24"),
    ),
    (
        "a port that is not captured",
        also(
            edits(
                "remote",
                "Pod",
                "helloworld-1",
                lambda one: one["metadata"].update(
                    annotations={"traffic.sidecar.istio.io/excludeInboundPorts": "9000,5000"}
                ),
            ),
            logs("remote", GATEWAY, flags="UF", upstream="10.20.0.3:5000"),
        ),
        root_causes.TRAFFIC_NOT_CAPTURED,
        ("Pod remote/sample/helloworld-1", "excludeInboundPorts", "5000"),
    ),
    (
        "a filter's own answer",
        also(
            rule(
                "EnvoyFilter",
                workloadSelector={"labels": {"app": "helloworld"}},
                configPatches=[{"applyTo": "HTTP_FILTER", "patch": {"value": {"name": "csrf"}}}],
            ),
            logs("remote", SERVER, code=403, details="csrf_origin_mismatch"),
        ),
        root_causes.FILTER_ANSWERS,
        ("EnvoyFilter primary/sample/h", "patch.value.name", "csrf"),
    ),
    (
        "no network on the gateway's Service",
        also(labels("remote", "Service", "istio-eastwestgateway", network=None), istiod(networks=()), FAR_LOST),
        causes.GATEWAY_SERVICE_WITHOUT_NETWORK,
        ("Service remote/istio-system/istio-eastwestgateway", "topology.istio.io/network", "not set"),
    ),
    (
        "no address",
        also(
            edits("remote", "Service", "istio-eastwestgateway", lambda one: one.update(status={})), istiod(networks=())
        ),
        causes.GATEWAY_SERVICE_WITHOUT_ADDRESS,
        ("istio-eastwestgateway", "status.loadBalancer.ingress", "none"),
    ),
    (
        "another address",
        also(
            edits(
                "remote",
                "Service",
                "istio-eastwestgateway",
                lambda one: one.update(status={"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}),
            ),
            logs("primary", code=503, flags="UF,URX", cluster=OUTBOUND, upstream="192.0.2.1:15443"),
        ),
        causes.GATEWAY_ADDRESS_WRONG,
        ("istio-eastwestgateway", "status.loadBalancer.ingress", "192.0.2.1"),
    ),
    (
        "a pod without network",
        also(labels("remote", "Pod", "helloworld-1", network=None), holds("primary", near("primary"), near("remote"))),
        causes.POD_WITHOUT_NETWORK,
        ("Pod remote/sample/helloworld-1", "topology.istio.io/network", "not set"),
    ),
    (
        "a proxy of another network",
        proxies("remote", SERVER, metadata={"NETWORK": "elsewhere"}),
        causes.PROXY_NETWORK_WRONG,
        ("Pod remote/sample/helloworld-1", "ISTIO_META_NETWORK", "elsewhere"),
    ),
    (
        "a NetworkPolicy",
        also(
            adds(
                "remote",
                made(
                    "NetworkPolicy",
                    "deny",
                    "istio-system",
                    spec={"podSelector": {"matchLabels": {"istio": "eastwestgateway"}}, "policyTypes": ["Ingress"]},
                ),
            ),
            logs("primary", code=503, flags="UF,URX", upstream=GATEWAYS["remote"], failure="connection timeout"),
        ),
        causes.NETWORK_POLICY_DROPS,
        ("NetworkPolicy remote/istio-system/deny", "spec.podSelector", "istio=eastwestgateway"),
    ),
    (
        "a port of the gateway",
        also(
            gateway_service("remote", ports=[{"port": 15443, "targetPort": 15021}]),
            logs(
                "primary",
                code=503,
                flags="UF,URX",
                upstream=GATEWAYS["remote"],
                failure="TLS_error:WRONG_VERSION_NUMBER",
            ),
        ),
        root_causes.GATEWAY_PORT_LEADS_ELSEWHERE,
        ("Service remote/istio-system/istio-eastwestgateway", "spec.ports[0].targetPort", "15021 for port 15443"),
    ),
    (
        "no gateway selected",
        also(gateway_service("remote", selector={"app": "gone"}), holds("primary", near("primary"), STALE)),
        root_causes.GATEWAY_SELECTS_NO_GATEWAY,
        ("istio-eastwestgateway", "spec.selector", "app=gone selects 0 of 1"),
    ),
    (
        "not exposed",
        also(removes("primary", "Gateway", "cross-network-gateway"), proxies("remote", GATEWAY, listeners=())),
        causes.SERVICES_NOT_EXPOSED,
        ("Gateways primary/istio-system", "tls.mode", "none is AUTO_PASSTHROUGH"),
    ),
    (
        "exposed to other hosts",
        also(
            edits(
                "primary",
                "Gateway",
                "cross-network-gateway",
                lambda one: one["spec"]["servers"][0].update(hosts=["*.shop.svc.cluster.local"]),
            ),
            proxies("remote", GATEWAY, listeners=()),
        ),
        causes.SERVICES_NOT_EXPOSED,
        ("Gateway primary/istio-system/cross-network-gateway", "servers[0].hosts", "*.shop"),
    ),
    (
        "a selector",
        also(service("remote", selector={"app": "hello"}), istiod(shards={HOST: {"primary": []}}), FAR_LOST),
        root_causes.SELECTOR_MISSES_PODS,
        ("Service remote/sample/helloworld", "spec.selector", "app=hello selects 0 of 1 pods"),
    ),
    (
        "no Service",
        also(removes("remote", "Service", HELLOWORLD), FAR_LOST),
        root_causes.SERVICE_ABSENT,
        ("Service remote/sample/helloworld", "metadata.name", "not there"),
    ),
    (
        "port names",
        also(service("remote", ports=[{"name": "http-web", "port": 5000}]), FAR_LOST),
        root_causes.PORTS_DIFFER,
        ("Service remote/sample/helloworld", "spec.ports[0].name", "http-web (port 5000)"),
    ),
    (
        "a target port",
        also(
            service("remote", ports=[{"name": "http", "port": 5000, "targetPort": 5999}]),
            logs("remote", SERVER, code=503, flags="UF", cluster="inbound|5999||"),
        ),
        root_causes.TARGET_PORT_WRONG,
        ("Service remote/sample/helloworld", "spec.ports[0].targetPort", "5999"),
    ),
    (
        "headless in one cluster",
        also(service("remote", clusterIP="None"), FAR_LOST),
        root_causes.SERVICE_KIND_DIFFERS,
        ("Service remote/sample/helloworld", "spec.clusterIP", "None"),
    ),
    (
        "trafficDistribution",
        also(service("primary", trafficDistribution="PreferClose"), TWO_PRIORITIES),
        root_causes.TRAFFIC_KEPT_NEAR,
        ("Service primary/sample/helloworld", "spec.trafficDistribution", "PreferClose"),
    ),
    (
        "internalTrafficPolicy",
        also(service("primary", internalTrafficPolicy="Local"), FAR_LOST),
        root_causes.TRAFFIC_KEPT_ON_NODE,
        ("Service primary/sample/helloworld", "spec.internalTrafficPolicy", "Local"),
    ),
    (
        "a WorkloadEntry",
        also(
            rule("WorkloadEntry", address="192.0.2.20", network="remote-network", labels={"app": "helloworld"}),
            holds("remote", near("remote"), Host("192.0.2.20:5000", connect_failures=9)),
        ),
        root_causes.WORKLOAD_ENTRY_UNREACHABLE,
        ("WorkloadEntry primary/sample/h", "spec.address", "192.0.2.20"),
    ),
    (
        "a ServiceEntry",
        also(
            rule("ServiceEntry", hosts=[HOST], resolution="STATIC", endpoints=[{"address": "192.0.2.9"}]),
            holds("primary", near("primary"), FAR, Host("192.0.2.9:5000")),
        ),
        root_causes.SERVICE_ENTRY_ADDS_ENDPOINTS,
        ("ServiceEntry primary/sample/h", "spec.endpoints", "192.0.2.9"),
    ),
    (
        "no pods wanted",
        also(
            removes("remote", "Pod", "helloworld-1"),
            FAR_LOST,
            adds(
                "remote",
                made(
                    "Deployment",
                    "helloworld-v2",
                    "sample",
                    spec={"replicas": 0, "template": {"metadata": {"labels": {"app": "helloworld"}}}},
                ),
            ),
        ),
        root_causes.NO_PODS_WANTED,
        ("Deployment remote/sample/helloworld-v2", "spec.replicas", "0"),
    ),
    (
        "a readiness probe",
        also(
            edits(
                "remote",
                "Pod",
                "helloworld-1",
                lambda one: one["status"].update(
                    conditions=[{"type": "Ready", "status": "False", "message": "probe failed"}]
                ),
            ),
            FAR_LOST,
        ),
        causes.POD_NOT_READY,
        ("Pod remote/sample/helloworld-1", "Ready", "probe failed"),
    ),
    (
        "a readiness gate",
        edits(
            "remote",
            "Pod",
            "istio-eastwestgateway-1",
            lambda one: (
                one["spec"].update(readinessGates=[{"conditionType": "x/never"}]),
                one["status"].update(conditions=[]),
            ),
        ),
        causes.READINESS_GATE_UNMET,
        ("Pod remote/istio-system/istio-eastwestgateway-1", "spec.readinessGates", "x/never"),
    ),
    (
        "an image",
        edits(
            "remote",
            "Pod",
            "helloworld-1",
            lambda one: one["status"].update(
                conditions=[],
                containerStatuses=[
                    {"name": "helloworld", "image": "nowhere/x:1", "state": {"waiting": {"reason": "ImagePullBackOff"}}}
                ],
            ),
        ),
        causes.IMAGE_NOT_PULLED,
        ("Pod remote/sample/helloworld-1", "state.waiting", "nowhere/x:1"),
    ),
    (
        "a pod without sidecar",
        also(
            adds(
                "remote",
                pod(
                    "helloworld-bare",
                    "sample",
                    "10.20.0.9",
                    {"app": "helloworld", "sidecar.istio.io/inject": "false"},
                    sidecar=False,
                ),
            ),
            istiod(shards={HOST: {"remote": [{"Addresses": ["10.20.0.9"], "TLSMode": ""}]}}),
        ),
        causes.POD_REFUSES_SIDECAR,
        ("Pod remote/sample/helloworld-bare", "sidecar.istio.io/inject", "false"),
    ),
    (
        "a namespace without injection",
        also(
            labels("remote", "Namespace", "sample", **{"istio-injection": None}),
            edits("remote", "Pod", "helloworld-1", lambda one: one["spec"].update(containers=[{"name": "helloworld"}])),
            FAR_LOST,
        ),
        causes.NAMESPACE_NOT_INJECTED,
        ("Namespace remote/sample", "metadata.labels", "{}"),
    ),
    (
        "a TLS label",
        also(labels("remote", "Pod", "helloworld-1", tls="disabled"), FAR_LOST),
        root_causes.POD_WITHOUT_TLS_MODE,
        ("Pod remote/sample/helloworld-1", "tlsMode", "disabled"),
    ),
    (
        "no mutual TLS",
        also(
            rule("PeerAuthentication", selector={"matchLabels": {"version": "v2"}}, mtls={"mode": "DISABLE"}), FAR_LOST
        ),
        causes.NO_MUTUAL_TLS,
        ("PeerAuthentication primary/sample/h", "spec.mtls.mode", "DISABLE"),
    ),
    (
        "roots",
        also(
            edits(
                "remote",
                "ConfigMap",
                "istio-ca-root-cert",
                lambda one: one["data"].update({"root-cert.pem": "another"}),
            ),
            logs(
                "primary",
                code=503,
                flags="UF",
                upstream=GATEWAYS["remote"],
                failure="TLS_error:CERTIFICATE_VERIFY_FAILED",
            ),
        ),
        causes.ROOTS_DIFFER,
        ("ConfigMap remote/sample/istio-ca-root-cert", "root-cert.pem", "SHA-256"),
    ),
    (
        "locality",
        also(
            rule(
                "DestinationRule",
                host="helloworld",
                trafficPolicy={
                    "loadBalancer": {"localityLbSetting": {"failoverPriority": ["topology.istio.io/network"]}},
                    "outlierDetection": {"interval": "10s"},
                },
            ),
            TWO_PRIORITIES,
        ),
        causes.LOCALITY_PREFERRED,
        ("DestinationRule primary/sample/h", "loadBalancer.localityLbSetting", "failoverPriority"),
    ),
    (
        "locality by outlier detection",
        also(
            rule("DestinationRule", host=HOST, trafficPolicy={"outlierDetection": {"interval": "10s"}}), TWO_PRIORITIES
        ),
        causes.LOCALITY_PREFERRED,
        ("DestinationRule primary/sample/h", "trafficPolicy.outlierDetection", "interval=10s"),
    ),
    (
        "plain text by a rule",
        also(
            rule("DestinationRule", host="*.sample.svc.cluster.local", trafficPolicy={"tls": {"mode": "DISABLE"}}),
            FAR_LOST,
        ),
        root_causes.RULE_CHANGES_TLS,
        ("DestinationRule primary/sample/h", "trafficPolicy.tls.mode", "DISABLE"),
    ),
    (
        "a full pool",
        also(
            rule(
                "DestinationRule",
                host="helloworld",
                trafficPolicy={"connectionPool": {"http": {"http2MaxRequests": 1}}},
            ),
            logs("primary", code=503, flags="UO", cluster=OUTBOUND),
        ),
        root_causes.CONNECTIONS_LIMITED,
        ("DestinationRule primary/sample/h", "connectionPool.http.http2MaxRequests", "1"),
    ),
    (
        "a full pool at the servers",
        also(
            rule(
                "DestinationRule",
                host="helloworld",
                trafficPolicy={"connectionPool": {"http": {"http2MaxRequests": 1}}},
            ),
            logs("remote", SERVER, code=503, flags="UO", cluster="inbound|5000||"),
        ),
        root_causes.CONNECTIONS_LIMITED,
        ("DestinationRule primary/sample/h", "connectionPool.http.http2MaxRequests", "1"),
    ),
    (
        "an injected fault",
        also(
            rule(
                "VirtualService",
                hosts=["helloworld"],
                http=[{"fault": {"abort": {"httpStatus": 500}}, "route": [{"destination": {"host": "helloworld"}}]}],
            ),
            logs("primary", code=500, flags="FI", cluster=OUTBOUND),
        ),
        root_causes.FAULT_INJECTED,
        ("VirtualService primary/sample/h", "spec.http[0].fault.abort", "httpStatus=500"),
    ),
    (
        "a timeout",
        also(
            rule(
                "VirtualService", hosts=[HOST], http=[{"timeout": "0.001s", "route": [{"destination": {"host": HOST}}]}]
            ),
            logs("primary", code=504, flags="UT", cluster=OUTBOUND),
        ),
        causes.REQUEST_TIME_LIMITED,
        ("VirtualService primary/sample/h", "spec.http[0].timeout", "0.001s"),
    ),
    (
        "an empty subset",
        also(
            rule(
                "VirtualService",
                hosts=["helloworld"],
                http=[{"route": [{"destination": {"host": "helloworld", "subset": "v9"}}]}],
            ),
            rule("DestinationRule", "d", host="helloworld", subsets=[{"name": "v9", "labels": {"version": "v9"}}]),
            logs("primary", code=503, flags="UH", cluster=f"outbound|5000|v9|{HOST}"),
        ),
        root_causes.RULE_PICKS_SUBSET,
        ("VirtualService primary/sample/h", "destination.subset", "v9"),
    ),
    (
        "another host",
        also(
            rule("VirtualService", hosts=["helloworld"], http=[{"route": [{"destination": {"host": "echo"}}]}]),
            routed(route={"cluster": "outbound|5000||echo.sample.svc.cluster.local"}),
        ),
        causes.RULE_SENDS_ELSEWHERE,
        ("VirtualService primary/sample/h", "destination.host", "echo"),
    ),
    (
        "no route",
        also(
            rule(
                "VirtualService",
                hosts=["helloworld"],
                http=[
                    {"match": [{"headers": {"x": {"exact": "y"}}}], "route": [{"destination": {"host": "helloworld"}}]}
                ],
            ),
            logs("primary", code=404, flags="NR", authority="helloworld.sample:5000"),
        ),
        root_causes.RULE_MATCHES_NOTHING,
        ("VirtualService primary/sample/h", "spec.http[].match", "exact=y"),
    ),
    (
        "a Sidecar",
        also(
            rule("Sidecar", workloadSelector={"labels": {"app": "sleep"}}, egress=[{"hosts": ["istio-system/*"]}]),
            proxies("primary", CLIENT, endpoints={}),
        ),
        root_causes.SIDECAR_HIDES_SERVICE,
        ("Sidecar primary/sample/h", "spec.egress", "istio-system/*"),
    ),
    (
        "a Sidecar of the mesh",
        also(
            adds(
                "primary", made("Sidecar", "default", "istio-system", spec={"egress": [{"hosts": ["istio-system/*"]}]})
            ),
            proxies("primary", CLIENT, endpoints={}),
        ),
        root_causes.SIDECAR_HIDES_SERVICE,
        ("Sidecar primary/istio-system/default", "spec.egress", "istio-system/*"),
    ),
    (
        "a fault filter",
        also(
            rule(
                "EnvoyFilter",
                workloadSelector={"labels": {"app": "sleep"}},
                configPatches=[{"match": {"context": "SIDECAR_OUTBOUND"}, "patch": {"value": FAULT_FILTER}}],
            ),
            logs("primary", code=503, flags="FI", details="fault_filter_abort", cluster=OUTBOUND),
        ),
        root_causes.FAULT_INJECTED,
        ("EnvoyFilter primary/sample/h", "patch.value.typed_config.abort", "numerator=2"),
    ),
    (
        "a refused cluster",
        also(
            rule(
                "EnvoyFilter",
                workloadSelector={"labels": {"app": "sleep"}},
                configPatches=[{"applyTo": "CLUSTER", "patch": {"value": {"name": "broken", "type": "STATIC"}}}],
            ),
            proxies("primary", CLIENT, rejected=({"name": "broken", "details": "malformed IP address"},)),
        ),
        causes.ENVOY_REFUSED_CONFIG,
        ("EnvoyFilter primary/sample/h", "patch.value.name", "broken"),
    ),
    (
        "a denial",
        also(
            rule("AuthorizationPolicy", action="DENY", rules=[{}]),
            logs("remote", SERVER, code=403, details="rbac_access_denied_matched_policy[ns[sample]-policy[h]-rule[0]]"),
        ),
        causes.POLICY_DENIES,
        ("AuthorizationPolicy primary/sample/h", "spec.action", "DENY"),
    ),
    (
        "an ALLOW that means others",
        also(
            rule("AuthorizationPolicy", rules=[{"from": [{"source": {"namespaces": ["shop"]}}]}]),
            logs("remote", SERVER, code=403, details="rbac_access_denied_matched_policy[none]"),
        ),
        causes.POLICY_DENIES,
        ("AuthorizationPolicy primary/sample/h", "spec.rules", "shop"),
    ),
    (
        "tokens",
        also(
            rule("RequestAuthentication", jwtRules=[{"issuer": "x"}]),
            logs("remote", SERVER, code=401, details="jwt_authn_access_denied{Jwt_is_expired}"),
        ),
        root_causes.TOKEN_DEMANDED,
        ("RequestAuthentication primary/sample/h", "spec.jwtRules", "issuer=x"),
    ),
]


@pytest.mark.parametrize(("broken", "cause", "cite"), [one[1:] for one in CASES], ids=[one[0] for one in CASES])
def test_a_fault_is_the_one_root_cause_with_what_it_changed(
    broken: Change, cause: Cause, cite: tuple[str, str, str]
) -> None:
    found = of_reading(broken(sound()))
    assert [one.id for one in found.root_causes] == [cause.id]
    (root,) = found.root_causes
    assert root.finding.witness
    assert root.finding.fix
    facts = [(fact.object, fact.field, fact.value) for fact in root.finding.evidence]
    assert any(all(part in text for part, text in zip(cite, fact, strict=True)) for fact in facts), facts


def test_a_sound_mesh_has_no_root_cause() -> None:
    found = of_reading(sound())
    assert (found.root_causes, found.notes) == ((), ())
    assert found.text == NO_KNOWN_CAUSE


# What is only configured: the same settings as above, and every endpoint is held and answers.
UNUSUAL: list[tuple[str, Change, Cause]] = [
    (
        "locality",
        rule(
            "DestinationRule",
            host="helloworld",
            trafficPolicy={"loadBalancer": {"localityLbSetting": {"enabled": True}}},
        ),
        causes.LOCALITY_PREFERRED,
    ),
    (
        "a generous pool",
        rule(
            "DestinationRule", host="helloworld", trafficPolicy={"connectionPool": {"tcp": {"maxConnections": 10000}}}
        ),
        root_causes.CONNECTIONS_LIMITED,
    ),
    (
        "a generous timeout",
        rule("VirtualService", hosts=[HOST], http=[{"timeout": "60s", "route": [{"destination": {"host": HOST}}]}]),
        causes.REQUEST_TIME_LIMITED,
    ),
    ("PERMISSIVE", rule("PeerAuthentication", mtls={"mode": "PERMISSIVE"}), causes.PLAIN_TEXT_ADMITTED),
    ("a policy that lets us in", rule("AuthorizationPolicy", rules=[{}]), causes.POLICY_DENIES),
    (
        "a WorkloadEntry that answers",
        also(
            rule("WorkloadEntry", address="192.0.2.20", labels={"app": "helloworld"}),
            holds("primary", near("primary"), FAR, Host("192.0.2.20:5000", successes=3, requests=3)),
        ),
        root_causes.WORKLOAD_ENTRY_UNREACHABLE,
    ),
    (
        "a NetworkPolicy that admits",
        adds("remote", made("NetworkPolicy", "n", "sample", spec={"podSelector": {}})),
        causes.NETWORK_POLICY_DROPS,
    ),
    (
        "a namespace without label, that runs",
        labels("remote", "Namespace", "istio-system", network=None),
        causes.SYSTEM_NAMESPACE_WITHOUT_NETWORK,
    ),
]


@pytest.mark.parametrize(("unusual", "cause"), [one[1:] for one in UNUSUAL], ids=[one[0] for one in UNUSUAL])
def test_what_nothing_bears_witness_to_is_a_note(unusual: Change, cause: Cause) -> None:
    found = of_reading(unusual(sound()))
    assert found.root_causes == ()
    assert cause.id in {note.cause.id for note in found.notes}


@pytest.mark.parametrize(
    "harmless",
    [
        mesh("outboundTrafficPolicy: {mode: REGISTRY_ONLY}"),
        mesh('serviceSettings: [{settings: {clusterLocal: true}, hosts: ["*.shop.svc.cluster.local"]}]'),
        mesh("discoverySelectors: [{matchExpressions: [{key: istio-injection, operator: Exists}]}]"),
        adds(
            "primary",
            made("DestinationRule", "h", "shop", spec={"host": HOST, "trafficPolicy": {"tls": {"mode": "DISABLE"}}}),
        ),
        adds("primary", made("AuthorizationPolicy", "h", "shop", spec={"action": "DENY", "rules": [{}]})),
        adds("primary", made("Sidecar", "h", "shop", spec={"egress": [{"hosts": ["./*"]}]})),
        rule("Sidecar", egress=[{"hosts": ["./*"]}]),
        rule("VirtualService", hosts=["helloworld"], gateways=["ingress"], http=[{"timeout": "1s"}]),
        rule(
            "EnvoyFilter",
            workloadSelector={"labels": {"app": "another"}},
            configPatches=[{"patch": {"value": FAULT_FILTER}}],
        ),
    ],
    ids=range(9),
)
def test_what_is_not_meant_for_this_service_is_not_even_noted(harmless: Change) -> None:
    found = of_reading(also(harmless, FAR_LOST)(sound()))
    assert (found.root_causes, found.notes) == ((), ())


def bare(name: str) -> Change:
    """A cluster's pod of the Service has no sidecar, as istiod sees it too."""
    return also(
        edits(name, "Pod", "helloworld-1", lambda one: one["spec"]["containers"].pop()),
        istiod(shards={HOST: {one: [{"Addresses": [PODS[one]], "Labels": {}}] for one in NAMES}}),
    )


def gateway_by_name(one: Object) -> None:
    one["status"]["loadBalancer"]["ingress"] = [{"hostname": "lb.example.org"}]


def at_another_port(name: str) -> Change:
    """A cluster's gateway is reached at 443 and listens at 8443."""

    def edit(one: Object) -> None:
        one["metadata"]["labels"]["networking.istio.io/gatewayPort"] = "443"
        one["spec"]["ports"] = [{"port": 443, "targetPort": 8443}]

    return also(
        edits(name, "Service", "istio-eastwestgateway", edit),
        proxies(name, GATEWAY, listening={8443: "0.0.0.0_8443"}, listeners=()),
    )


NO_MTLS = rule("PeerAuthentication", mtls={"mode": "DISABLE"})
ANOTHER_POD = adds("remote", pod("shop-1", "sample", "10.20.0.77", {"app": "shop"}))
# Meshes in which nothing is lost, though something that a rule looks at is as in a broken one.
SOUND: list[tuple[str, Change]] = [
    (
        "a Service whose pods run in one cluster",
        also(
            removes("remote", "Pod", "helloworld-1"), ANOTHER_POD, NO_MTLS,
            holds("primary", near("primary")), holds("remote", Host(GATEWAYS["primary"])),
        ),
    ),
    (
        "a headless Service",
        also(
            *(service(one, clusterIP="None") for one in NAMES), NO_MTLS,
            *(proxies(one, CLIENT, endpoints={OUTBOUND: ()}) for one in NAMES),
        ),
    ),
    ("no sidecar anywhere", also(*map(bare, NAMES), *(holds(one, near(one)) for one in NAMES))),
    (
        "a gateway by its name",
        also(
            change("remote", lambda one: replace(one, gateways=())), NO_MTLS,
            edits("remote", "Service", "istio-eastwestgateway", gateway_by_name),
            istiod(networks=()), holds("primary", near("primary"), Host("198.51.100.4:15443")),
        ),
    ),
    (
        "a TCP service, of which no request is counted",
        also(
            gateway_service("remote", loadBalancerSourceRanges=["10.0.0.0/8"]),
            holds("primary", near("primary"), Host(GATEWAYS["remote"], connect_failures=2, connections=40)),
        ),
    ),
    (
        "a gateway at another port",
        also(
            *map(at_another_port, NAMES),
            edits(
                "primary", "Gateway", "cross-network-gateway",
                lambda one: one["spec"]["servers"][0]["port"].update(number=8443),
            ),
        ),
    ),
    (
        "a remote secret whose cluster cannot be told",
        also(
            change("remote", lambda one: replace(one, cluster_id="")),
            secrets(RemoteSecret("istio-system", "s", "eks-2", "https://192.0.2.1", "", answer=0)),
            watches(primary="synced", **{"eks-2": "synced"}),
        ),
    ),
    (
        "pods of another revision, and an address of istiod that is none of the gateway",
        also(
            *(
                edits("remote", "Pod", one, lambda found: found["metadata"]["labels"].update({"istio.io/rev": "old"}))
                for one in ("sleep-1", "helloworld-1", "istio-eastwestgateway-1")
            ),
            edits("remote", "EndpointSlice", "istiod", lambda one: one["endpoints"][0].update(addresses=["192.0.2.9"])),
            istiod(proxies=({"proxy": "of-this-revision.shop"},)),
        ),
    ),
]  # fmt: skip


@pytest.mark.parametrize("unusual", [one[1] for one in SOUND], ids=[one[0] for one in SOUND])
def test_a_mesh_of_another_kind_has_no_root_cause(unusual: Change) -> None:
    assert [one.id for one in of_reading(unusual(sound())).root_causes] == []


def test_a_selector_that_is_wrong_everywhere_is_told_by_the_pods_that_are_named_as_the_service() -> None:
    wrong = also(*(service(one, selector={"app": "hello"}) for one in NAMES), istiod(shards={HOST: {}}))
    (found,) = of_reading(also(wrong, ANOTHER_POD)(sound())).root_causes
    assert found.id == root_causes.SELECTOR_MISSES_PODS.id
    assert "shop-1" not in str(found.finding)


@pytest.mark.parametrize(("namespace", "binds"), [("jobs", True), ("shop", False)])
def test_rules_of_the_clients_namespace_are_in_force(namespace: str, binds: bool) -> None:
    policy = {"loadBalancer": {"localityLbSetting": {"enabled": True}}}
    elsewhere = made("DestinationRule", "h", namespace, spec={"host": HOST, "trafficPolicy": policy})
    reading = also(adds("primary", elsewhere), proxies("primary", CLIENT, namespace="jobs"))(sound())
    assert (causes.LOCALITY_PREFERRED.id in {one.cause.id for one in of_reading(reading).notes}) is binds


def test_short_hosts_are_read_in_the_meshs_domain() -> None:
    delayed = rule("VirtualService", hosts=["helloworld"], http=[{"timeout": "60s"}])
    other = replace(delayed(sound()), domain="corp.example")
    assert causes.REQUEST_TIME_LIMITED.id in {one.cause.id for one in of_reading(other).notes}


def test_a_number_of_two_protocols_is_two_ports() -> None:
    tcp, udp = ({"name": name, "port": 53, "protocol": name.upper()} for name in ("tcp", "udp"))
    both = also(service("primary", ports=[tcp, udp]), service("remote", ports=[udp, tcp]), FAR_LOST)
    assert root_causes.PORTS_DIFFER.id not in str(of_reading(both(sound())))


def test_proxies_that_wait_for_istiod_are_no_cause_of_their_own() -> None:
    def unready(container: str) -> Change:
        said = {"type": "Ready", "status": "False", "message": f"containers with unready status: [{container}]"}
        return edits("remote", "Pod", "helloworld-1", lambda one: one["status"].update(conditions=[said]))

    stale = also(
        edits("remote", "EndpointSlice", "istiod", lambda one: one.update(endpoints=[{"addresses": ["192.0.2.1"]}])),
        istiod(proxies=({"proxy": "sleep-1.sample"},)),
        FAR_LOST,
    )
    found = of_reading(also(stale, unready("istio-proxy"))(sound()))
    assert [one.id for one in found.root_causes] == [causes.ISTIOD_ADDRESS_STALE.id]
    found = of_reading(also(stale, unready("helloworld"))(sound()))
    assert {one.id for one in found.root_causes} == {causes.ISTIOD_ADDRESS_STALE.id, causes.POD_NOT_READY.id}


def test_a_proxy_is_absent_though_another_cluster_has_one_of_its_name() -> None:
    there = tuple({"proxy": f"{one.pod}.{one.namespace}", "cluster_id": "primary"} for one in sound()["remote"].proxies)
    stale = also(
        edits("remote", "EndpointSlice", "istiod", lambda one: one.update(endpoints=[{"addresses": ["192.0.2.1"]}])),
        istiod(proxies=there),
    )
    (found,) = of_reading(stale(sound())).root_causes
    assert found.id == causes.ISTIOD_ADDRESS_STALE.id


def test_a_deployment_whose_pod_is_not_there_yet_wants_one() -> None:
    template = {"metadata": {"labels": {"app": "helloworld"}}}
    deployment = made("Deployment", "helloworld-v2", "sample", spec={"replicas": 1, "template": template})
    found = of_reading(also(removes("remote", "Pod", "helloworld-1"), FAR_LOST, adds("remote", deployment))(sound()))
    assert root_causes.NO_PODS_WANTED.id not in [one.id for one in found.root_causes]


def test_a_refused_secret_does_not_explain_that_there_is_no_istiod() -> None:
    change = also(secrets(secret(answer=401)), removes("primary", "Pod", "istiod-1"), watches(remote="timeout"))
    found = of_reading(change(sound()))
    assert {one.id for one in found.root_causes} == {causes.REMOTE_SECRET_REFUSED.id, root_causes.ISTIOD_NOT_READY.id}


def test_two_independent_faults_give_both_and_the_lower_comes_first() -> None:
    both = also(
        service("remote", ports=[{"name": "http-web", "port": 5000}]),
        FAR_LOST,
        rule("AuthorizationPolicy", action="DENY", rules=[{}]),
        logs("primary", SERVER, code=403, details="rbac_access_denied_matched_policy[ns[sample]-policy[h]-rule[0]]"),
    )
    found = of_reading(both(sound()))
    assert [one.id for one in found.root_causes] == [root_causes.PORTS_DIFFER.id, causes.POLICY_DENIES.id]
    assert not found.tie
    assert found.text == f"{root_causes.PORTS_DIFFER.text}; and {causes.POLICY_DENIES.text}"


def test_that_a_rule_is_there_is_no_cause_beside_what_is_wrong_with_it() -> None:
    aborting = also(
        rule("VirtualService", hosts=["helloworld"], http=[{"fault": {"abort": {"httpStatus": 500}}}]),
        logs("primary", code=500, flags="FI", cluster=OUTBOUND),
    )
    symptom = Symptom("test_a_rule_binds_the_clients_of_its_own_primary", "", "unbound", (causes.OLDER_RULE.id,))
    found = diagnose(Case(aborting(sound()), (symptom,)))
    assert [one.id for one in found.root_causes] == [root_causes.FAULT_INJECTED.id]
    plain = rule("VirtualService", hosts=["helloworld"], http=[{"route": [{"destination": {"host": "helloworld"}}]}])
    assert [one.id for one in diagnose(Case(plain(sound()), (symptom,))).root_causes] == [causes.OLDER_RULE.id]


@pytest.mark.parametrize(("host", "found"), [("helloworld-subsets", [causes.OLDER_RULE.id]), ("helloworld", [])])
def test_an_older_rule_explains_what_asks_its_own_host(host: str, found: list[str]) -> None:
    older = rule("VirtualService", hosts=[host], http=[{"route": [{"destination": {"host": host}}]}])
    symptom = Symptom("test_subsets_keep_clients_in_their_cluster", "", "strayed", (causes.OLDER_RULE.id,))
    reading = replace(older(sound()), others=("helloworld-subsets",))
    assert [one.id for one in diagnose(Case(reading, (symptom,))).root_causes] == found


def test_a_tie_is_said() -> None:
    both = also(
        service("remote", ports=[{"name": "http-web", "port": 5000}]),
        service("primary", internalTrafficPolicy="Local"),
        FAR_LOST,
    )  # fmt: skip
    found = of_reading(both(sound()))
    assert len(found.root_causes) == 2
    assert found.tie
    assert "none of them shows to be the first" in found.text


def test_what_follows_from_a_cause_is_no_cause_of_its_own() -> None:
    looped = also(
        secrets(secret(server="https://127.0.0.1:6443", cluster_id="c2")),
        watches(primary="synced", c2="timeout"),
        FAR_LOST,
    )
    found = of_reading(looped(sound()))
    assert causes.API_SERVER_UNREACHABLE.id not in [one.id for one in found.root_causes]
    assert causes.REMOTE_SECRET_MISSING.id not in [one.id for one in found.root_causes]


def dropped(late: int, failed: int = 0) -> Symptom:
    numbers: dict[str, float | str | None] = {
        "connections": 320, "late": late, "failed": failed, "median_seconds": 0.02, "addresses": GATEWAYS["remote"],
        "connections_of_all_rounds": 360, "late_of_all_rounds": late + 10, "failed_of_all_rounds": failed,
        "near_connections": 80, "near_late": 0, "near_failed": 0,
    }  # fmt: skip
    behaviour = "test_new_connections_reach_the_far_network"
    return Symptom(behaviour, "primary→remote", "…", (causes.CONNECTIONS_DROPPED.id,), numbers)


def test_connections_that_are_late_at_a_measured_rate_are_dropped_on_the_way() -> None:
    (found,) = diagnose(Case(sound(), (dropped(80, 2),))).root_causes
    assert found.id == causes.CONNECTIONS_DROPPED.id
    assert [str(fact) for fact in found.finding.evidence] == [
        f"Gateway {GATEWAYS['remote']} of remote: new connections from primary "
        "90 late and 2 failed of 360, 25.6%; median 0.02 s",
        "Client primary: new connections within its network 0 late and 0 failed of 80",
    ]
    assert found.consequences == ("test_new_connections_reach_the_far_network",)


def test_connections_that_fail_at_once_are_no_sign_of_packets_that_are_lost() -> None:
    assert diagnose(Case(sound(), (dropped(2, 80),))).root_causes == ()


def test_connections_that_another_cause_delays_are_not_dropped_on_the_way() -> None:
    case = Case(also(service("remote", ports=[{"name": "http-web", "port": 5000}]), FAR_LOST)(sound()), (dropped(80),))
    (found,) = diagnose(case).root_causes
    assert found.id == root_causes.PORTS_DIFFER.id
    assert found.consequences == ("test_new_connections_reach_the_far_network",)


SECOND = "10.89.0.244:15443"


def test_an_address_that_refuses_beside_one_that_serves_is_named_with_where_it_comes_from() -> None:
    ingress = [{"ip": address.partition(":")[0]} for address in (GATEWAYS["remote"], SECOND)]
    reading = also(
        holds("primary", near("primary"), FAR, Host(SECOND, connect_failures=61)),
        edits("remote", "Service", "istio-eastwestgateway", lambda one: one.update(
            status={"loadBalancer": {"ingress": ingress}})),
    )(sound())  # fmt: skip
    (found,) = of_reading(reading).root_causes
    assert found.id == causes.GATEWAY_ADDRESS_REFUSES.id
    envoy, status = found.finding.evidence
    assert str(envoy) == (
        f"Envoy primary/sample/sleep-1: clusters: {SECOND} cx_connect_fail 61, rq_success 0; "
        f"{GATEWAYS['remote']} has rq_success 9"
    )
    assert status.object == "Service remote/istio-system/istio-eastwestgateway"
    assert "10.89.0.244, one of" in status.value


def test_an_address_at_which_nothing_ever_answered_is_wrong_and_not_one_that_refuses_beside_others() -> None:
    reading = holds("primary", near("primary"), STALE)(sound())
    assert causes.GATEWAY_ADDRESS_REFUSES.id not in [one.id for one in of_reading(reading).root_causes]


def test_a_second_address_at_which_the_gateway_serves_is_not_wrong() -> None:
    ingress = [{"ip": address.partition(":")[0]} for address in (GATEWAYS["remote"], SECOND)]
    reading = also(
        holds("primary", near("primary"), FAR, Host(SECOND, successes=9, requests=9)),
        edits("remote", "Service", "istio-eastwestgateway", lambda one: one.update(
            status={"loadBalancer": {"ingress": ingress}})),
        istiod(networks=tuple(
            {"Network": f"{name}-network", "Addr": address.partition(":")[0], "Port": 15443}
            for name, address in (*GATEWAYS.items(), ("remote", SECOND)))),
    )(sound())  # fmt: skip
    assert of_reading(reading).root_causes == ()


def test_failed_checks_follow_from_the_cause_that_explains_them() -> None:
    case = Case(
        also(service("remote", ports=[{"name": "http-web", "port": 5000}]), FAR_LOST)(sound()),
        (
            Symptom("test_both_versions_answer", "primary→remote", "v2 is missing", (causes.REMOTE_SECRET_MISSING.id,)),
            Symptom("test_both_versions_answer", "remote→primary", "v1 is missing", (causes.REMOTE_SECRET_MISSING.id,)),
            Symptom("test_root_certificate_is_the_same", "", "they differ", (causes.ROOTS_DIFFER.id,)),
        ),
    )
    found = diagnose(case)
    assert found.root_causes[0].consequences == ("test_both_versions_answer",)
    assert found.unexplained == ("test_root_certificate_is_the_same",)


def test_a_failed_check_can_be_the_witness() -> None:
    unlabelled = labels("remote", "Namespace", "istio-system", network=None)(sound())
    cause = causes.SYSTEM_NAMESPACE_WITHOUT_NETWORK
    symptom = Symptom("test_networks_are_named_alike_everywhere", "", "not set", (cause.id,))
    assert [one.id for one in diagnose(Case(unlabelled, (symptom,))).root_causes] == [cause.id]


def connected(gateway: str, image: str = "istio/pilot:1.29.1") -> Reading:
    """The remote's gateway says that it is of a version, to an istiod of that image."""
    container = {"name": "discovery", "image": image}
    proxies_of_istiod = tuple(
        {"proxy": f"{pod}.{namespace}", "cluster_id": "remote", "istio_version": version}
        for pod, namespace, version in (
            ("istio-eastwestgateway-1", "istio-system", gateway), ("sleep-1", "sample", "1.28.9"),
        )
    )  # fmt: skip
    made_istiod = edits("primary", "Pod", "istiod-1", lambda one: one["spec"].update(containers=[container]))
    return also(made_istiod, istiod(proxies=proxies_of_istiod))(sound())


@pytest.mark.parametrize("version", ["1.20.0", "1.30.0"])
def test_a_gateway_of_a_version_that_its_istiod_does_not_support(version: str) -> None:
    cause = causes.PROXY_VERSION_UNSUPPORTED
    symptom = Symptom("test_proxy_versions_are_supported", "remote", "…", (cause.id,))
    (root,) = diagnose(Case(connected(version), (symptom,))).root_causes
    assert root.id == cause.id
    assert [str(fact) for fact in root.finding.evidence] == [
        "Pod remote/istio-system/istio-eastwestgateway-1: istio_version in istiod's syncz "
        f"{version}; istiod-1 is 1.29.1"
    ]
    # Nothing that failed shows an effect: it is a note.
    assert diagnose(Case(connected(version))).root_causes == ()
    assert [one.cause for one in diagnose(Case(connected(version))).notes] == [cause]


def test_a_supported_version_and_one_that_is_not_known_are_nothing() -> None:
    for reading in (connected("1.28.0"), connected("1.20.0", "istio/pilot@sha256:aa")):
        assert of_reading(reading).notes == ()


def test_what_could_not_be_read_is_told_where_no_cause_fits() -> None:
    blind = replace(sound(), unread=(Unread("remote", "Secrets", "HTTP 403: forbidden"),))
    assert of_reading(blind).text == f"{NO_KNOWN_CAUSE}; not read: Secrets of remote: HTTP 403: forbidden"


def test_a_reading_of_nothing_has_no_root_cause() -> None:
    empty = sound()
    blind = replace(
        empty,
        clusters=tuple(
            replace(one, objects={}, secrets=(), istiods=(), proxies=()) for one in empty.clusters
        ),
        unread=(Unread("primary", "remote secrets", "HTTP 403"),),
    )  # fmt: skip
    assert of_reading(blind).root_causes == ()


def test_ids_are_unique_over_checks_and_readings() -> None:
    assert not {one.id for one in READ} & {one.id for one in REGISTRY}
    constants = {name: one for name, one in vars(root_causes).items() if isinstance(one, Cause)}
    assert {name.lower().replace("_", "-") for name in constants} == {one.id for one in READ}


def test_a_reading_can_be_saved() -> None:
    reading = also(FAR_LOST, logs("primary", code=503, flags="UF"))(sound())
    assert Reading.from_json(reading.to_json()) == reading
    with pytest.raises(ValueError, match="clusters"):
        Reading.from_json("{}")


# What traffic does not show: the change, what a failed check leaves open, the cause, and what the evidence cites.
LATENT: list[tuple[str, Change, Cause, tuple[str, str, str]]] = [
    (
        "another network in the path",
        webhook(service={"name": "istiod", "namespace": "istio-system", "path": "/inject/cluster/remote/net/n"}),
        causes.PROXY_NETWORK_WRONG,
        ("MutatingWebhookConfiguration remote/", "clientConfig.service.path", "the network is remote-network"),
    ),
    (
        "another cluster in a URL",
        webhook(service=None, url="https://istiod.example/inject/cluster/c2/net/remote-network"),
        causes.PROXY_CLUSTER_ID_WRONG,
        ("MutatingWebhookConfiguration remote/", "clientConfig.url", "the id is remote"),
    ),
    (
        "another bundle, which istiod may correct",
        webhook(caBundle="4 characters"),
        causes.WEBHOOK_NOT_TRUSTED,
        ("MutatingWebhookConfiguration remote/", "caBundle", "4 characters; in primary 3 characters"),
    ),
    (
        "a port of the gateway that leads elsewhere",
        also(LISTENS, istiod_port(targetPort=15021)),
        causes.ISTIOD_PORT_LEADS_ELSEWHERE,
        ("Service primary/istio-system/istio-eastwestgateway", "spec.ports[2].targetPort", "15021 for port 15012"),
    ),
    (
        "a port at which the gateway does not listen",
        istiod_port(),
        causes.ISTIOD_PORT_LEADS_ELSEWHERE,
        ("Envoy primary/istio-system/istio-eastwestgateway-1", "listeners", "does not listen there"),
    ),
    (
        "a gateway without the port",
        also(LISTENS, gateway_service("primary", ports=[{"port": 15443}])),
        causes.ISTIOD_PORT_LEADS_ELSEWHERE,
        ("Service primary/istio-system/istio-eastwestgateway", "spec.ports", "[15443], without 15012"),
    ),
    (
        "a route to a Service that is not there",
        also(LISTENS, istiod_port(), istiod_route(host="istiod-1-7-0.istio-system.svc.cluster.local")),
        causes.ISTIOD_PORT_LEADS_ELSEWHERE,
        ("VirtualService primary/istio-system/istiod-vs", "destination.host", "there is no such Service"),
    ),
    (
        "a route to a port that is not there",
        also(
            LISTENS, istiod_port(), istiod_route(host="istiod.istio-system.svc.cluster.local", port={"number": 15010})
        ),
        causes.ISTIOD_PORT_LEADS_ELSEWHERE,
        ("VirtualService primary/istio-system/istiod-vs", "destination.port.number", "15010; Service istiod has no"),
    ),
]
OLD_CA = Issuer(days=(-99, -1), common="expired")


def serves(*chain: x509.Certificate) -> Change:
    """The istiod serves this chain."""
    return istiod(certificate="".join(one.public_bytes(Encoding.PEM).decode() for one in chain))


TOMORROW = datetime.now(UTC) + timedelta(hours=12)
LATENT += [
    (
        "a token that ends",
        secrets(secret(ends=TOMORROW.isoformat())),
        causes.REMOTE_TOKEN_ENDS,
        ("Secret primary/istio-system/istio-remote-secret-remote", "data.remote", f"ends at {TOMORROW:%FT%TZ}"),
    ),
    (
        "an istiod whose certificate is old",
        serves(Issuer(days=(-99, 1), authority=None).signed_by(ROOT.name, ROOT.key), ROOT.as_root),
        causes.CERTIFICATE_ENDS_SOON,
        ("istiod primary/istio-system/istiod-1", "certificate 1 of 2", "valid from"),
    ),
    (
        "a client whose CA is none",
        proxies(
            "remote",
            CLIENT,
            certificate="".join(
                one.public_bytes(Encoding.PEM).decode()
                for one in (leaf_of(ROOT), Issuer(authority=False, common="no CA").signed_by(ROOT.name, ROOT.key))
            ),
        ),
        causes.CA_NOT_VALID,
        ("Envoy remote/sample/sleep-1", "certificate 2 of 2", "no CA, is no CA"),
    ),
    (
        "an istiod whose CA has expired",
        serves(leaf_of(OLD_CA), OLD_CA.signed_by(ROOT.name, ROOT.key), ROOT.as_root),
        causes.CA_NOT_VALID,
        ("istiod primary/istio-system/istiod-1", "certificate 2 of 3", "CN=expired, valid from"),
    ),
    (
        "a role without endpoint slices",
        edits("remote", "ClusterRole", "istio-reader-clusterrole-istio-system", lambda one: one["rules"].pop()),
        causes.REMOTE_SECRET_REFUSED,
        ("ClusterRole remote/istio-reader", "rules", "endpointslices: without [list, watch] (discovery.k8s.io)"),
    ),
]


@pytest.mark.parametrize(("what", "apply", "cause", "cite"), LATENT, ids=[one[0] for one in LATENT])
def test_what_traffic_does_not_show_is_a_cause_where_a_check_suspects_it(
    what: str, apply: Change, cause: Cause, cite: tuple[str, str, str]
) -> None:
    broken = apply(sound())
    failed = Symptom("test_new_pods_are_injected", "remote", "refused", (cause.id, causes.ISTIOD_UNREACHABLE.id))
    found = diagnose(Case(broken, (failed,)))
    assert [one.id for one in found.root_causes] == [cause.id], what
    (root,) = found.root_causes
    assert any(
        all(part in whole for part, whole in zip(cite, (fact.object, fact.field, fact.value), strict=True))
        for fact in root.finding.evidence
    ), root.finding.evidence
    assert root.consequences == ("test_new_pods_are_injected",)
    assert of_reading(broken).root_causes == ()


def test_a_bundle_that_istiod_may_not_correct_is_its_missing_right() -> None:
    def read_only(one: Object) -> None:
        one["rules"][1]["verbs"] = ["get", "list", "watch"]

    role = edits("remote", "ClusterRole", "istio-reader-clusterrole-istio-system", read_only)
    broken = also(role, webhook(caBundle="4 characters"))(sound())
    failed = Symptom("test_new_pods_are_injected", "remote", "refused", (causes.WEBHOOK_NOT_TRUSTED.id,))
    found = diagnose(Case(broken, (failed,)))
    assert [one.id for one in found.root_causes] == [causes.ISTIOD_MAY_NOT_WRITE.id]


def joined(seen: str, *open_causes: Cause) -> Symptom:
    return Symptom("test_networks_are_separate", "primary→remote", seen, tuple(one.id for one in open_causes))


ANSWERED = "helloworld-1 answered 200 at 10.20.0.3 after 0.01 s"


def test_a_pod_that_answered_at_its_own_address_shows_that_the_networks_are_joined() -> None:
    found = diagnose(Case(sound(), (joined(ANSWERED, causes.NETWORKS_JOINED),)))
    (root,) = found.root_causes
    assert root.id == causes.NETWORKS_JOINED.id
    (fact,) = root.finding.evidence
    assert str(fact) == (
        "Pod remote/sample/helloworld-1: status.podIP 10.20.0.3 answers the client of primary, past every gateway"
    )
    assert root.consequences == ("test_networks_are_separate",)


@pytest.mark.parametrize(
    "symptom",
    [
        joined(ANSWERED, causes.NETWORKS_JOINED, causes.POD_RANGE_IN_USE),
        joined("somebody answered 404 at 10.20.0.3", causes.NETWORKS_JOINED),
        joined(ANSWERED, causes.POD_RANGE_IN_USE),
    ],
    ids=["undecided", "another pod", "another cause"],
)
def test_without_the_pods_own_answer_nothing_is_joined(symptom: Symptom) -> None:
    assert diagnose(Case(sound(), (symptom,))).root_causes == ()


def test_two_primaries_that_are_sound_have_no_root_cause() -> None:
    assert of_reading(two_primaries()).root_causes == ()


@pytest.mark.parametrize(("plane", "unseen"), [("primary", "remote"), ("remote", "primary")])
def test_of_two_primaries_the_one_that_does_not_see_the_other_is_named(plane: str, unseen: str) -> None:
    def blind(cluster: Cluster) -> Cluster:
        known = replace(cluster.istiods[0], clusters=({"id": plane, "syncStatus": "synced"},))
        return replace(cluster, secrets=(), istiods=(known,))

    reading = change(plane, blind)(two_primaries())
    (found,) = of_reading(reading).root_causes
    assert found.id == causes.REMOTE_SECRET_MISSING.id
    assert found.finding.witness == f"istiod of {plane} does not see {unseen}: it watches {plane}=synced"
    assert found.finding.evidence[0].object == f"Secret {plane}/istio-system/istio-remote-secret-{unseen}"
    command = f"istioctl <{unseen}> create-remote-secret --name {unseen} | kubectl <secrets of {plane}> apply"
    assert found.finding.fix.startswith(command)


def test_a_secret_that_leads_to_loopback_is_found_in_the_second_primary_too() -> None:
    def looped(cluster: Cluster) -> Cluster:
        (secret,), (istiod,) = cluster.secrets, cluster.istiods
        states = ({"id": "remote", "syncStatus": "synced"}, {"id": "primary", "syncStatus": "timeout"})
        wrong = replace(secret, server="https://127.0.0.1:6443")
        return replace(cluster, secrets=(wrong,), istiods=(replace(istiod, clusters=states),))

    (found,) = of_reading(change("remote", looped)(two_primaries())).root_causes
    assert found.id == causes.REMOTE_SECRET_AT_LOOPBACK.id
    assert found.finding.evidence[0].object == "Secret remote/istio-system/istio-remote-secret-primary"


def test_a_gateway_that_one_of_two_istiods_does_not_know_is_found() -> None:
    """The label of the Service is lost, and the other cluster's istiod hears of it."""

    def ignorant(cluster: Cluster) -> Cluster:
        (istiod,) = cluster.istiods
        known = tuple(one for one in istiod.networks or () if one["Network"] == "primary-network")
        return replace(cluster, istiods=(replace(istiod, networks=known),))

    unlabelled = labels("remote", "Service", "istio-eastwestgateway", network=None)
    reading = also(unlabelled, change("primary", ignorant))(two_primaries())
    found = of_reading(reading).root_causes
    assert [one.id for one in found] == [causes.GATEWAY_SERVICE_WITHOUT_NETWORK.id]
    assert found[0].finding.witness.startswith("istiod of primary knows no gateway of remote-network")


def external(*, named: bool) -> Change:
    """The primary's istiod runs in a third cluster, to which the remote's Service for istiod leads."""

    def away(cluster: Cluster) -> Cluster:
        if cluster.name == "remote":
            slices = tuple({**one, "endpoints": [{"addresses": ["10.89.0.9"]}]} for one in cluster.all("EndpointSlice"))
            return replace(cluster, objects={**cluster.objects, "EndpointSlice": slices})
        if named:
            return replace(cluster, external_istiod=True)
        pods = tuple(one for one in cluster.all("Pod") if one["metadata"]["labels"].get("app") != "istiod")
        objects = {kind: every for kind, every in cluster.objects.items() if kind != "Deployment"} | {"Pod": pods}
        unseen = replace(cluster, istiods=(), secrets=(), objects=objects)
        return replace(unseen, external_istiod=True, istiod_is_asked=False)

    def changed(reading: Reading) -> Reading:
        unread = () if named else (Unread("primary", "remote secrets", "istiod runs in a cluster that is not named"),)
        return replace(reading, clusters=tuple(map(away, reading.clusters)), unread=unread)

    return changed


@pytest.mark.parametrize("named", [True, False], ids=["named", "not named"])
def test_a_sound_external_control_plane_is_no_cause_and_no_note(named: bool) -> None:
    failed = (
        Symptom("test_both_versions_answer", "primary→remote", "v2 0", (causes.REMOTE_SECRET_MISSING.id,), {}),
        Symptom("test_new_pods_are_injected", "", "refused", (causes.ISTIOD_ADDRESS_STALE.id,), {}),
    )
    found = diagnose(Case(external(named=named)(sound()), failed))
    assert (found.root_causes, found.notes) == ((), ())


def test_of_two_revisions_each_reader_role_is_that_of_its_own() -> None:
    role = made(
        "ClusterRole", "istio-reader-clusterrole-canary-istio-system", labels={"app": "istio-reader"},
        rules=[{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}],
    )  # fmt: skip

    def of_canary(cluster: Cluster) -> Cluster:
        return replace(cluster, revision="canary", objects={**cluster.objects, "ClusterRole": (role,)})

    refused = Symptom("test_remote_credentials_last", "", "endpointslices", (causes.REMOTE_SECRET_REFUSED.id,), {})
    found = diagnose(Case(change("remote", of_canary)(sound()), (refused,)))
    assert [one.id for one in found.root_causes] == [causes.REMOTE_SECRET_REFUSED.id]
