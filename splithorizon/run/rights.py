"""The rights that a run on an existing mesh needs, as data: for requests, for the roles, and for what goes without."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from splithorizon.diagnosis.reading.objects import ISTIO_KINDS
from splithorizon.kube.api_resources import resource_of
from splithorizon.undo.shared_namespace import KINDS


class Scope(StrEnum):
    """Where a right is needed: in all namespaces, the run's own, istiod's, or those of the east-west gateways."""

    CLUSTER = "all namespaces"
    OWN = "the run's namespace"
    SYSTEM = "istiod's namespace"
    GATEWAYS = "the gateways' namespaces"


class Part(StrEnum):
    """What a right is for. The second part is what tells causes apart, the last what ``--allow-disruption`` needs."""

    RUN = "run"
    DIAGNOSIS = "diagnosis"
    DISRUPTION = "disruption"


class Clusters(StrEnum):
    """In which clusters a right is needed."""

    ALL = "all"
    WITH_RULES = "with the rules that an istiod reads"
    WITH_ISTIOD = "with istiod"


class Namespace(StrEnum):
    """For which namespace of the run a right is needed: any, one that it creates, or one that is there."""

    ANY = "any"
    CREATED = "created"
    EXISTING = "existing"


@dataclass(frozen=True)
class Right:
    """Verbs on a resource, and what they are for.

    Without it a run cannot begin, unless ``limits`` has the behaviours that are not claimed then, or ``without`` says
    what else is missing. ``since`` is the minor version of Kubernetes from which it is needed.
    """

    resource: str
    verbs: tuple[str, ...]
    scopes: tuple[Scope, ...]
    purpose: str
    group: str = ""
    part: Part = Part.RUN
    clusters: Clusters = Clusters.ALL
    limits: tuple[str, ...] = ()
    without: str = ""
    since: int = 0
    namespace: Namespace = Namespace.ANY

    @property
    def prevents(self) -> bool:
        """Whether no run is possible without it."""
        return not self.limits and not self.without

    @property
    def is_path(self) -> bool:
        """Whether it is about a path of the API server, and not about objects."""
        return self.resource.startswith("/")


_ONCE = ("create", "delete", "get", "patch")
_ISTIO = {"AuthorizationPolicy": "security.istio.io", "Telemetry": "telemetry.istio.io"}
_WEBHOOKS = "admissionregistration.k8s.io"
# Websockets are requests with GET. From 1.35 on Kubernetes asks for the verb of the older protocol as well.
_WEBSOCKETS_CREATE = 35

_WATCHED, _SYNCED = "test_every_cluster_is_watched", "test_every_proxy_is_synced"
_VERSIONS = "test_proxy_versions_are_supported"
_NAMES = "test_networks_are_named_alike_everywhere"
_HOPS = "test_each_hop_of_a_far_answer_is_logged"
_CERTIFICATES = "test_workloads_are_known_by_their_own_certificates"
_PLAIN_TEXT = "test_plain_text_is_refused"
_OF_VIRTUAL_SERVICES = (
    "test_subsets_keep_clients_in_their_cluster",
    "test_a_rule_binds_the_clients_of_its_own_primary",
)
_OF_GATEWAY_PORTS = (
    "test_gateway_knows_only_its_services",
    "test_one_root_is_served_by_both_gateways",
    "test_strangers_are_refused",
)
_OF_ISTIODS_ADDRESS = (
    "test_remote_finds_istiod_behind_the_gateway",
    "test_new_pods_are_injected",
    "test_new_proxies_reach_istiod",
    "test_served_chains_last",
)
_OF_GATEWAY_PROXIES = ("test_served_chains_last", _SYNCED, _NAMES, _CERTIFICATES, "test_gateway_passes_to_its_own_pods")


def _websocket(
    subresource: str, scopes: tuple[Scope, ...], purpose: str, *, limits: tuple[str, ...] = (), without: str = "",
    clusters: Clusters = Clusters.ALL, part: Part = Part.RUN,
) -> Iterator[Right]:  # fmt: skip
    for verb, since in (("get", 0), ("create", _WEBSOCKETS_CREATE)):
        yield Right(
            subresource, (verb,), scopes, purpose, limits=limits, without=without, clusters=clusters, part=part,
            since=since,
        )  # fmt: skip


def _of_run() -> Iterator[Right]:
    cluster, own, system, gateways = ((scope,) for scope in Scope)
    yield Right("/version", ("get",), cluster, "the version of Kubernetes")
    yield Right("/readyz", ("get",), cluster, "whether a cluster is still there after a batch")
    yield Right(
        "namespaces", ("create", "patch", "delete"), cluster, "the run's own namespace", namespace=Namespace.CREATED
    )  # fmt: skip
    yield Right("namespaces", ("get",), cluster, "the cluster's identity, the network's label")
    yield Right("pods", ("list",), cluster, "istiod, the gateways' pods, addresses that both networks use")
    yield Right("pods", ("get",), own, "the run's own pods")
    yield Right("services", ("list",), cluster, "the gateways' Services")
    yield Right(
        "gateways", ("list",), cluster, "gateways that Gateways of Gateway API name", "gateway.networking.k8s.io",
        without="a gateway that only a Gateway of Gateway API names, and no label of its Service, is not known",
    )  # fmt: skip
    yield Right(
        "services", ("get",), system, "where a cluster without istiod looks for it",
        limits=_OF_ISTIODS_ADDRESS,
    )  # fmt: skip
    yield Right(
        "endpointslices", ("list",), system, "where a cluster without istiod looks for it", "discovery.k8s.io",
        limits=_OF_ISTIODS_ADDRESS,
    )  # fmt: skip
    yield Right("services", ("create", "patch", "get"), own, "helloworld and the client")
    yield Right("serviceaccounts", ("create", "patch"), own, "the client's account")
    yield Right("deployments", ("create", "patch", "get"), own, "helloworld and the client", "apps")
    yield Right("events", ("list",), (Scope.OWN, Scope.SYSTEM, Scope.GATEWAYS), "why a pod is not ready")
    yield Right("configmaps", ("get",), (Scope.OWN, Scope.SYSTEM), "roots, the mesh configuration")
    yield Right("mutatingwebhookconfigurations", ("list",), cluster, "the webhooks that inject sidecars", _WEBHOOKS)
    yield Right(
        "validatingwebhookconfigurations", ("list",), cluster, "the webhooks that validate", _WEBHOOKS,
        limits=("test_webhooks_trust_the_mesh_root",),
    )  # fmt: skip
    yield from _websocket("pods/exec", own, "requests from the client, and what its sidecar holds")
    yield Right("pods/log", ("get",), own, "the sidecars' access logs")
    yield Right(
        "telemetries", _ONCE, own, "the access log of the run's own sidecars", _ISTIO["Telemetry"],
        clusters=Clusters.WITH_RULES,
    )  # fmt: skip
    yield from _of_run_in_parts()
    yield Right(
        "nodes", ("list",), cluster, "the range of the pods' addresses, images that nodes hold",
        without="the report does not have the ranges of the pods' addresses, and images are pulled as published",
    )  # fmt: skip
    yield Right(
        "namespaces", ("list",), cluster, "expired namespaces of earlier runs, for a sweep",
        without="a sweep does not find the expired namespaces of earlier runs", namespace=Namespace.CREATED,
    )  # fmt: skip
    yield from _in_existing_namespace()
    yield Right(
        "leases", ("get",), system, "whether another run changes this mesh now", "coordination.k8s.io",
        without="another run that changes the mesh at the same time is not detected",
    )  # fmt: skip
    yield Right(
        "clusterroles", ("get",), cluster, "what the account of a remote secret may do", "rbac.authorization.k8s.io",
        without="the rights of that account are compared with the suite's own list alone",
    )  # fmt: skip
    yield Right(
        "secrets",
        ("list",),
        system,
        "the remote secrets",
        clusters=Clusters.WITH_ISTIOD,
        limits=(_WATCHED, _NAMES, "test_remote_credentials_last"),
    )
    yield from _websocket(
        "pods/exec", system, "istiod's debug pages", clusters=Clusters.WITH_ISTIOD,
        limits=(_WATCHED, _SYNCED, _VERSIONS, _NAMES),
    )  # fmt: skip
    yield from _websocket("pods/exec", gateways, "what the gateways hold and count", limits=_OF_GATEWAY_PROXIES)
    yield from _websocket(
        "pods/portforward", gateways, "TLS with the gateways' port for other networks", limits=_OF_GATEWAY_PORTS
    )
    yield Right("pods/log", ("get",), gateways, "the gateways' access logs", limits=(_HOPS,))


def _in_existing_namespace() -> Iterator[Right]:
    """What a run needs beside in a namespace that is not its own: it finds and deletes its objects one by one."""
    own, here = (Scope.OWN,), Namespace.EXISTING
    for resource, group in (("services", ""), ("serviceaccounts", ""), ("deployments", "apps")):
        verbs = ("get", "list", "delete")
        yield Right(resource, verbs, own, "the run's own objects are found and deleted", group, namespace=here)
    for kind in KINDS:
        group, resource = resource_of(kind)
        if group.endswith("istio.io"):
            yield Right(
                resource, ("get", "list", "delete"), own, "the run's own objects are found and deleted", group,
                clusters=Clusters.WITH_RULES, namespace=here,
            )  # fmt: skip
    yield Right(
        "resourcequotas", ("list",), own, "whether the run's pods have room", namespace=here,
        without="a ResourceQuota with too little room is noticed when pods are refused",
    )  # fmt: skip


def _of_run_in_parts() -> Iterator[Right]:
    """What single behaviours create in the run's own namespace."""
    own, networking = (Scope.OWN,), "networking.istio.io"
    for resource, group, purpose, limits in (
        ("destinationrules", networking, "subsets, a connection for each request, and no preference of localities", ()),
        ("sidecars", networking, "the way out of the run's own clients, where the mesh restricts it", ()),
        (
            "authorizationpolicies",
            _ISTIO["AuthorizationPolicy"],
            "policies for helloworld, also against the mesh's",
            (),
        ),
        ("virtualservices", networking, "routes to subsets, and a rule in one primary", _OF_VIRTUAL_SERVICES),
        ("envoyfilters", networking, "access logs in Istio's format, where the mesh has another", (_HOPS,)),
    ):
        yield Right(resource, _ONCE, own, purpose, group, clusters=Clusters.WITH_RULES, limits=limits)
    yield Right(
        "pods",
        ("create", "delete", "patch"),
        own,
        "a client without a sidecar, and a dry run of one with it",
        limits=(_PLAIN_TEXT, "test_new_pods_are_injected"),
    )
    yield Right(
        "peerauthentications", ("list",), (Scope.CLUSTER,), "whether plain text is refused", "security.istio.io",
        clusters=Clusters.WITH_RULES, limits=(_PLAIN_TEXT,),
    )  # fmt: skip


