"""The causes that a check can name, as data.

A cause has an id, which reports, faults and documents use, a text for the reader of a failure, and a command if a
single command confirms it. In commands, ``{near}`` and ``{far}`` stand for the two clusters of the route that a check
is about. If it is about one cluster, both stand for that cluster. ``splithorizon.checks.next_steps`` defines the
other placeholders.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Cause:
    """A cause of failures.

    ``text`` is a clause without a full stop. ``next_step`` is a command; it is empty if only the check knows the object
    to inspect.
    """

    id: str
    text: str
    next_step: str = ""


class Registry:
    """Causes by id."""

    def __init__(self) -> None:
        """Create an empty registry."""
        self._causes: dict[str, Cause] = {}

    def add(self, id: str, text: str, next_step: str = "") -> Cause:  # noqa: A002  # the field's name
        """Register a cause and return it. Raises ValueError if the id is already registered."""
        if id in self._causes:
            raise ValueError(f"cause {id!r} is already registered: {self._causes[id].text}")
        self._causes[id] = cause = Cause(id, text, next_step)
        return cause

    def __getitem__(self, id: str) -> Cause:  # noqa: A002  # the field's name
        return self._causes[id]

    def __iter__(self) -> Iterator[Cause]:
        return iter(self._causes.values())

    def __contains__(self, id: object) -> bool:  # noqa: A002  # the field's name
        return id in self._causes

    def __len__(self) -> int:
        return len(self._causes)


REGISTRY = Registry()
_new = REGISTRY.add

_REMOTE_SECRETS = "kubectl <secrets of {near}> -n <secrets of {near} system> get secrets -l istio/multiCluster=true"
_REMOTE_CLUSTERS = "istioctl <istiod of {near}> remote-clusters<revision>"
_GATEWAY_SERVICES = "kubectl <{far}> get services -A -l topology.istio.io/network -o wide"
_GATEWAY_LISTENERS = "istioctl <gateway of {far}> proxy-config listeners <gateway of {far} gateway> --port 15443"
_NETWORKS = "istioctl <istiod of {near}> x internal-debug networkz<revision>"
_MESH_CONFIG = "kubectl <config of {near}> -n <config of {near} system> get configmaps -l istio.io/rev -o yaml"
_POLICIES = "kubectl <config of {far}> get peerauthentications,authorizationpolicies,envoyfilters -A"
_RULES = "kubectl <config of {near}> get virtualservices,destinationrules -A"
_PODS = "kubectl <{near}> -n <namespace> get pods -o wide"
_CLIENT_LOG = "kubectl <{near}> -n <namespace> logs deploy/sleep -c istio-proxy --tail 20"
_CLIENT_ENDPOINTS = (
    "istioctl <{near}> proxy-config endpoints deploy/sleep -n <namespace> "
    "--cluster 'outbound|5000||helloworld.<namespace>.svc.cluster.local'"
)
_WEBHOOKS = "kubectl <{near}> get mutatingwebhookconfigurations,validatingwebhookconfigurations -o yaml"

# Remote secrets, and istiod's watch of the remote cluster.

REMOTE_SECRET_MISSING = _new(
    "remote-secret-missing",
    "the remote secret is missing: istiod does not know the remote cluster",
    _REMOTE_SECRETS,
)
REMOTE_SECRET_REFUSED = _new(
    "remote-secret-refused",
    "the remote's API server rejects istiod's requests: the token in the remote secret is stale, or lacks permissions",
    _REMOTE_CLUSTERS,
)
REMOTE_SECRET_KEY_WRONG = _new(
    "remote-secret-key-wrong",
    "the data key of the remote secret is not the id of the remote cluster",
    _REMOTE_SECRETS,
)
REMOTE_SECRET_WITHOUT_KUBECONFIG = _new(
    "remote-secret-without-kubeconfig",
    "a remote secret holds no kubeconfig with a server",
    _REMOTE_SECRETS,
)
REMOTE_SECRET_AT_LOOPBACK = _new(
    "remote-secret-at-loopback",
    "the server in a remote secret is a loopback address, as in a kubeconfig from the cluster's machine",
    _REMOTE_SECRETS,
)
REMOTE_NAMED_TWICE = _new(
    "remote-named-twice",
    "another remote secret still names the cluster",
    _REMOTE_SECRETS,
)
API_SERVER_UNREACHABLE = _new(
    "api-server-unreachable",
    "istiod does not reach the cluster's API server at the address in the remote secret",
    _REMOTE_CLUSTERS,
)
WATCH_CLOSED = _new(
    "watch-closed",
    "istiod closed its watch of the cluster and did not open it again: it keeps old endpoints until it restarts",
    _REMOTE_CLUSTERS,
)
WATCH_HANGS = _new(
    "watch-hangs",
    "istiod hangs after a remote secret changed, until it restarts (istio/istio#60612)",
    _REMOTE_CLUSTERS,
)
CLUSTER_NOT_SYNCED = _new(
    "cluster-not-synced",
    "istiod has not synced the cluster",
    _REMOTE_CLUSTERS,
)

# Where istiod reads networks and their gateways.

SYSTEM_NAMESPACE_WITHOUT_NETWORK = _new(
    "system-namespace-without-network",
    "the system namespace lacks the label topology.istio.io/network, or the label names another network",
    "kubectl <{near}> get namespace <{near} system> --show-labels",
)
GATEWAY_SERVICE_WITHOUT_NETWORK = _new(
    "gateway-service-without-network",
    "the gateway's Service lacks the label topology.istio.io/network or port 15443: istiod knows no gateway there",
    _GATEWAY_SERVICES,
)
GATEWAY_SERVICE_WITHOUT_ADDRESS = _new(
    "gateway-service-without-address",
    "the gateway's Service has no external address yet: istiod knows no gateway there",
    _GATEWAY_SERVICES,
)
GATEWAY_ADDRESS_WRONG = _new(
    "gateway-address-wrong",
    "istiod has a wrong address of the gateway: in the Service's status, or in meshNetworks",
    _NETWORKS,
)
GATEWAY_ADDRESS_NAMED_TWICE = _new(
    "gateway-address-named-twice",
    "a second Service of the network still has the gateway's former address",
    _GATEWAY_SERVICES,
)
MESH_NETWORKS_WITHOUT_GATEWAY = _new(
    "mesh-networks-without-gateway",
    "meshNetworks names no gateway of the network: istiod sends its pod addresses",
    _MESH_CONFIG,
)
MESH_NETWORKS_REGISTRY_WRONG = _new(
    "mesh-networks-registry-wrong",
    "a fromRegistry in meshNetworks is not the id of a cluster",
    _MESH_CONFIG,
)
POD_WITHOUT_NETWORK = _new(
    "pod-without-network",
    "a pod lacks the label topology.istio.io/network: it was injected before its network was set, or relabelled",
    "kubectl <{far}> get pods -A -L topology.istio.io/network",
)
PROXY_NETWORK_WRONG = _new(
    "proxy-network-wrong",
    "the injection webhook's path names another network, or the pod is older than that setting",
    _WEBHOOKS,
)
PROXY_CLUSTER_ID_WRONG = _new(
    "proxy-cluster-id-wrong",
    "the injection webhook's path names another cluster than the remote secret's data key",
    _WEBHOOKS,
)

# What istiod sends, and what proxies hold.

SERVICE_NOT_SENT = _new(
    "service-not-sent",
    "the client's sidecar has no endpoint of the service: it is not exported to the namespace, or no push arrived",
    _CLIENT_ENDPOINTS,
)
STALE_ENDPOINT = _new(
    "stale-endpoint",
    "sidecars have the endpoint of a deleted pod, or lack that of a new one",
    _CLIENT_ENDPOINTS,
)
ENDPOINT_EJECTED = _new(
    "endpoint-ejected",
    "the client's sidecar considers an endpoint unhealthy: ejected after failures, or not ready",
    _CLIENT_ENDPOINTS,
)
PUSH_LATE = _new(
    "push-late",
    "istiod's push is late: the change has not reached every proxy",
    "istioctl <istiod of {near}> proxy-status<revision>",
)
PROXY_REFUSED = _new(
    "proxy-refused",
    "istiod rejects the proxy: no remote secret has its cluster id as a data key",
    "kubectl <istiod of {near}> -n <istiod of {near} system> logs -l app=istiod --tail 20",
)
PROXY_HANGS = _new(
    "proxy-hangs",
    "the proxy does not answer a push: it is overloaded, or its connection hangs",
    "istioctl <istiod of {near}> proxy-status<revision>",
)
ENVOY_REFUSED_CONFIG = _new(
    "envoy-refused-config",
    "Envoy rejected its configuration: its log says why (an EnvoyFilter, a duplicate filter chain)",
    "kubectl <config of {near}> get envoyfilters -A",
)
ISTIOD_UNREACHABLE = _new(
    "istiod-unreachable",
    "proxies and webhooks of the cluster do not reach istiod: new pods are not injected or not configured",
    "kubectl <{near}> -n <{near} system> get services,endpointslices -o wide",
)
ISTIOD_ADDRESS_STALE = _new(
    "istiod-address-stale",
    "the endpoints of the Service for istiod are not the gateway of istiod's cluster: remotePilotAddress is wrong",
    "kubectl <{near}> -n <{near} system> get endpointslices -o yaml",
)
ISTIOD_SERVICE_WITHOUT_ENDPOINT = _new(
    "istiod-service-without-endpoint",
    "the Service for istiod has no endpoint: the cluster is not installed, or was installed without a gateway address",
    "kubectl <{near}> -n <{near} system> get services,endpointslices -o wide",
)
MESH_CONFIG_UNREADABLE = _new(
    "mesh-config-unreadable",
    "istiod cannot parse its mesh configuration and keeps the former one: its log names the field",
    "kubectl <istiod of {near}> -n <istiod of {near} system> logs -l app=istiod --tail 50",
)
SERVICE_NOT_EXPORTED = _new(
    "service-not-exported",
    "the gateway does not know the service: it is not exported to the gateway's namespace",
    "kubectl <{far}> -n <namespace> get services -o yaml",
)
OLDER_RULE = _new(
    "older-rule",
    "an older rule for the same host is in force: of two rules, istiod sends the older one",
    _RULES,
)
RULE_IN_OTHER_PRIMARY = _new(
    "rule-in-other-primary",
    "another primary has a rule for the same host too: each istiod sends the rules of its own cluster",
    _RULES,
)
RULE_SENDS_ELSEWHERE = _new(
    "rule-sends-elsewhere",
    "a VirtualService for the host sends its requests to another service",
    _RULES,
)
ENDPOINTS_REMOVED_LATE = _new(
    "endpoints-removed-late",
    "pods were removed before sidecars received the change",
    _CLIENT_LOG,
)
PROXY_NEEDS_ISTIOD = _new(
    "proxy-needs-istiod",
    "a proxy does not serve while istiod is down",
    _CLIENT_LOG,
)

# Gateways.

SERVICES_NOT_EXPOSED = _new(
    "services-not-exposed",
    "the gateway has no filter chain for the service: no Gateway with an AUTO_PASSTHROUGH server at port 15443",
    _GATEWAY_LISTENERS,
)
GATEWAY_NOT_SERVING = _new(
    "gateway-not-serving",
    "nothing answers at the gateway's address: there is no gateway pod, or the Service selects none",
    "kubectl <{far}> get endpointslices -A -l istio=eastwestgateway -o wide",
)
GATEWAY_NOT_LISTENING = _new(
    "gateway-not-listening",
    "the gateway does not listen at port 15443",
    _GATEWAY_LISTENERS,
)
GATEWAY_WITHOUT_TLS = _new(
    "gateway-without-tls",
    "the server at the gateway's address does not use TLS",
    _GATEWAY_LISTENERS,
)
GATEWAY_SERVICE_SELECTS_ABSENT_POD = _new(
    "gateway-service-selects-absent-pod",
    "the gateway's Service selects a pod that does not serve, and not the others",
    _GATEWAY_SERVICES,
)
GATEWAY_DROPS_PACKETS = _new(
    "gateway-drops-packets",
    "the gateway's address drops packets instead of refusing connections",
    _CLIENT_LOG,
)
GATEWAY_ADDRESS_REFUSES = _new(
    "gateway-address-refuses",
    "one of the gateway's addresses makes no connections, while others do: sidecars try again at another endpoint",
    _CLIENT_ENDPOINTS,
)
CONNECTIONS_DROPPED = _new(
    "connections-dropped",
    "packets are lost on the way to the gateway: new connections are made only after a second or more, or not at all",
    _CLIENT_ENDPOINTS,
)
PROXY_VERSION_UNSUPPORTED = _new(
    "proxy-version-unsupported",
    "a proxy is newer than its istiod, or older by more than one minor version: Istio supports neither",
    "istioctl <istiod of {near}> proxy-status<revision>",
)
GATEWAY_BYPASSED = _new(
    "gateway-bypassed",
    "something other than the network's gateway answers at its address and forwards to the pods",
    _GATEWAY_SERVICES,
)
GATEWAY_HAIRPIN = _new(
    "gateway-hairpin",
    "the gateway forwards requests to other networks: it does not know its own network",
    "istioctl <gateway of {far}> proxy-config endpoints <gateway of {far} gateway>",
)
GATEWAY_USED_FOR_NEAR = _new(
    "gateway-used-for-near",
    "the client's sidecar reaches pods of the client's network through a gateway",
    _CLIENT_ENDPOINTS,
)
GATEWAY_NAME_CHANGED = _new(
    "gateway-name-changed",
    "the gateway receives the service's connections with another server name (SNI)",
    _GATEWAY_LISTENERS,
)
GATEWAY_CONNECTION_BROKEN = _new(
    "gateway-connection-broken",
    "the gateway closes the service's connections with an error: its log has the response flags",
)
GATEWAY_LOG_INCOMPLETE = _new(
    "gateway-log-incomplete",
    "the gateway has not closed the connection yet, or its log was truncated",
)

# Where versions run, and how requests are balanced between them.

BOTH_VERSIONS_EVERYWHERE = _new(
    "both-versions-everywhere",
    "several versions run in one cluster: helloworld.yaml was applied with -l app=helloworld",
)
VERSION_MISPLACED = _new(
    "version-misplaced",
    "a version was deployed into the wrong cluster, or not at all",
)
STRANGE_POD = _new(
    "strange-pod",
    "a pod that does not belong to helloworld has the service's label",
)
POD_FORWARDS = _new(
    "pod-forwards",
    "a pod of the service forwards requests to the other network",
)
FAR_VERSION_RUNS_NEAR = _new(
    "far-version-runs-near",
    "a pod of the near cluster runs the far version",
    "kubectl <{near}> -n <namespace> get pods -L version",
)
PODS_REPLACED = _new(
    "pods-replaced",
    "pods were replaced while the sample was taken",
    _PODS,
)
CONTEXTS_SWAPPED = _new(
    "contexts-swapped",
    "the contexts are swapped: each names the other cluster",
    _PODS,
)
POD_WITHOUT_SIDECAR = _new(
    "pod-without-sidecar",
    "a far pod has no sidecar: other networks cannot reach it, and istiod does not count it",
    "kubectl <{far}> -n <namespace> get pods",
)
POD_NOT_READY = _new(
    "pod-not-ready",
    "a pod is not ready",
    "kubectl <{far}> -n <namespace> get pods",
)
PODS_NOT_SERVING = _new(
    "pods-not-serving",
    "the pods of the service do not answer, or do not exist",
    _PODS,
)
BALANCED_WITHOUT_WEIGHTS = _new(
    "balanced-without-weights",
    "sidecars ignore weights: a DestinationRule sets RANDOM or a consistent hash",
    "kubectl <config of {near}> get destinationrules -A -o yaml",
)
ENDPOINTS_WEIGHTED = _new(
    "endpoints-weighted",
    "endpoints have unequal weights: a WorkloadEntry, a locality, or more pods on one side",
    _CLIENT_ENDPOINTS,
)
LOCALITY_PREFERRED = _new(
    "locality-preferred",
    "a DestinationRule or the mesh configuration prefers one locality",
    "kubectl <config of {near}> get destinationrules -A -o yaml",
)
SERVICE_IN_BOTH_CLUSTERS = _new(
    "service-in-both-clusters",
    "another cluster has a Service of the same name",
    "kubectl <{near}> -n <namespace> get services",
)
RETRIES_CHANGED = _new(
    "retries-changed",
    "sidecars do not retry a refused request at another pod: a retry policy forbids it",
    _RULES,
)

# The two networks.

NETWORKS_JOINED = _new(
    "networks-joined",
    "a route joins the two pod ranges: the clusters are on one network",
)
POD_RANGE_IN_USE = _new(
    "pod-range-in-use",
    "another host uses an address of the other network's pod range and has answered",
)
PACKETS_LEAVE = _new(
    "packets-leave",
    "packets leave the test network by a node's default route and are dropped",
)

# Access logs.

ACCESS_LOG_FORMAT_UNKNOWN = _new(
    "access-log-format-unknown",
    "the access log has a custom format: no path can be read from it",
    _MESH_CONFIG,
)
ACCESS_LOG_OFF = _new(
    "access-log-off",
    "the access log is off, or does not go to standard output",
    _MESH_CONFIG,
)
REQUEST_LOGGED_TWICE = _new(
    "request-logged-twice",
    "a second proxy on the path logs the same request id",
    _CLIENT_LOG,
)
REQUEST_SENT_AGAIN = _new(
    "request-sent-again",
    "a proxy on the path retries the request",
    _CLIENT_LOG,
)
REQUEST_ID_CHANGED = _new(
    "request-id-changed",
    "something on the path changes the request id",
    _CLIENT_LOG,
)
LOG_LINES_DROPPED = _new(
    "log-lines-dropped",
    "lines of the access log were dropped",
    _CLIENT_LOG,
)

# Protocols.

PORT_MISNAMED = _new(
    "port-misnamed",
    "the Service's port has a name or an appProtocol of another protocol, which sidecars then use",
    "kubectl <{near}> -n <namespace> get services -o yaml",
)
BODY_LIMITED = _new(
    "body-limited",
    "a filter limits the size of bodies (an EnvoyFilter)",
    "kubectl <config of {near}> get envoyfilters -A",
)
CONNECTION_CUT = _new(
    "connection-cut",
    "a connection through the gateway is closed before its request is answered",
    _CLIENT_LOG,
)
REQUEST_TIME_LIMITED = _new(
    "request-time-limited",
    "a rule limits the duration of a request (the timeout of a VirtualService)",
    _RULES,
)
SILENCE_LIMITED = _new(
    "silence-limited",
    "a rule or a proxy closes idle connections (idleTimeout, ISTIO_META_IDLE_TIMEOUT)",
    _RULES,
)

# Readiness of pods.

IMAGE_NOT_PULLED = _new("image-not-pulled", "an image cannot be pulled")
CONTAINER_CRASHES = _new("container-crashes", "a container crashes repeatedly")
POD_NOT_SCHEDULED = _new("pod-not-scheduled", "the pod is not scheduled to a node")
VOLUME_NOT_MOUNTED = _new("volume-not-mounted", "a volume cannot be mounted: its ConfigMap or Secret is missing")
READINESS_GATE_UNMET = _new("readiness-gate-unmet", "a readiness gate of the pod is not met")
POD_REFUSES_SIDECAR = _new(
    "pod-refuses-sidecar",
    "the pod opts out of injection: its label sidecar.istio.io/inject is false",
)
NAMESPACE_NOT_INJECTED = _new("namespace-not-injected", "the namespace has no injection label")
WEBHOOK_NOT_CALLED = _new("webhook-not-called", "the injection webhook was not called, or failed open", _WEBHOOKS)
ISTIOD_CRASHED = _new("istiod-crashed", "istiod crashed: an error, or not enough memory")
ISTIOD_REPLACED = _new("istiod-replaced", "istiod's pod was replaced: evicted, deleted, or rolled out")
PRIMARY_PROFILE_IN_REMOTE = _new(
    "primary-profile-in-remote",
    "a profile with an istiod was installed into a managed cluster",
)
REMOTE_CLUSTER_TIMEOUT_LONG = _new(
    "remote-cluster-timeout-long",
    "istiod waits for a remote cluster that does not answer (PILOT_REMOTE_CLUSTER_TIMEOUT)",
    "kubectl <istiod of {near}> -n <istiod of {near} system> get deployments -l app=istiod -o yaml",
)
ISTIOD_MAY_NOT_READ = _new(
    "istiod-may-not-read",
    "istiod lacks permissions to read its cluster",
    "kubectl <istiod of {near}> -n <istiod of {near} system> logs -l app=istiod --tail 20",
)

# Trust, identity and policies.

ISTIOD_MAY_NOT_WRITE = _new(
    "istiod-may-not-write",
    "istiod cannot write its root certificate into the cluster: its reader account lacks permissions",
    "kubectl <{near}> get clusterroles -o yaml -l app=istio-reader",
)
WEBHOOK_ORPHANED = _new(
    "webhook-orphaned", "the webhook belongs to another istiod, or to one that was removed", _WEBHOOKS
)
ROOTS_DIFFER = _new(
    "roots-differ",
    "the clusters trust different roots: a root was replaced in one cluster, or they never shared a root",
    "kubectl <{near}> -n <namespace> get configmap istio-ca-root-cert -o yaml",
)
ROOT_EXPIRED = _new(
    "root-expired",
    "a root certificate is not valid, or expires soon: it was not replaced in time, or a clock is wrong",
    "kubectl <{near}> -n <namespace> get configmap istio-ca-root-cert -o yaml",
)
CA_NOT_VALID = _new(
    "ca-not-valid",
    "a CA in the certificate's chain has expired, is not valid yet or is not a CA: renew istiod's own (cacerts)",
)
NO_MUTUAL_TLS = _new(
    "no-mutual-tls",
    "the service's sidecars do not use mutual TLS",
    _POLICIES,
)
TRUST_DOMAIN_DIFFERS = _new(
    "trust-domain-differs",
    "the certificate has another identity: the trust domains differ, or it is read from files in the pod",
)
SERVER_IS_ANOTHER = _new("server-is-another", "another workload answers for helloworld")
CERTIFICATE_SHORT_LIVED = _new(
    "certificate-short-lived",
    "the workload's certificate has a short lifetime (SECRET_TTL)",
)
CERTIFICATE_NOT_RENEWED = _new(
    "certificate-not-renewed",
    "the certificate was not renewed in time",
)
CLOCK_WRONG = _new("clock-wrong", "a clock is wrong: the certificate is not valid yet")
PROXY_NOT_CERTIFIED = _new(
    "proxy-not-certified",
    "the proxy has no certificate: istiod, or the agent in the pod, does not issue one",
)
NO_CLIENT_CERTIFICATE_DEMANDED = _new(
    "no-client-certificate-demanded",
    "sidecars do not require a client certificate: an EnvoyFilter removed that",
    _POLICIES,
)
ANY_ROOT_TRUSTED = _new(
    "any-root-trusted",
    "sidecars accept a client certificate of any root: an EnvoyFilter, or an additional root in the mesh",
    _POLICIES,
)
ANY_NAME_PASSED = _new(
    "any-name-passed",
    "the gateway forwards any connection: an EnvoyFilter added a filter chain without a server name",
    _GATEWAY_LISTENERS,
)
PLAIN_TEXT_AT_GATEWAY = _new(
    "plain-text-at-gateway",
    "the gateway accepts plain text at this port: a second Gateway of another protocol, or an EnvoyFilter",
    _GATEWAY_LISTENERS,
)
PLAIN_TEXT_ADMITTED = _new(
    "plain-text-admitted",
    "helloworld accepts plain text: its PeerAuthentication is PERMISSIVE or DISABLE",
    _POLICIES,
)
NETWORK_POLICY_DROPS = _new(
    "network-policy-drops",
    "packets are dropped on the path: a NetworkPolicy, and not the mesh, blocks the client",
    "kubectl <{near}> get networkpolicies -A",
)
POLICY_DENIES = _new(
    "policy-denies",
    "an authorization policy denies the requests",
    _POLICIES,
)
ADMITTED_BY_ANOTHER_POLICY = _new(
    "admitted-by-another-policy",
    "another ALLOW policy admits the client",
    _POLICIES,
)
POLICY_NOT_ENFORCED = _new("policy-not-enforced", "sidecars do not enforce policies", _POLICIES)
CLIENT_NOT_IDENTIFIED = _new(
    "client-not-identified",
    "the client is not identified by its certificate: there is no mutual TLS on the path",
    _POLICIES,
)

# What breaks only the next pod, proxy or token.

WEBHOOK_LEADS_NOWHERE = _new(
    "webhook-leads-nowhere",
    "the injection webhook names a Service or port that is not there: new pods get no sidecar, or are refused",
    _WEBHOOKS,
)
WEBHOOK_NOT_TRUSTED = _new(
    "webhook-not-trusted",
    "the injection webhook's CA bundle does not verify istiod's certificate: new pods are refused, or get no sidecar",
    _WEBHOOKS,
)
ISTIOD_PORT_LEADS_ELSEWHERE = _new(
    "istiod-port-leads-elsewhere",
    "the gateway's port for proxies or for webhooks (15012, 15017) does not lead to istiod: new pods do not start",
    "kubectl <istiod of {near}> get services,gateways,virtualservices -A -o wide",
)

REMOTE_TOKEN_ENDS = _new(
    "remote-token-ends",
    "the token in the remote secret ends within a day: istiod's next connection to the remote's API server is refused",
    _REMOTE_SECRETS,
)
CERTIFICATE_ENDS_SOON = _new(
    "certificate-ends-soon",
    "less than a fifth of a served certificate's life is left: it is not renewed, or its issuer ends as soon",
)

# What remains after uninstalling.

FINALIZER_WITHOUT_CONTROLLER = _new(
    "finalizer-without-controller",
    "an object has a finalizer whose controller was removed",
)
NAMESPACE_NOT_EMPTIED = _new(
    "namespace-not-emptied",
    "a namespace was not emptied in time, or contains an object that cannot be deleted",
)
INSTALLED_BY_OTHER_MEANS = _new(
    "installed-by-other-means",
    "it was not created by istioctl, which does not remove it: an earlier installation, another revision, Helm",
)
ISTIOD_ELSEWHERE = _new(
    "istiod-elsewhere",
    "the istiod of another cluster still watches this cluster and creates it again",
)
CHANGED_BY_INSTALLATION = _new(
    "changed-by-installation",
    "the installation changed an existing object, and uninstalling does not restore it",
)
