"""What keeps istiod from knowing a cluster, or a cluster from its istiod."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from http import HTTPStatus
from ipaddress import ip_address
from urllib.parse import urlsplit

from splithorizon.base.addresses import host_of
from splithorizon.diagnosis import causes, root_causes, scope, state
from splithorizon.diagnosis.finding import Case, Fact, Finding, Layer, of, rule, shown
from splithorizon.diagnosis.reading.model import (
    OTHER_AUTHORITY,
    Cluster,
    Object,
    Reading,
    RemoteSecret,
    annotations_of,
    labels_of,
    name_of,
    spec_of,
)
from splithorizon.diagnosis.rules.follows import INJECTION, UNREACHED, WATCH
from splithorizon.istio.gateway_services import external_hosts
from splithorizon.istio.names import CONTROL_PLANE_ANNOTATION, EXPORTED_SERVICES_ONLY, REVISION_LABEL

_SYNCED = "synced"
_REFUSED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
# Of what istiod watches in every cluster; the rest is in the core group, which has no name.
_GROUPS = {"endpointslices": "discovery.k8s.io", "tokenreviews": "authentication.k8s.io"}
_READER = "istio-reader-service-account"
_WRITING = frozenset({"create", "update", "patch", "*"})
_CLUSTER_ID = "CLUSTER_ID"
_REMOTE_TIMEOUT = "PILOT_REMOTE_CLUSTER_TIMEOUT"
# Istio's own default.
_REMOTE_TIMEOUT_SECONDS = 30
_ISTIOD_PORTS = (15012, 15017)


@rule
def remote_secrets(case: Case) -> Iterator[Finding]:
    """A remote secret is missing, named wrong, leads nowhere, or its token is refused."""
    reading = case.reading
    unread = {one.cluster for one in reading.unread if one.what == "remote secrets"}
    for plane, cluster in itertools.product(reading.config_clusters, reading.clusters):
        if cluster.name == plane.name or plane.name in unread:
            continue
        watched = _watched(plane)
        own = [one for one in plane.secrets if cluster.name == one.leads_to or cluster.cluster_id == one.cluster_id]
        yield from _missing(cluster, plane, own, watched)
        for secret in own:
            yield from _wrong(case, cluster, plane, secret, watched)
            yield from _of_another(reading, cluster, plane, secret, watched)
        names = [one for one in own if not _meant_for_another(reading, cluster, one)]
        if len({one.cluster_id for one in names}) > 1:
            yield _finding(
                causes.REMOTE_NAMED_TWICE,
                tuple(_fact(plane, one, f"leads to {one.server}") for one in names),
                witness=_watch(plane, watched),
                fix="delete the remote secret of the name that is not the cluster's id",
            )


def _missing(
    cluster: Cluster, plane: Cluster, own: list[RemoteSecret], watched: dict[str, str] | None
) -> Iterator[Finding]:
    if own or (watched is not None and cluster.cluster_id and cluster.cluster_id in watched):
        return
    if not cluster.cluster_id and any(not one.leads_to for one in plane.secrets):
        # Its id could not be found out, and one of these may well lead to it.
        return
    wanted = cluster.cluster_id or cluster.name
    keys = ", ".join(f"{one.name}: {one.cluster_id}" for one in plane.secrets) or "none is there"
    yield _finding(
        causes.REMOTE_SECRET_MISSING,
        (
            Fact(
                f"Secret {plane.name}/{plane.system_namespace}/istio-remote-secret-{wanted}",
                "data",
                f"not there; secrets with istio/multiCluster=true: {keys}",
            ),
            *_clusterz(plane, watched),
        ),
        witness=f"istiod of {plane.name} does not see {cluster.name}: it watches {shown(watched)}"
        if watched is not None
        else "",
        fix=f"istioctl <{cluster.name}> create-remote-secret --name {wanted} "
        f"| kubectl <secrets of {plane.name}> apply -f -",
    )


def _wrong(
    case: Case, cluster: Cluster, plane: Cluster, secret: RemoteSecret, watched: dict[str, str] | None
) -> Iterator[Finding]:
    status = (watched or {}).get(secret.cluster_id, "not watched")
    unsynced = _watch(plane, watched) if watched is not None and status != _SYNCED else ""
    evidence = _clusterz(plane, watched)
    if not secret.server:
        yield _finding(
            causes.REMOTE_SECRET_WITHOUT_KUBECONFIG,
            (_fact(plane, secret, "holds no kubeconfig with a server"), *evidence),
            witness=unsynced or case.suspected(causes.REMOTE_SECRET_WITHOUT_KUBECONFIG),
            fix="write the remote secret again with istioctl create-remote-secret",
        )
        return
    if cluster.cluster_id and secret.cluster_id != cluster.cluster_id and secret.leads_to == cluster.name:
        known = [one.cluster_id for one in plane.secrets]
        if cluster.cluster_id not in known:
            yield _finding(
                causes.REMOTE_SECRET_KEY_WRONG,
                (_fact(plane, secret, f"leads to {cluster.name}, whose id is {cluster.cluster_id}"), *evidence),
                witness=_watch(plane, watched) if watched is not None else "",
                fix=f"name the data key {cluster.cluster_id}",
            )
    if _is_loopback(secret.server):
        yield _finding(
            causes.REMOTE_SECRET_AT_LOOPBACK,
            (_fact(plane, secret, f"server is {secret.server}"), *evidence),
            witness=unsynced or case.suspected(causes.REMOTE_SECRET_AT_LOOPBACK),
            fix=f"write the secret again with an address that {plane.name}'s istiod reaches (--server)",
        )
    elif secret.not_allowed:
        yield _finding(
            root_causes.REMOTE_SECRET_NOT_ALLOWED,
            (_fact(plane, secret, f"users[0].user has {secret.not_allowed}"), *evidence),
            witness=unsynced,
            fix="write the secret again with a token of Istio's reader account (istioctl create-remote-secret)",
        )
    elif secret.authority not in ("", OTHER_AUTHORITY, secret.leads_to):
        of_whom = f"its certificate-authority-data is the CA of {secret.authority}, its token one of {secret.leads_to}"
        yield _finding(
            root_causes.REMOTE_SECRET_AUTHORITY_WRONG,
            (_fact(plane, secret, of_whom), *evidence),
            witness=unsynced,
            fix=f"write the secret again with the CA of {secret.leads_to} (istioctl create-remote-secret)",
        )
    elif secret.answer in _REFUSED:
        yield _refused(case, cluster, plane, secret, unsynced)
    elif unsynced and secret.answer == 200:
        yield _finding(
            causes.API_SERVER_UNREACHABLE,
            (_fact(plane, secret, f"server is {secret.server}"), *_of_no_cluster(plane, secret), *evidence),
            witness=unsynced,
            fix=f"make {secret.server} reachable from {plane.name}'s istiod, or correct the address",
        )


def _meant_for_another(reading: Reading, cluster: Cluster, secret: RemoteSecret) -> bool:
    """Whether a secret that concerns a cluster has the id of one cluster for its key, and leads to another."""
    named = next((one for one in reading.clusters if one.cluster_id == secret.cluster_id), None)
    return (
        named is not None and secret.leads_to not in ("", named.name) and cluster.name in (named.name, secret.leads_to)
    )


def _of_another(
    reading: Reading, cluster: Cluster, plane: Cluster, secret: RemoteSecret, watched: dict[str, str] | None
) -> Iterator[Finding]:
    """A secret has a cluster's id for its key and leads to another one: it was written from the wrong context."""
    if secret.cluster_id != cluster.cluster_id or not _meant_for_another(reading, cluster, secret):
        return
    there = reading[secret.leads_to]
    yield _finding(
        causes.REMOTE_SECRET_KEY_WRONG,
        (
            _fact(plane, secret, f"leads to {there.name}, whose id is {there.cluster_id}"),
            *_clusterz(plane, watched),
        ),
        witness=_watch(plane, watched) if watched is not None else "",
        fix=f"istioctl <{cluster.name}> create-remote-secret --name {cluster.cluster_id} "
        f"| kubectl <secrets of {plane.name}> apply -f -",
    )


