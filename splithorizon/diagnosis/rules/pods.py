"""Pods that are not there, not ready, without a sidecar, or not what they should be."""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from splithorizon.base.addresses import host_of
from splithorizon.diagnosis import causes, root_causes, scope, state
from splithorizon.diagnosis.causes import Cause
from splithorizon.diagnosis.finding import Case, Fact, Finding, Layer, of, rule, shown
from splithorizon.diagnosis.reading.model import (
    Cluster,
    Object,
    Reading,
    annotations_of,
    labels_of,
    name_of,
    namespace_of,
    spec_of,
)
from splithorizon.diagnosis.rules import injection
from splithorizon.diagnosis.rules.follows import INJECTION, UNREACHED
from splithorizon.diagnosis.rules.networks import within
from splithorizon.istio.names import PROXY_CONFIG_ANNOTATION, REVISION_LABEL
from splithorizon.kube.pod_status import SIDECAR

_INJECTION = "istio-injection"
_PROBERS = "ISTIO_KUBE_APP_PROBERS"
_TAG = "istio.io/tag"
_INJECT = "sidecar.istio.io/inject"
_INBOUND = ("excludeInboundPorts", "includeInboundPorts")
# Of the ports that are included outbound a sidecar takes what the addresses alone would leave out.
_OUTBOUND = ("excludeOutboundPorts", "excludeOutboundIPRanges", "includeOutboundIPRanges")
# The containers that set the capture up, and their arguments.
_CAPTURE_CONTAINERS = ("istio-init", "istio-validation")
_CAPTURE = {
    "excludeInboundPorts": "-d", "includeInboundPorts": "-b", "excludeOutboundPorts": "-o",
    "excludeOutboundIPRanges": "-x", "includeOutboundIPRanges": "-i",
}  # fmt: skip
# Pods of Istio's that have these labels alike do the same work.
_ALIKE = ("app", "istio", REVISION_LABEL)
_MEMORY_LIMIT = "sidecar.istio.io/proxyMemoryLimit"
_FAILURE = "ReplicaFailure"
# As the quota plug-in of the API server says it.
_EXCEEDED = re.compile(
    r"exceeded quota: (?P<name>[^,]+), requested: .*?, used: (?P<used>.*?), limited: (?P<limited>.*)"
)
# As an istiod says it that does not start with the CA that it was given (Secret cacerts).
_OWN_CA = "failed to create CA KeyCertBundle"
# The user and the group of Istio's sidecar.
_PROXY_ID = 1337
_CLUSTER_DNS = ("ClusterFirst", "ClusterFirstWithHostNet")
# As the Pod Security plug-in of the API server says it, and the label by which a namespace asks for a level.
_VIOLATES = "violates PodSecurity"
# As Istio's own templates ask a proxy whether it is ready; a gateway's port may have a name.
_READY_PORT, _READY_PATH = 15021, "/healthz/ready"
_PROXY_IMAGE = ("sidecar.istio.io/proxyImage", "sidecar.istio.io/proxyImageType")
# Which of the injector's templates a pod is made by; the wrong one leaves it without what it needs.
_TEMPLATES = "inject.istio.io/templates"
_INVALID = "is invalid: "
_POD_SECURITY = "pod-security.kubernetes.io/enforce"
_TLS_MODE = "security.istio.io/tlsMode"
_WAITING = {
    "ErrImagePull": causes.IMAGE_NOT_PULLED, "ImagePullBackOff": causes.IMAGE_NOT_PULLED,
    "ErrImageNeverPull": causes.IMAGE_NOT_PULLED, "InvalidImageName": causes.IMAGE_NOT_PULLED,
    "CrashLoopBackOff": causes.CONTAINER_CRASHES, "RunContainerError": causes.CONTAINER_CRASHES,
}  # fmt: skip
_READINESS = frozenset(
    one.id
    for one in (
        causes.READINESS_GATE_UNMET, causes.IMAGE_NOT_PULLED, causes.CONTAINER_CRASHES, causes.POD_NOT_SCHEDULED,
        causes.POD_NOT_READY, causes.VOLUME_NOT_MOUNTED, causes.ISTIOD_CRASHED, causes.ISTIOD_REPLACED,
    )
)  # fmt: skip


