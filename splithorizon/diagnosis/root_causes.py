"""Root causes that no single check can name: only a reading of the mesh shows them.

A diagnosis names these and those of ``splithorizon.diagnosis.causes``; ids are unique over both.
"""

from __future__ import annotations

from splithorizon.diagnosis.causes import Registry

READ = Registry()
_new = READ.add

# The mesh configuration.

NAMESPACE_NOT_DISCOVERED = _new(
    "namespace-not-discovered",
    "discoverySelectors leave out the service's namespace: istiod does not see its Service and pods there",
)
AUTO_MTLS_OFF = _new(
    "auto-mtls-off",
    "enableAutoMtls is off: clients speak plain text, and other networks' endpoints are for mutual TLS alone",
)
SERVICE_CLUSTER_LOCAL = _new(
    "service-cluster-local",
    "serviceSettings make the service local to each cluster: no client gets endpoints of another",
)

# Gateways.

GATEWAY_PORT_LEADS_ELSEWHERE = _new(
    "gateway-port-leads-elsewhere",
    "the gateway's Service sends port 15443 to a port at which something else listens, or nothing",
)
GATEWAY_SELECTS_NO_GATEWAY = _new(
    "gateway-selects-no-gateway",
    "the gateway's Service selects none of the gateway's pods",
)

SERVICE_IS_NO_GATEWAY = _new(
    "service-is-no-gateway",
    "a Service that leads to no gateway has the label topology.istio.io/network: istiod takes its address for one",
)
GATEWAY_BINDS_ELSEWHERE = _new(
    "gateway-binds-elsewhere",
    "a Gateway has the gateway listen at an address that nobody else reaches",
)
GATEWAY_PORT_LABEL_WRONG = _new(
    "gateway-port-label-wrong",
    "a label of the gateway's Service names a port for other networks that the Service does not have",
)
POD_ON_HOST_NETWORK = _new(
    "pod-on-host-network",
    "a pod of the service is on its node's network: such a pod gets no sidecar",
)
POD_WITHOUT_CLUSTER_DNS = _new(
    "pod-without-cluster-dns",
    "a pod does not ask its cluster's DNS: its sidecar does not find istiod",
)
DISCOVERY_ADDRESS_WRONG = _new(
    "discovery-address-wrong",
    "a pod's annotation leads its sidecar to an address at which it gets no configuration from istiod",
)
GATEWAY_RULE_CHANGES_TLS = _new(
    "gateway-rule-changes-tls",
    "a DestinationRule that binds a gateway has it expect no mutual TLS: it drops what comes from other networks",
)
GATEWAY_SOURCES_LIMITED = _new(
    "gateway-sources-limited",
    "the gateway's Service admits some source addresses only (loadBalancerSourceRanges)",
)

GATEWAY_VIEW_WRONG = _new(
    "gateway-view-wrong",
    "the gateway asks istiod for other networks' endpoints and not for its own's (ISTIO_META_REQUESTED_NETWORK_VIEW)",
)

CLIENT_VIEW_LIMITED = _new(
    "client-view-limited",
    "a client asks istiod for some networks' endpoints alone (ISTIO_META_REQUESTED_NETWORK_VIEW): it gets no others",
)

# The Service.

SERVICE_ADDRESS_TAKEN = _new(
    "service-address-taken",
    "a ServiceEntry has the Service's own address: sidecars send what is for the Service to the entry's endpoints",
)

SERVICE_ABSENT = _new(
    "service-absent",
    "a cluster has no Service of that name: no client has its pods, or its clients cannot resolve the name",
)
SELECTOR_MISSES_PODS = _new(
    "selector-misses-pods",
    "the Service's selector does not fit the labels of its pods",
)
PORTS_DIFFER = _new(
    "ports-differ",
    "the Service's ports differ between clusters: istiod matches the ports of clusters by name",
)
TARGET_PORT_WRONG = _new(
    "target-port-wrong",
    "the Service's target port is one at which its pods do not listen",
)
SERVICE_KIND_DIFFERS = _new(
    "service-kind-differs",
    "the Service is of another kind in one cluster: without an address, or a name for something outside",
)
TRAFFIC_KEPT_NEAR = _new(
    "traffic-kept-near",
    "the Service asks to be reached as near as possible (trafficDistribution): other networks are a last resort",
)
TRAFFIC_KEPT_ON_NODE = _new(
    "traffic-kept-on-node",
    "the Service's internalTrafficPolicy is Local: a client gets only endpoints of its node",
)
NO_PODS_WANTED = _new(
    "no-pods-wanted",
    "the service's Deployment asks for no pods in one cluster",
)
PODS_NOT_CREATED = _new(
    "pods-not-created",
    "the API server refuses to create the pods of a Deployment: a quota, an admission policy or a webhook",
)
POD_WITHOUT_TLS_MODE = _new(
    "pod-without-tls-mode",
    "a pod's label security.istio.io/tlsMode says that it speaks no mutual TLS: other networks do not get it",
)
TRAFFIC_NOT_CAPTURED = _new(
    "traffic-not-captured",
    "an annotation, or the user that it runs as, keeps a pod's requests away from its sidecar",
)
WORKLOAD_ENTRY_UNREACHABLE = _new(
    "workload-entry-unreachable",
    "a WorkloadEntry counts among the service's pods, and nothing answers at its address",
)
SERVICE_ENTRY_ADDS_ENDPOINTS = _new(
    "service-entry-adds-endpoints",
    "a ServiceEntry for the service's own host gives clients other endpoints",
)