def _of_no_cluster(plane: Cluster, secret: RemoteSecret) -> tuple[Fact, ...]:
    """That the secret's CA is none of the clusters': right only where something else answers at its server."""
    if secret.authority != OTHER_AUTHORITY:
        return ()
    return (_fact(plane, secret, f"its certificate-authority-data is the CA of {OTHER_AUTHORITY}"),)


def _refused(case: Case, cluster: Cluster, plane: Cluster, secret: RemoteSecret, unsynced: str) -> Finding:
    """The token of a remote secret is refused: for one resource, or for all."""
    answered = f"{cluster.name} answers its token with HTTP {secret.answer}"
    if secret.refused:
        return _finding(
            causes.REMOTE_SECRET_REFUSED,
            (_fact(plane, secret, f"{answered} for {secret.refused}"), *_rights(cluster, secret.refused)),
            witness=unsynced or state.lacking(case.reading, cluster) or case.suspected(causes.REMOTE_SECRET_REFUSED),
            fix=f"let Istio's reader account in {cluster.name} get, list and watch {secret.refused} again",
        )
    return _finding(
        causes.REMOTE_SECRET_REFUSED,
        (_fact(plane, secret, answered), *(_bindings(cluster) if secret.answer == HTTPStatus.FORBIDDEN else ())),
        witness=f"{cluster.name}'s API server answers HTTP {secret.answer}",
        fix="give Istio's reader account its rights again, or write the secret with a token that is valid",
    )