def _watched(reading: Reading, cluster: Cluster) -> Iterator[Object]:
    """The pods that the mesh needs: istiod's, the gateways', the service's and its clients'."""
    service = state.pods_of(reading, cluster)
    clients = _clients(cluster)
    for pod in cluster.all("Pod"):
        ours = pod in service or (namespace_of(pod), name_of(pod)) in clients
        if (ours or _is_of_istio(labels_of(pod))) and "deletionTimestamp" not in pod["metadata"]:
            yield pod


def _is_of_istio(labels: Mapping[str, str]) -> bool:
    """Whether a pod of these labels is one of istiod or of an east-west gateway."""
    return labels.get("app") == "istiod" or labels.get("istio") == "eastwestgateway"


@rule
def readiness(case: Case) -> Iterator[Finding]:
    """A pod that the mesh needs is not ready, and says why."""
    reading = case.reading
    for cluster in reading.clusters:
        for pod in _watched(reading, cluster):
            if scope.is_ready(pod) or (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
                continue
            cause, facts = _why(cluster, pod)
            if cause is causes.IMAGE_NOT_PULLED:
                facts += tuple(_image_settings(reading, cluster, pod))
            # Of a sidecar that waits, why it waits is the cause: by itself that is only noted. What it stands before
            # waits with it.
            waits = (
                cause is causes.POD_NOT_READY
                and (SIDECAR in _unready(pod) or f"[{SIDECAR}]" in facts[0].value)
                and not _has_own_proxy_probe(pod)
            )
            redundant = _is_redundant(reading, cluster, pod) and not case.suspected(cause)
            yield Finding(
                cause,
                Layer.POD,
                facts,
                f"kubectl <{cluster.name}> -n {namespace_of(pod)} describe pod {name_of(pod)}",
                "" if waits or redundant else f"{name_of(pod)} of {cluster.name} is not ready",
                UNREACHED | _READINESS if pod in state.pods_of(reading, cluster) else _READINESS,
            )


def _is_redundant(reading: Reading, cluster: Cluster, pod: Object) -> bool:
    """Whether nothing is lost without a pod: another one does its work, or it is an istiod of another revision."""
    labels = labels_of(pod)
    if labels.get("app") == "istiod" and labels.get(REVISION_LABEL, "default") != reading.revision_of(cluster):
        return True
    others = [one for one in cluster.all("Pod", namespace_of(pod)) if scope.is_ready(one)]
    if _is_of_istio(labels):
        return any(all(labels_of(one).get(key) == labels.get(key) for key in _ALIKE) for one in others)
    return any(state.own_labels(one) == state.own_labels(pod) for one in others)


def _why(cluster: Cluster, pod: Object) -> tuple[Cause, tuple[Fact, ...]]:
    status, name = pod.get("status") or {}, of(cluster, pod, "Pod")
    conditions = {str(one.get("type")): one for one in status.get("conditions") or []}
    for one in spec_of(pod).get("readinessGates") or []:
        kind = str(one.get("conditionType"))
        if (conditions.get(kind) or {}).get("status") != "True":
            return causes.READINESS_GATE_UNMET, (
                Fact(name, "spec.readinessGates", kind),
                Fact(name, f"status.conditions {kind}", str((conditions.get(kind) or {}).get("status", "not set"))),
            )
    for container in _containers(status):
        waiting = (container.get("state") or {}).get("waiting") or {}
        if cause := _WAITING.get(str(waiting.get("reason"))):
            field = f"status.containerStatuses {container.get('name')}.state.waiting"
            value = f"{waiting.get('reason')}: {str(waiting.get('message', ''))[:120]} (image {container.get('image')})"
            logged = _logged_before_crash(cluster, pod, name)
            if any(_OWN_CA in fact.value for fact in logged):
                return causes.CA_NOT_VALID, (*logged, Fact(name, field, value))
            return cause, (Fact(name, field, value), *_out_of_memory(cluster, pod, container), *logged)
    for container in _containers(status):
        # Between two crashes it runs, and nothing waits.
        if not container.get("ready") and (facts := _out_of_memory(cluster, pod, container)):
            return causes.CONTAINER_CRASHES, facts
    if logged := _logged_before_crash(cluster, pod, name):
        return causes.CONTAINER_CRASHES, logged
    if (conditions.get("PodScheduled") or {}).get("status") == "False":
        said = conditions["PodScheduled"]
        return causes.POD_NOT_SCHEDULED, (Fact(name, "status.conditions PodScheduled", shown(said.get("message"))),)
    said = conditions.get("Ready") or {}
    shows = [Fact(name, "status.conditions Ready", f"{said.get('status', 'not set')}: {said.get('message', '')}"[:160])]
    shows += [
        Fact(name, f"spec.containers {one.get('name')}.readinessProbe", shown(_own_probe(pod, one["readinessProbe"])))
        for one in spec_of(pod).get("containers") or []
        if one.get("readinessProbe") and str(one.get("name")) in _unready(pod)
    ]
    return causes.POD_NOT_READY, tuple(shows)


def _image_settings(reading: Reading, cluster: Cluster, pod: Object) -> Iterator[Fact]:
    """What has the injector take another image of the proxy: the pod's annotations, a ProxyConfig, the whole mesh's."""
    for name in _PROXY_IMAGE:
        if said := annotations_of(pod).get(name):
            yield Fact(of(cluster, pod, "Pod"), f"metadata.annotations {name}", said)
    plane = state.control_plane_of(reading, cluster)
    root = state.root_namespace(reading, plane)
    for one in plane.all("ProxyConfig"):
        kind = (spec_of(one).get("image") or {}).get("imageType")
        if kind and scope.binds(one, root, namespace_of(pod), labels_of(pod)):
            yield Fact(of(plane, one), "spec.image.imageType", str(kind))
    default = (state.mesh_config(reading, plane).get("defaultConfig") or {}).get("image") or {}
    if (kind := default.get("imageType")) and (found := state.config_map(reading, plane)):
        yield Fact(of(plane, found), "data.mesh.defaultConfig.image.imageType", str(kind))


def _logged_before_crash(cluster: Cluster, pod: Object, name: str) -> tuple[Fact, ...]:
    said = cluster.logged_before_crash.get(name_of(pod), "")
    return (Fact(name, "log of the container before, its last error", said[-240:]),) if said else ()


def _out_of_memory(cluster: Cluster, pod: Object, status: Object) -> tuple[Fact, ...]:
    """That a container was killed for the memory it used, with its limit, and the annotation that sets a sidecar's."""
    name, container = of(cluster, pod, "Pod"), str(status.get("name"))
    ends = [(key, (status.get(key) or {}).get("terminated") or {}) for key in ("state", "lastState")]
    killed = next(((key, end) for key, end in ends if end.get("reason") == "OOMKilled"), None)
    if killed is None:
        return ()
    key, end = killed
    limit = next(
        (
            ((one.get("resources") or {}).get("limits") or {}).get("memory")
            for one in scope.containers_of(pod)
            if one.get("name") == container
        ),
        None,
    )
    value = f"OOMKilled, exit code {end.get('exitCode')}, {status.get('restartCount', 0)} restarts"
    facts = [
        Fact(name, f"status.containerStatuses {container}.{key}.terminated", value),
        Fact(name, f"spec.containers {container}.resources.limits.memory", shown(limit)),
    ]
    if container == SIDECAR and (asked := annotations_of(pod).get(_MEMORY_LIMIT)):
        facts.append(Fact(name, f"metadata.annotations {_MEMORY_LIMIT}", asked))
    return tuple(facts)


def _own_probe(pod: Object, probe: Mapping[str, Any]) -> Mapping[str, Any]:
    """The probe as its author wrote it: injection leads HTTP probes through the sidecar, which keeps the originals."""
    path = str((probe.get("httpGet") or {}).get("path", ""))
    try:
        original = json.loads(scope.environment(pod, _PROBERS) or "{}").get(path)
    except ValueError:
        return probe
    return original if isinstance(original, dict) else probe


def _has_own_proxy_probe(pod: Object) -> bool:
    """Whether the readiness probe of a pod's proxy is another one than that of Istio's templates."""
    probes = [one.get("readinessProbe") or {} for one in scope.containers_of(pod) if one.get("name") == SIDECAR]
    return any(
        asked.get("path") != _READY_PATH or (isinstance(port := asked.get("port"), int) and port != _READY_PORT)
        for asked in ((probe.get("httpGet") or {}) for probe in probes if probe)
    )


def _unready(pod: Object) -> list[str]:
    """The containers of a pod that are not ready, by their names."""
    return [str(one.get("name")) for one in _containers(pod.get("status") or {}) if not one.get("ready")]


def _containers(status: Object) -> list[Object]:
    """The status of each container; a sidecar may be among the init containers."""
    return [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]


@rule
def no_pods(case: Case) -> Iterator[Finding]:
    """A Deployment of the service asks for no pods in a cluster that has none."""
    reading = case.reading
    for cluster in reading.clusters:
        if not cluster.read("Pod") or state.pods_of(reading, cluster):
            continue
        selectors = [
            spec_of(one).get("selector") for other in reading.clusters if (one := state.service_of(reading, other))
        ]
        for one in cluster.all("Deployment", reading.namespace):
            labels = scope.template_labels(one)
            if spec_of(one).get("replicas") == 0 and any(scope.selects(selector, labels) for selector in selectors):
                yield Finding(
                    root_causes.NO_PODS_WANTED,
                    Layer.POD,
                    (Fact(of(cluster, one, "Deployment"), "spec.replicas", shown(spec_of(one).get("replicas"))),),
                    f"kubectl <{cluster.name}> -n {reading.namespace} scale deployment {name_of(one)} --replicas 1",
                    state.lacking(reading, cluster, without_pods=True),
                    UNREACHED | {causes.VERSION_MISPLACED.id},
                )


@rule
def pods_not_created(case: Case) -> Iterator[Finding]:
    """No pod of a Deployment that the mesh needs is there, because the API server refuses to create one."""
    reading = case.reading
    for cluster in reading.clusters:
        for one in cluster.all("Deployment"):
            status = one.get("status") or {}
            conditions: list[Object] = status.get("conditions") or []
            failure = next((each for each in conditions if each.get("type") == _FAILURE), {})
            if failure.get("status") != "True" or not _needed(reading, one):
                continue
            message = str(failure.get("message", ""))
            facts = [Fact(of(cluster, one, "Deployment"), f"status.conditions {_FAILURE}", message[:240])]
            if quota := _EXCEEDED.search(message):
                place = f"ResourceQuota {cluster.name}/{namespace_of(one)}/{quota['name']}"
                facts.insert(0, Fact(place, "spec.hard", f"{quota['limited']}; used {quota['used']}"))
            namespace = cluster.get("Namespace", namespace_of(one)) or {}
            if _VIOLATES in message and (level := labels_of(namespace).get(_POD_SECURITY)):
                facts.insert(0, Fact(of(cluster, namespace, "Namespace"), f"metadata.labels {_POD_SECURITY}", level))
            templates = annotations_of(spec_of(one).get("template") or {}).get(_TEMPLATES)
            if _INVALID in message and templates:
                template = f"spec.template.metadata.annotations {_TEMPLATES}"
                facts.insert(0, Fact(of(cluster, one, "Deployment"), template, templates))
            yield Finding(
                root_causes.PODS_NOT_CREATED,
                Layer.POD,
                tuple(facts),
                f"let the pods of {name_of(one)} be admitted: raise the quota, or mend what refuses them",
                "" if status.get("availableReplicas") else f"Deployment {name_of(one)} of {cluster.name} has no pod",
                UNREACHED | _READINESS | {causes.VERSION_MISPLACED.id},
            )


def _needed(reading: Reading, deployment: Object) -> bool:
    """Whether a Deployment is one of the service, of its clients, of a gateway or of istiod."""
    labels = scope.template_labels(deployment)
    if _is_of_istio(labels):
        return True
    # Without labels nothing shows whose it is.
    of_service = not labels or any(
        scope.selects(spec_of(service).get("selector"), labels)
        for cluster in reading.clusters
        for name in reading.services
        if (service := state.service_of(reading, cluster, name))
    )
    wanted = (spec_of(deployment).get("selector") or {}).get("matchLabels") or labels
    clients = [
        labels_of(cluster.get("Pod", name, namespace) or {})
        for cluster in reading.clusters
        for namespace, name in _clients(cluster)
        if namespace == namespace_of(deployment)
    ]
    return (of_service and namespace_of(deployment) == reading.namespace) or any(
        scope.selects(wanted, one) for one in clients
    )


@rule
def sidecars(case: Case) -> Iterator[Finding]:
    """A pod of the service has no sidecar: it refuses one, its namespace asks for none, or no webhook was called."""
    reading = case.reading
    for cluster in reading.clusters:
        for pod in (*state.pods_of(reading, cluster), *_clients_without(case, cluster)):
            if scope.has_sidecar(pod) or "deletionTimestamp" in pod["metadata"]:
                continue
            namespace = cluster.get("Namespace", namespace_of(pod))
            cause, facts, fix = _why_without(cluster, pod, namespace)
            yield Finding(
                cause,
                Layer.POD,
                (*facts, Fact(of(cluster, pod, "Pod"), "spec.containers", f"{shown(_names(pod))}, no istio-proxy")),
                fix,
                _missed(case, cluster, pod),
                UNREACHED | INJECTION,
            )


def _clients_without(case: Case, cluster: Cluster) -> Iterator[Object]:
    """The clients without a sidecar: no proxy of theirs could be read, and a failed check names them."""
    known = state.pods_of(case.reading, cluster)
    failures = [symptom.failure for symptom in case.symptoms if causes.POD_REFUSES_SIDECAR.id in symptom.cause_ids]
    for pod in cluster.all("Pod"):
        if pod not in known and any(f"{namespace_of(pod)}/{name_of(pod)}:" in failure for failure in failures):
            yield pod


def _why_without(cluster: Cluster, pod: Object, namespace: Object | None) -> tuple[Cause, tuple[Fact, ...], str]:
    """Why a pod has no sidecar, what shows it, and what mends it."""
    restart = "ask for a sidecar and restart the pod"
    refusal = labels_of(pod).get(_INJECT) or annotations_of(pod).get(_INJECT)
    if refusal == "false":
        where = "labels" if _INJECT in labels_of(pod) else "annotations"
        fact = Fact(of(cluster, pod, "Pod"), f"metadata.{where} {_INJECT}", "false")
        return causes.POD_REFUSES_SIDECAR, (fact,), restart
    if spec_of(pod).get("hostNetwork"):
        fact = Fact(of(cluster, pod, "Pod"), "spec.hostNetwork", "true")
        return root_causes.POD_ON_HOST_NETWORK, (fact,), "take hostNetwork out of what the pod is made from"
    if namespace and not _asks(asking := labels_of(namespace)):
        fact = Fact(of(cluster, namespace), "metadata.labels", shown(dict(asking)))
        return causes.NAMESPACE_NOT_INJECTED, (fact,), restart
    if unknown := _unknown_revision(cluster, pod, namespace):
        return root_causes.REVISION_WITHOUT_WEBHOOK, (unknown,), restart
    if namespace and (unmet := injection.unselected(cluster, namespace, pod)):
        return causes.WEBHOOK_NOT_CALLED, unmet, f"{injection.select_again(cluster, unmet)}, and restart them"
    return causes.WEBHOOK_NOT_CALLED, (), restart


def _missed(case: Case, cluster: Cluster, pod: Object) -> str:
    """A sentence on what shows that a pod should have a sidecar; empty where nothing does."""
    if not case.symptoms and state.no_pod_has_a_sidecar(case.reading):
        return ""
    return (
        _without_tls(case.reading, cluster, pod)
        or case.suspected(causes.POD_WITHOUT_SIDECAR, causes.POD_REFUSES_SIDECAR, causes.NAMESPACE_NOT_INJECTED)
        or state.lacking(case.reading, cluster)
    )


def _unknown_revision(cluster: Cluster, pod: Object, namespace: Object | None) -> Fact | None:
    """The label that asks for a revision or tag which no injection webhook has; None without one."""
    known = {
        str(value)
        for one in cluster.all("MutatingWebhookConfiguration")
        if labels_of(one).get("app") == "sidecar-injector"
        for key in (REVISION_LABEL, _TAG)
        if (value := labels_of(one).get(key))
    }
    if not cluster.read("MutatingWebhookConfiguration") or _INJECTION in labels_of(namespace or {}):
        return None
    for place in (namespace, pod):
        if place and (wanted := labels_of(place).get(REVISION_LABEL)):
            kind = "Pod" if place is pod else "Namespace"
            value = f"{wanted}; the injection webhooks are of {shown(sorted(known))}"
            return (
                None if wanted in known else Fact(of(cluster, place, kind), f"metadata.labels {REVISION_LABEL}", value)
            )
    return None


def _asks(labels: object) -> bool:
    known = labels if isinstance(labels, dict) else {}
    return known.get("istio-injection") == "enabled" or bool(known.get("istio.io/rev"))


def _names(pod: Object) -> list[str]:
    return [str(one.get("name")) for one in spec_of(pod).get("containers") or []]


@rule
def strangers(case: Case) -> Iterator[Finding]:
    """A pod that the Service selects runs another program than the others: it answers, or forwards, in their place."""
    reading = case.reading
    pods = [(cluster, pod) for cluster in reading.clusters for pod in state.pods_of(reading, cluster)]
    programs = Counter(name for _, pod in pods for name in _programs(pod))
    ranked = programs.most_common(2)
    if len(ranked) < 2 or ranked[0][1] == ranked[1][1]:
        return
    usual = ranked[0][0]
    for cluster, pod in pods:
        if usual in _programs(pod):
            continue
        images = [str(one.get("image")) for one in spec_of(pod).get("containers") or [] if one.get("name") != SIDECAR]
        yield Finding(
            causes.POD_FORWARDS if case.suspected(causes.POD_FORWARDS) else causes.STRANGE_POD,
            Layer.POD,
            (
                Fact(of(cluster, pod, "Pod"), "metadata.labels", shown(_chosen(pod))),
                Fact(of(cluster, pod, "Pod"), "spec.containers[].image", f"{shown(images)}; the others run {usual}"),
            ),
            f"let {name_of(pod)} of {cluster.name} not carry the service's labels",
            case.suspected(causes.POD_FORWARDS, causes.STRANGE_POD),
            UNREACHED | {causes.POD_FORWARDS.id, causes.STRANGE_POD.id},
        )


def _programs(pod: Object) -> list[str]:
    return [name for name in _names(pod) if name != SIDECAR]


def _chosen(pod: Object) -> dict[str, str]:
    return {key: value for key, value in labels_of(pod).items() if key in ("app", "version")}


def _without_tls(reading: Reading, cluster: Cluster, pod: Object) -> str:
    """A sentence on an istiod that knows a pod's endpoint without mutual TLS; empty where it does not."""
    ip = str((pod.get("status") or {}).get("podIP", ""))
    for istiod in state.control_plane_of(reading, cluster).istiods:
        for endpoints in ((istiod.shards or {}).get(reading.host) or {}).values():
            for one in endpoints:
                if ip and ip in (one.get("Addresses") or []) and one.get("TLSMode") != "istio":
                    mode = one.get("TLSMode") or "disabled"
                    return f"istiod {istiod.pod} has {ip} with TLS mode {mode}: no other network gets it"
    return ""


@rule
def tls_mode(case: Case) -> Iterator[Finding]:
    """A pod with a sidecar is labelled as one that speaks no mutual TLS."""
    reading = case.reading
    for cluster in reading.clusters:
        for pod in state.pods_of(reading, cluster):
            label = labels_of(pod).get(_TLS_MODE)
            if not scope.has_sidecar(pod) or label == "istio":
                continue
            yield Finding(
                root_causes.POD_WITHOUT_TLS_MODE,
                Layer.POD,
                (Fact(of(cluster, pod, "Pod"), f"metadata.labels {_TLS_MODE}", shown(label)),),
                f"label the pod {_TLS_MODE}=istio, or restart it",
                _without_tls(reading, cluster, pod) or state.lacking(reading, cluster, far_only=True),
                UNREACHED,
            )


@rule
def capture(case: Case) -> Iterator[Finding]:
    """An annotation keeps the service's port, or a client's requests for it, away from the sidecar."""
    reading = case.reading
    for cluster in reading.clusters:
        service = state.service_of(reading, cluster) or {}
        clients = [pod for pod in cluster.all("Pod") if (namespace_of(pod), name_of(pod)) in _clients(cluster)]
        inbound = itertools.product(state.pods_of(reading, cluster), _INBOUND)
        for pod, name in itertools.chain(inbound, itertools.product(clients, _OUTBOUND)):
            field, value = _setting(pod, name)
            if value is None or not _kept_away(name, value, service, pod):
                continue
            yield Finding(
                root_causes.TRAFFIC_NOT_CAPTURED,
                Layer.POD,
                (Fact(of(cluster, pod, "Pod"), field, value),),
                f"take {name} from the pods of {name_of(pod)} in {cluster.name}, or from the injector's values",
                _plain(case, cluster, pod),
                UNREACHED | {causes.ACCESS_LOG_OFF.id, causes.NO_MUTUAL_TLS.id},
            )


@rule
def proxy_user(case: Case) -> Iterator[Finding]:
    """A client's container runs as the user or group of the sidecar, whose own connections are not redirected."""
    for cluster in case.reading.clusters:
        for pod in cluster.all("Pod"):
            facts = _as_proxy(cluster, pod) if (namespace_of(pod), name_of(pod)) in _clients(cluster) else ()
            if facts:
                yield Finding(
                    root_causes.TRAFFIC_NOT_CAPTURED,
                    Layer.POD,
                    facts,
                    f"let {name_of(pod)} of {cluster.name} run as another user than {_PROXY_ID}",
                    _plain(case, cluster, pod),
                    UNREACHED | {causes.ACCESS_LOG_OFF.id, causes.NO_MUTUAL_TLS.id},
                )


def _as_proxy(cluster: Cluster, pod: Object) -> tuple[Fact, ...]:
    """What makes a container beside the sidecar run as the sidecar does: its own setting, or else the pod's."""
    spec, name, facts = spec_of(pod), of(cluster, pod, "Pod"), []
    for field in ("runAsUser", "runAsGroup"):
        for one in spec.get("containers") or []:
            own = (one.get("securityContext") or {}).get(field)
            if one.get("name") == SIDECAR:
                continue
            if own == _PROXY_ID:
                facts.append(Fact(name, f"spec.containers {one.get('name')}.securityContext.{field}", str(own)))
            elif own is None and (spec.get("securityContext") or {}).get(field) == _PROXY_ID:
                facts.append(Fact(name, f"spec.securityContext.{field}", str(_PROXY_ID)))
    return tuple(dict.fromkeys(facts))


def _clients(cluster: Cluster) -> set[tuple[str, str]]:
    return {(proxy.namespace, proxy.pod) for proxy in cluster.of("client")}


def _setting(pod: Object, name: str) -> tuple[str, str | None]:
    """The field that says what of a pod's traffic is captured, and its value: an annotation, or the injector's own."""
    annotation = f"traffic.sidecar.istio.io/{name}"
    if (value := annotations_of(pod).get(annotation)) is not None:
        return f"metadata.annotations {annotation}", value
    flag = _CAPTURE[name]
    for container in spec_of(pod).get("initContainers") or []:
        args = [str(one) for one in container.get("args") or []]
        if container.get("name") in _CAPTURE_CONTAINERS and flag in args[:-1]:
            return f"spec.initContainers {container['name']}.args {flag}", args[args.index(flag) + 1]
    return "", None


def _kept_away(name: str, value: str, service: Object, pod: Object) -> bool:
    """Whether an annotation keeps requests for a Service from a sidecar, of a client or of a pod that it selects."""
    listed = [one.strip() for one in value.split(",") if one.strip()]
    if name.endswith("IPRanges"):
        address = str(spec_of(service).get("clusterIP") or "")
        held = "*" in listed or any(within(address, one) for one in listed)
    else:
        ports = scope.ports(service)
        numbers = {str(scope.target_of(port, pod) if name in _INBOUND else port.get("port")) for port in ports}
        held = bool(numbers & {*listed}) if name.startswith("exclude") else "*" in listed or numbers <= {*listed}
    return held if name.startswith("exclude") else not held


def _plain(case: Case, cluster: Cluster, pod: Object) -> str:
    """A sentence on connections that fail at a pod, or on a client that logs nothing; empty without either."""
    reading = case.reading
    ip = str((pod.get("status") or {}).get("podIP"))
    for home in state.sharing(reading, cluster):
        for proxy in home.proxies:
            for line in state.logged(proxy, flags=("UF", "UC", "URX", "UR")):
                if host_of(line.upstream) == ip:
                    return f"{line.count} connections of {home.name}'s {proxy.pod} to {ip} failed ({line.flags})"
    if (namespace_of(pod), name_of(pod)) in _clients(cluster):
        return case.suspected(causes.ACCESS_LOG_OFF)
    return case.suspected(causes.NO_MUTUAL_TLS)


@rule
def placement(case: Case) -> Iterator[Finding]:
    """A version of the service runs in several clusters, where a failed check wants it in one."""
    reading = case.reading
    asked = case.suspected(causes.BOTH_VERSIONS_EVERYWHERE)
    if not asked:
        return
    homes: dict[str, list[Fact]] = {}
    for cluster in reading.clusters:
        for one in cluster.all("Deployment", reading.namespace):
            labels = scope.template_labels(one)
            service = state.service_of(reading, cluster)
            if service and scope.selects(spec_of(service).get("selector"), labels) and labels.get("version"):
                fact = Fact(of(cluster, one, "Deployment"), "spec.template.metadata.labels version", labels["version"])
                homes.setdefault(labels["version"], []).append(fact)
    facts = [fact for found in homes.values() if len(found) > 1 for fact in found]
    if facts and len(Counter(fact.value for fact in facts)) > 1:
        yield Finding(
            causes.BOTH_VERSIONS_EVERYWHERE,
            Layer.POD,
            tuple(facts),
            "delete each version's Deployment from the cluster where it does not belong",
            asked,
            UNREACHED
            | {causes.BOTH_VERSIONS_EVERYWHERE.id, causes.VERSION_MISPLACED.id, causes.FAR_VERSION_RUNS_NEAR.id},
        )


@rule
def discovery_address(case: Case) -> Iterator[Finding]:
    """A pod's annotation has its sidecar ask another address than istiod's, and the sidecar is not ready."""
    for cluster in case.reading.clusters:
        for pod in _watched(case.reading, cluster):
            line = scope.proxy_config_line(pod, "discoveryAddress")
            if not line:
                continue
            yield Finding(
                root_causes.DISCOVERY_ADDRESS_WRONG,
                Layer.POD,
                (Fact(of(cluster, pod, "Pod"), f"metadata.annotations {PROXY_CONFIG_ANNOTATION}", line),),
                f"take discoveryAddress out of the configuration of {name_of(pod)}",
                _sidecar_waits(pod),
                _READINESS | UNREACHED,
            )


def _sidecar_waits(pod: Object) -> str:
    """A sentence on a sidecar that is not ready; empty where it is, or there is none."""
    return f"the sidecar of {name_of(pod)} is not ready" if SIDECAR in _unready(pod) else ""


@rule
def cluster_dns(case: Case) -> Iterator[Finding]:
    """A pod resolves names as its node does, and the sidecar is not ready: no such resolver knows istiod's Service."""
    for cluster in case.reading.clusters:
        for pod in _watched(case.reading, cluster):
            policy = str(spec_of(pod).get("dnsPolicy") or "ClusterFirst")
            if policy in _CLUSTER_DNS or spec_of(pod).get("dnsConfig"):
                continue
            yield Finding(
                root_causes.POD_WITHOUT_CLUSTER_DNS,
                Layer.POD,
                (Fact(of(cluster, pod, "Pod"), "spec.dnsPolicy", policy),),
                f"set dnsPolicy to ClusterFirst in what {name_of(pod)} is made from",
                _sidecar_waits(pod),
                _READINESS | UNREACHED,
            )


@rule
def short_certificates(case: Case) -> Iterator[Finding]:
    """A pod's proxy asks for certificates of a short life."""
    for cluster in case.reading.clusters:
        for pod in cluster.all("Pod", case.reading.namespace):
            field, line = f"metadata.annotations {PROXY_CONFIG_ANNOTATION}", scope.proxy_config_line(pod, "SECRET_TTL")
            if not line:
                # From the mesh configuration or a ProxyConfig.
                field, line = "env SECRET_TTL", scope.environment(pod, "SECRET_TTL")
            if line:
                yield Finding(
                    causes.CERTIFICATE_SHORT_LIVED,
                    Layer.TRUST,
                    (Fact(of(cluster, pod, "Pod"), field, line),),
                    f"take SECRET_TTL out of the configuration of {name_of(pod)}",
                    case.suspected(causes.CERTIFICATE_SHORT_LIVED),
                    frozenset(),
                )