def _of_diagnosis() -> Iterator[Right]:
    without = "fewer causes of a failed check can be told apart"
    for kind in ("Namespace", "Node", "NetworkPolicy", "ClusterRole", "ClusterRoleBinding", "Deployment",
                 "EndpointSlice"):  # fmt: skip
        group, resource = resource_of(kind)
        yield Right(
            resource, ("list",), (Scope.CLUSTER,), "causes of a failed check", group, Part.DIAGNOSIS, without=without
        )
    for kind in ISTIO_KINDS:
        group, resource = resource_of(kind)
        yield Right(
            resource, ("list",), (Scope.CLUSTER,), "causes of a failed check", group, Part.DIAGNOSIS,
            Clusters.WITH_RULES, without=without,
        )  # fmt: skip
    yield from _websocket(
        "pods/portforward", (Scope.OWN, Scope.SYSTEM), "pages of istiod and of sidecars, read once a check failed",
        without=without, part=Part.DIAGNOSIS,
    )  # fmt: skip


def _of_disruption() -> Iterator[Right]:
    system, around = (Scope.SYSTEM,), (Scope.SYSTEM, Scope.GATEWAYS)
    part = Part.DISRUPTION
    yield Right("leases", _ONCE, system, "no two runs change one mesh at a time", "coordination.k8s.io", part)
    yield Right(
        "secrets", ("create", "delete", "get", "list", "patch"), around,
        "the data for undos beside each changed object; the remote secret; a new token", part=part,
    )  # fmt: skip
    yield Right("configmaps", ("get", "patch"), system, "the mesh configuration", part=part)
    yield Right("deployments", ("get", "list", "patch"), around, "scaling gateways, restarting istiod", "apps", part)
    yield Right(
        "horizontalpodautoscalers", ("get", "list", "patch"), around, "autoscalers that scale back", "autoscaling", part
    )
    yield Right("pods", ("get", "delete"), (Scope.OWN, *around), "loss of a pod", part=part)
    yield Right(
        "services", ("create", "delete", "get", "patch"), system, "a Service before a watched API server", part=part
    )
    yield Right("services", ("get",), around, "the gateways' Services", part=part)
    yield Right("services/status", ("patch",), around, "a wrong address of a gateway", part=part)
    yield Right(
        "endpointslices", ("create", "delete", "get", "patch"), system, "a Service before a watched API server",
        "discovery.k8s.io", part,
    )  # fmt: skip


RIGHTS: tuple[Right, ...] = (*_of_run(), *_of_diagnosis(), *_of_disruption())


PULL_SECRET_READ = Right("secrets", ("get",), (), "the Secret of --pull-secret")
"""In that Secret's namespace, which the user names."""
PULL_SECRET_COPIED = Right("secrets", ("create", "patch"), (Scope.OWN,), "the copy of the Secret of --pull-secret")


def needed(*, allow_disruption: bool = False, existing_namespace: bool = False) -> tuple[Right, ...]:
    """The rights of a run, in the order of the table; in a namespace of its own, or in one that is there."""
    left_out = Namespace.CREATED if existing_namespace else Namespace.EXISTING
    return tuple(
        right
        for right in RIGHTS
        if (allow_disruption or right.part is not Part.DISRUPTION) and right.namespace is not left_out
    )


def namespaces_of(right: Right, known: Mapping[Scope, tuple[str, ...]]) -> tuple[str, ...]:
    """The namespaces in which a right is needed; the empty name stands for all of them.

    ``known`` has the namespaces of each scope but the first.
    """
    found = [("",) if scope is Scope.CLUSTER else known[scope] for scope in right.scopes]
    return tuple(dict.fromkeys(name for names in found for name in names))