def _finding(cause: causes.Cause, evidence: tuple[Fact, ...], *, witness: str, fix: str) -> Finding:
    return Finding(cause, Layer.CONTROL_PLANE, evidence, fix, witness, WATCH)


def _fact(plane: Cluster, secret: RemoteSecret, value: str) -> Fact:
    return Fact(f"Secret {plane.name}/{secret.namespace}/{secret.name}", f"data.{secret.cluster_id}", value)


def _watched(plane: Cluster) -> dict[str, str] | None:
    pages = [one.clusters for one in plane.istiods if one.clusters is not None]
    if not pages:
        return None
    return {str(one.get("id", "")): str(one.get("syncStatus", "")) for page in pages for one in page}


def _clusterz(plane: Cluster, watched: dict[str, str] | None) -> tuple[Fact, ...]:
    if watched is None:
        return ()
    return (Fact(f"istiod of {plane.name}", "/debug/clusterz", shown(watched)),)


def _watch(plane: Cluster, watched: dict[str, str] | None) -> str:
    return f"istiod of {plane.name} watches {shown(watched or {})}"


def _bindings(cluster: Cluster) -> tuple[Fact, ...]:
    """Whether a binding gives Istio's reader account its rights."""
    if not cluster.read("ClusterRoleBinding"):
        return ()
    bound = [
        one
        for one in cluster.all("ClusterRoleBinding")
        if any(subject.get("name") == _READER for subject in one.get("subjects") or [])
    ]
    if not bound:
        name = f"ClusterRoleBinding {cluster.name}/istio-reader-clusterrole-{cluster.system_namespace}"
        return (Fact(name, "subjects", f"not there: nothing binds {_READER}"),)
    return tuple(Fact(of(cluster, one), "roleRef", shown(one.get("roleRef") or {})) for one in bound)


def _rights(cluster: Cluster, resource: str) -> dict[Fact, set[str]]:
    """What the roles of Istio's reader account say of a resource, each with its verbs."""
    found = {}
    group = _GROUPS.get(resource, "")
    for role in cluster.all("ClusterRole"):
        verbs = {
            verb
            for one in role.get("rules") or []
            if {resource, "*"} & {*(one.get("resources") or [])} and {group, "*"} & {*(one.get("apiGroups") or [])}
            for verb in one.get("verbs") or []
        }
        said = f"{resource}: {shown(sorted(verbs)) if verbs else 'in none of them'}"
        found[Fact(of(cluster, role), "rules", said)] = verbs
    return found


@rule
def reader_may_not_review_tokens(case: Case) -> Iterator[Finding]:
    """Istiod may not have a remote's API server check the tokens of its proxies: it admits none of them."""
    reading = case.reading
    for cluster in reading.clusters:
        rights = _rights(cluster, "tokenreviews")
        if cluster.runs_istiod or not rights or any({"create", "*"} & verbs for verbs in rights.values()):
            continue
        yield _finding(
            causes.REMOTE_SECRET_REFUSED,
            tuple(rights),
            witness=_absent(reading, cluster),
            fix=f"let Istio's reader account in {cluster.name} create tokenreviews (authentication.k8s.io) again",
        )