ENDPOINT_SLICE_UNREACHABLE = _new(
    "endpoint-slice-unreachable",
    "an EndpointSlice that was not made from pods adds an address to the Service, and nothing answers there",
)

# Rules for clients.

SIDECAR_HIDES_SERVICE = _new(
    "sidecar-hides-service",
    "a Sidecar resource binds the client, and its egress leaves out the service",
)
SIDECAR_HIDES_PORT = _new(
    "sidecar-hides-port",
    "a Sidecar resource binds the service's pods, and its ingress leaves out their port",
)
SIDECAR_LEADS_ELSEWHERE = _new(
    "sidecar-leads-elsewhere",
    "a Sidecar resource binds the service's pods, and its ingress leads to a port at which the application is not",
)
RULE_CHANGES_TLS = _new(
    "rule-changes-tls",
    "a DestinationRule has clients speak no mutual TLS to the service, or something before it: a gateway passes "
    "nothing else on",
)
RULE_DEMANDS_ANOTHER_NAME = _new(
    "rule-demands-another-name",
    "a DestinationRule demands a name (subjectAltNames) that the certificates of the service's pods do not have",
)
IDENTITY_WITHOUT_TRUST_DOMAIN = _new(
    "identity-without-trust-domain",
    "istiod read pods before it knew their trust domain (istio/istio#59474): clients expect identities without one",
)
TRUST_DOMAIN_CHANGED = _new(
    "trust-domain-changed",
    "pods have certificates of a trust domain that the mesh configuration no longer names, not even as an alias",
)
CONNECTIONS_LIMITED = _new(
    "connections-limited",
    "a rule limits the client's connections or pending requests, and what exceeds that is refused",
)
RULE_PICKS_SUBSET = _new(
    "rule-picks-subset",
    "a VirtualService sends requests to a subset that leaves out pods, or has none",
)
RULE_ANSWERS_ITSELF = _new(
    "rule-answers-itself",
    "a VirtualService has the client's sidecar answer itself, or sends the client elsewhere",
)
RULE_MATCHES_NOTHING = _new(
    "rule-matches-nothing",
    "a VirtualService matches only some requests for the service, and has no route for the others",
)
FAULT_INJECTED = _new(
    "fault-injected",
    "a rule or filter injects faults: a sidecar aborts or delays requests itself",
)
RATE_LIMITED = _new(
    "rate-limited",
    "a filter limits the rate of requests and answers 429",
)
FILTER_ANSWERS = _new(
    "filter-answers",
    "an EnvoyFilter has a proxy answer, refuse or change requests or connections itself",
)
TOKEN_DEMANDED = _new(
    "token-demanded",
    "a RequestAuthentication refuses the requests' tokens (401)",
)

# What breaks the next pod.

REVISION_WITHOUT_WEBHOOK = _new(
    "revision-without-webhook",
    "the namespace or pod asks for the sidecar of a revision or tag for which there is no injection webhook",
)

REMOTE_SECRET_AUTHORITY_WRONG = _new(
    "remote-secret-authority-wrong",
    "the CA in a remote secret is another cluster's: istiod trusts no answer of the API server",
)
REMOTE_SECRET_NOT_ALLOWED = _new(
    "remote-secret-not-allowed",
    "the kubeconfig in a remote secret asks istiod to run a command or to read a file: it takes no such credential",
)
ISTIOD_CLUSTER_ID_WRONG = _new(
    "istiod-cluster-id-wrong",
    "istiod has another id for its own cluster than the proxies there say, and admits none of them",
)
ISTIOD_NOT_READY = _new(
    "istiod-not-ready",
    "no istiod is ready: nothing is pushed, and no pod is injected",
)
CLUSTER_ID_SHARED = _new(
    "cluster-id-shared",
    "two clusters have the same id: istiod takes no remote secret of its own cluster's id, and cannot tell them apart",
)
NETWORK_PARTED = _new(
    "network-parted",
    "pods of one cluster do not reach those of another on the same network by address: the two have no route",
)
MANAGED_ELSEWHERE = _new(
    "managed-elsewhere",
    "the annotation of a remote's system namespace does not name its istiod, which therefore writes nothing into it",
)
SUBSET_UNKNOWN_AT_GATEWAY = _new(
    "subset-unknown-at-gateway",
    "a route leads to a subset that another primary does not define: the gateway there knows no such name (SNI)",
)
SERVICE_NEEDS_EXPORT = _new(
    "service-needs-export",
    "istiod discovers Services of other clusters only where a ServiceExport says so, and there is none",
)