def _is_loopback(server: str) -> bool:
    host = urlsplit(server).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@rule
def istiod_address(case: Case) -> Iterator[Finding]:
    """The remote's Service for istiod does not lead to the primary's gateway."""
    reading = case.reading
    for cluster in reading.clusters:
        plane = state.control_plane_of(reading, cluster)
        if cluster.runs_istiod or not cluster.read("EndpointSlice") or not plane.gateways or plane.external_istiod:
            continue
        wanted = {host_of(address) for address in plane.gateways}
        if cluster.network == plane.network:
            # No gateway is needed between them.
            wanted |= {*_addresses_of_istiod(plane)}
        for service, slices in _istiod_slices(cluster):
            found = sorted(
                {str(ip) for one in slices for point in one.get("endpoints") or [] for ip in point["addresses"]}
            )
            if wanted & {*found} and {*found} <= wanted:
                yield from _unnamed_port(case, cluster, service, slices)
                continue
            absent = _absent(reading, cluster)
            asked = case.suspected(
                causes.ISTIOD_ADDRESS_STALE, causes.ISTIOD_UNREACHABLE, causes.ISTIOD_SERVICE_WITHOUT_ENDPOINT
            )
            where = slices[0] if slices else service
            yield Finding(
                causes.ISTIOD_ADDRESS_STALE if found else causes.ISTIOD_SERVICE_WITHOUT_ENDPOINT,
                Layer.CONTROL_PLANE,
                (
                    Fact(of(cluster, where), "endpoints", shown(found)),
                    Fact(f"the gateway of {plane.name}", "addresses", shown(sorted(wanted))),
                ),
                f"let Service {name_of(service)} of {cluster.name} lead to {', '.join(sorted(wanted))} "
                "(remotePilotAddress)",
                absent or asked,
                WATCH,
            )


def _unnamed_port(case: Case, cluster: Cluster, service: Object, slices: list[Object]) -> Iterator[Finding]:
    """A port of the Service of which its EndpointSlices have no port by its name: the Service leads nowhere there."""
    reading = case.reading
    known = {str(one.get("name") or ""): one.get("port") for each in slices for one in each.get("ports") or []}
    for number, port in enumerate(scope.ports(service)):
        name = str(port.get("name") or "")
        if known and port.get("port") in _ISTIOD_PORTS and name not in known:
            yield Finding(
                causes.ISTIOD_SERVICE_WITHOUT_ENDPOINT,
                Layer.CONTROL_PLANE,
                (
                    Fact(of(cluster, service, "Service"), f"spec.ports[{number}].name", f"{name}, port {port['port']}"),
                    Fact(of(cluster, slices[0], "EndpointSlice"), "ports", shown(dict(known))),
                ),
                f"name port {port['port']} of Service {name_of(service)} of {cluster.name} as its EndpointSlice does",
                _absent(reading, cluster)
                or case.suspected(causes.ISTIOD_UNREACHABLE, causes.ISTIOD_SERVICE_WITHOUT_ENDPOINT),
                WATCH,
            )


def _istiod_slices(cluster: Cluster) -> Iterator[tuple[Object, list[Object]]]:
    for service in cluster.all("Service", cluster.system_namespace):
        name = name_of(service)
        if name != "istiod" and not name.startswith("istiod-"):
            continue
        if name.startswith("istiod-revision-tag") or spec_of(service).get("selector"):
            continue
        slices = [
            one
            for one in cluster.all("EndpointSlice", cluster.system_namespace)
            if labels_of(one).get("kubernetes.io/service-name") == name or name_of(one) == name
        ]
        yield service, slices


def _addresses_of_istiod(plane: Cluster) -> Iterator[str]:
    """Where an istiod is reached on its own network: its pods, and the addresses that its Services have outside."""
    for pod in plane.all("Pod", plane.system_namespace):
        if labels_of(pod).get("app") == "istiod":
            yield str((pod.get("status") or {}).get("podIP", ""))
    for service in plane.all("Service", plane.system_namespace):
        if name_of(service).startswith("istiod"):
            yield from external_hosts(service)


def _of_another_revision(pod: Object, revision: str) -> bool:
    named = annotations_of(pod).get(REVISION_LABEL) or labels_of(pod).get(REVISION_LABEL)
    return named not in (None, revision)


def _absent(reading: Reading, cluster: Cluster) -> str:
    """Which proxies of a cluster its istiods do not have; a pod of the same name in another cluster is not this one."""
    plane = state.control_plane_of(reading, cluster)
    pages = [one.proxies for one in plane.istiods if one.proxies is not None]
    if not pages:
        return ""
    others = {one.cluster_id for one in reading.clusters} - {"", cluster.cluster_id}
    connected = {str(one.get("proxy")) for page in pages for one in page if one.get("cluster_id") not in others}
    revision = reading.revision_of(cluster)
    absent = [
        f"{one.pod}.{one.namespace}"
        for one in cluster.proxies
        if f"{one.pod}.{one.namespace}" not in connected
        and not _of_another_revision(cluster.get("Pod", one.pod, one.namespace) or {}, revision)
    ]
    return f"not connected to an istiod of {plane.name}: {', '.join(absent)}" if absent else ""


@rule
def istiod_is_there(case: Case) -> Iterator[Finding]:
    """No istiod of a control plane is ready."""
    for plane in case.reading.config_clusters:
        if not plane.read("Pod") or not plane.istiod_is_asked:
            continue
        pods = [
            pod
            for pod in plane.all("Pod", plane.system_namespace)
            if labels_of(pod).get("app") == "istiod"
            and labels_of(pod).get(REVISION_LABEL, "default") == case.reading.revision_of(plane)
        ]
        if any(scope.is_ready(pod) for pod in pods):
            continue
        facts = [Fact(of(plane, pod), "status.conditions Ready", "False") for pod in pods]
        facts += [
            Fact(of(plane, one), "spec.replicas", shown(spec_of(one).get("replicas")))
            for one in _istiod_deployments(plane)
        ]
        yield Finding(
            root_causes.ISTIOD_NOT_READY,
            Layer.CONTROL_PLANE,
            tuple(facts) or (Fact(f"Namespace {plane.name}/{plane.system_namespace}", "pods with app=istiod", "none"),),
            f"kubectl <istiod of {plane.name}> -n {plane.system_namespace} describe pods -l app=istiod",
            f"{len(pods)} pods of istiod in {plane.name}, none ready",
            WATCH,
        )


def _istiod_deployments(plane: Cluster) -> list[Object]:
    return [one for one in plane.all("Deployment", plane.system_namespace) if labels_of(one).get("app") == "istiod"]


@rule
def reader_may_not_write(case: Case) -> Iterator[Finding]:
    """Istiod may not write its root or its webhooks' bundle into a remote cluster, and one of them is missing."""
    for cluster in case.reading.clusters:
        if cluster.runs_istiod or not cluster.read("ClusterRole"):
            continue
        for role in cluster.all("ClusterRole"):
            if not name_of(role).startswith("istio-reader-clusterrole"):
                continue
            for resource, lacking in (
                ("configmaps", _no_root(case.reading, cluster)),
                ("mutatingwebhookconfigurations", _no_bundle(cluster) or other_bundle(case.reading, cluster)),
            ):
                rules = [
                    (number, one)
                    for number, one in enumerate(role.get("rules") or [])
                    if resource in (one.get("resources") or [])
                ]
                verbs = {verb for _, one in rules for verb in one.get("verbs") or []}
                if not lacking or verbs & _WRITING:
                    continue
                field = f"rules[{rules[0][0]}]" if rules else "rules"
                yield Finding(
                    causes.ISTIOD_MAY_NOT_WRITE,
                    Layer.CONTROL_PLANE,
                    (Fact(of(cluster, role), field, f"{resource}: {shown(sorted(verbs))}"), lacking),
                    f"give {name_of(role)} of {cluster.name} the verbs create, update and patch on {resource} again",
                    str(lacking),
                    frozenset(
                        {causes.CLUSTER_NOT_SYNCED.id, causes.WEBHOOK_ORPHANED.id, causes.WEBHOOK_NOT_TRUSTED.id}
                    ),
                )


@rule
def managed_elsewhere(case: Case) -> Iterator[Finding]:
    """A remote's system namespace does not name its istiod, and what istiod would write there is missing."""
    reading = case.reading
    for cluster in reading.clusters:
        plane, space = state.control_plane_of(reading, cluster), cluster.get("Namespace", cluster.system_namespace)
        if cluster.runs_istiod or space is None or not plane.cluster_id:
            continue
        said = str(annotations_of(space).get(CONTROL_PLANE_ANNOTATION, ""))
        lacking = _no_root(reading, cluster) or _no_bundle(cluster)
        if lacking is None or {one.strip() for one in said.split(",")} & {plane.cluster_id, "*"}:
            continue
        yield Finding(
            root_causes.MANAGED_ELSEWHERE,
            Layer.CONTROL_PLANE,
            (
                Fact(
                    of(cluster, space, "Namespace"),
                    f"metadata.annotations {CONTROL_PLANE_ANNOTATION}",
                    f"{shown(said or None)}; its istiod is that of {plane.cluster_id}",
                ),
                lacking,
            ),
            f"kubectl <{cluster.name}> annotate --overwrite namespace {cluster.system_namespace} "
            f"{CONTROL_PLANE_ANNOTATION}={plane.cluster_id}, then restart istiod",
            str(lacking),
            INJECTION | UNREACHED | {causes.WEBHOOK_NOT_TRUSTED.id, causes.VOLUME_NOT_MOUNTED.id},
        )


def _no_root(reading: Reading, cluster: Cluster) -> Fact | None:
    if not cluster.read("ConfigMap"):
        return None
    found = cluster.get("ConfigMap", "istio-ca-root-cert", reading.namespace)
    if found and (found.get("data") or {}).get("root-cert.pem"):
        return None
    return Fact(f"ConfigMap {cluster.name}/{reading.namespace}/istio-ca-root-cert", "data.root-cert.pem", "not there")


def _no_bundle(cluster: Cluster) -> Fact | None:
    for one in cluster.all("MutatingWebhookConfiguration"):
        if labels_of(one).get("app") != "sidecar-injector":
            continue
        for number, webhook in enumerate(one.get("webhooks") or []):
            if not (webhook.get("clientConfig") or {}).get("caBundle"):
                return Fact(of(cluster, one), f"webhooks[{number}].clientConfig.caBundle", "empty")
    return None


def other_bundle(reading: Reading, cluster: Cluster) -> Fact | None:
    """An injection webhook whose CA bundle is none of those in istiod's own cluster; None where there is none."""
    plane = state.control_plane_of(reading, cluster)
    revision = reading.revision_of(cluster)
    own = {bundle for _, _, bundle in _bundles(plane, revision)}
    for one, number, bundle in _bundles(cluster, revision):
        if bundle and own and bundle not in own:
            place = f"webhooks[{number}].clientConfig.caBundle"
            return Fact(of(cluster, one), place, f"{bundle}; in {plane.name} {', '.join(sorted(own))}")
    return None


def _bundles(cluster: Cluster, revision: str) -> Iterator[tuple[Object, int, str]]:
    for one in cluster.all("MutatingWebhookConfiguration"):
        if labels_of(one).get("app") != "sidecar-injector" or labels_of(one).get(REVISION_LABEL, revision) != revision:
            continue
        for number, webhook in enumerate(one.get("webhooks") or []):
            yield one, number, str((webhook.get("clientConfig") or {}).get("caBundle", ""))


@rule
def patient_istiod(case: Case) -> Iterator[Finding]:
    """Istiod gives a remote cluster that does not answer too long before it gets ready."""
    for plane in case.reading.config_clusters:
        for one in _istiod_deployments(plane):
            value = scope.environment(spec_of(one).get("template") or {}, _REMOTE_TIMEOUT)
            if scope.seconds(value) > _REMOTE_TIMEOUT_SECONDS:
                yield Finding(
                    causes.REMOTE_CLUSTER_TIMEOUT_LONG,
                    Layer.CONTROL_PLANE,
                    (Fact(of(plane, one), f"env {_REMOTE_TIMEOUT}", value),),
                    f"take {_REMOTE_TIMEOUT} out of istiod's environment, or lower it",
                    case.suspected(causes.REMOTE_CLUSTER_TIMEOUT_LONG),
                )


@rule
def own_cluster_id(case: Case) -> Iterator[Finding]:
    """An istiod has another id for its own cluster than the proxies there, and admits none of them."""
    reading = case.reading
    for plane in reading.config_clusters:
        for one in _istiod_deployments(plane):
            value = scope.environment(spec_of(one).get("template") or {}, _CLUSTER_ID)
            if not value or not plane.cluster_id or value == plane.cluster_id:
                continue
            yield Finding(
                root_causes.ISTIOD_CLUSTER_ID_WRONG,
                Layer.CONTROL_PLANE,
                (
                    Fact(
                        of(plane, one),
                        f"env {_CLUSTER_ID}",
                        f"{value}; the proxies of its cluster say {plane.cluster_id}",
                    ),
                ),
                f"let {_CLUSTER_ID} of {name_of(one)} be {plane.cluster_id}: "
                f"values.global.multiCluster.clusterName of the installation",
                _absent(reading, plane),
                WATCH | INJECTION | {causes.POD_NOT_READY.id, causes.REMOTE_SECRET_KEY_WRONG.id},
            )


@rule
def shared_cluster_id(case: Case) -> Iterator[Finding]:
    """Two clusters have one id: an istiod takes no secret of its own cluster's id, and knows one cluster by each."""
    reading = case.reading
    for one, other in itertools.combinations(reading.clusters, 2):
        if not one.cluster_id or one.cluster_id != other.cluster_id:
            continue
        yield Finding(
            root_causes.CLUSTER_ID_SHARED,
            Layer.CONTROL_PLANE,
            tuple(fact for cluster in (one, other) for fact in _says_id(cluster)),
            f"install {other.name} again with an id of its own (values.global.multiCluster.clusterName), restart its "
            "pods, and write its remote secrets again",
            state.lacking(reading, other, others_only=True) or state.lacking(reading, one, others_only=True),
            WATCH | {causes.REMOTE_SECRET_KEY_WRONG.id},
        )


def _says_id(cluster: Cluster) -> Iterator[Fact]:
    """What gives a cluster its id: the environment of its istiod, else what its proxies say."""
    given = [
        Fact(of(cluster, deployment), f"env {_CLUSTER_ID}", value)
        for deployment in _istiod_deployments(cluster)
        if (value := scope.environment(spec_of(deployment).get("template") or {}, _CLUSTER_ID))
    ]
    said = [
        Fact(f"Pod {cluster.name}/{proxy.namespace}/{proxy.pod}", "env ISTIO_META_CLUSTER_ID", value)
        for proxy in cluster.proxies
        if (value := str(proxy.metadata.get(_CLUSTER_ID, "")))
    ]
    yield (given or said or [Fact(f"Cluster {cluster.name}", "id", cluster.cluster_id)])[0]


@rule
def exported_services_only(case: Case) -> Iterator[Finding]:
    """An istiod discovers another cluster's Services by their ServiceExports alone, and the Service has none there."""
    reading = case.reading
    for plane in reading.config_clusters:
        flagged = [one for one in _istiod_deployments(plane) if scope.needs_exports(one)]
        seen = state.seen_by_clients_of(reading, plane)
        for cluster in reading.clusters:
            exports = [name_of(one) for one in cluster.all("ServiceExport", reading.namespace)]
            if not flagged or not cluster.read("ServiceExport") or reading.service in exports:
                continue
            yield Finding(
                root_causes.SERVICE_NEEDS_EXPORT,
                Layer.CONTROL_PLANE,
                (
                    Fact(of(plane, flagged[0]), f"env {EXPORTED_SERVICES_ONLY}", "true"),
                    Fact(
                        f"ServiceExports {cluster.name}/{reading.namespace}",
                        "metadata.name",
                        f"{shown(exports)}; none for {reading.service}",
                    ),
                ),
                f"take {EXPORTED_SERVICES_ONLY} out of the environment of {plane.name}'s istiod, or export "
                f"{reading.service} in {cluster.name}",
                state.lacking(seen, cluster, others_only=True),
                UNREACHED,
            )
