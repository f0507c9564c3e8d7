"""Istio's own scoping: which pods a rule binds, which hosts it means, which namespaces may see it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from splithorizon.istio.names import EXPORTED_SERVICES_ONLY, NETWORK_LABEL, PROXY_CONFIG_ANNOTATION
from splithorizon.kube.pod_status import SIDECAR

Labels = Mapping[str, str]
Object = Mapping[str, Any]


def selects(selector: Labels | None, labels: Labels) -> bool:
    """Whether a Service's selector fits a pod; one without a selector selects nothing."""
    return bool(selector) and (selector or {}).items() <= labels.items()


def binds(policy: Object, root: str, namespace: str, labels: Labels) -> bool:
    """Whether a policy, filter, Sidecar or Telemetry binds a pod: by namespace, or the root one's, and its selector."""
    own = policy.get("metadata", {}).get("namespace", "")
    if own not in (namespace, root):
        return False
    spec = policy.get("spec") or {}
    if spec.get("targetRefs") or spec.get("targetRef"):
        return False
    wanted = selector_of(policy)
    return not wanted or wanted.items() <= labels.items()


def selector_of(policy: Object) -> Labels:
    """The labels that a policy selects pods by; empty where it binds all of its namespace."""
    spec = policy.get("spec") or {}
    selector = spec.get("selector") or {}
    # A DestinationRule's has labels of another name than a Sidecar's.
    of_workloads = spec.get("workloadSelector") or {}
    found: Labels = selector.get("matchLabels") or of_workloads.get("labels") or of_workloads.get("matchLabels") or {}
    if not found and policy.get("kind") == "Gateway":
        found = selector
    return found


def exported_to(export_to: Sequence[str] | None, own: str, namespace: str) -> bool:
    """Whether a rule or Service of namespace ``own`` is seen in another; without exportTo it is seen everywhere."""
    if not export_to:
        return True
    return any(one in ("*", namespace) or (one == "." and own == namespace) for one in export_to)


def full_host(name: str, namespace: str, domain: str = "cluster.local") -> str:
    """A host as Istio reads it in a rule: a short name is of the rule's own namespace."""
    if "." in name or name == "*":
        return name
    return f"{name}.{namespace}.svc.{domain}"


def host_matches(pattern: str, host: str) -> bool:
    """Whether a host of a rule, in full and perhaps with a wildcard in front, means a service."""
    if pattern == "*" or pattern == host:
        return True
    if pattern.startswith("*"):
        return host.endswith(pattern[1:])
    # helloworld.sample, and helloworld.sample.svc, are not resolved by Istio in rules, but in the mesh configuration.
    return False


def rule_means(rule: Object, name: str, host: str, domain: str = "cluster.local") -> bool:
    """Whether a host of a rule means a service."""
    return host_matches(full_host(name, rule.get("metadata", {}).get("namespace", ""), domain), host)


def policy_levels(
    policy: Object, numbers: Collection[int] = (), place: str = "spec.trafficPolicy"
) -> Iterator[tuple[str, Object]]:
    """A traffic policy at ``place`` of a DestinationRule and its settings for single ports, each with its path.

    Of a Service with these ports they are what is in force: a port's own settings replace the others altogether.
    """
    levels = [*enumerate(policy.get("portLevelSettings") or [])]
    own = {(level.get("port") or {}).get("number") for _, level in levels}
    if not numbers or {*numbers} - own:
        yield place, policy
    for number, level in levels:
        if not numbers or (level.get("port") or {}).get("number") in numbers:
            yield f"{place}.portLevelSettings[{number}]", level


def egress_shows(entry: str, own: str, namespace: str, host: str) -> bool:
    """Whether an entry ``namespace/host`` of a Sidecar's egress lets a service be seen."""
    where, _, name = entry.partition("/")
    if not name:
        return False
    seen = where == "*" or where == namespace or (where == "." and own == namespace)
    return seen and where != "~" and host_matches(name, host)


def matches_labels(selector: Object, labels: Labels) -> bool:
    """Whether a Kubernetes label selector fits: matchLabels and matchExpressions."""
    return not unmet(selector, labels)


def unmet(selector: Object, labels: Labels) -> list[Object]:
    """The parts of a Kubernetes label selector that labels do not meet, matchLabels as expressions too."""
    listed = (selector.get("matchLabels") or {}).items()
    wanted = [{"key": key, "operator": "In", "values": [value]} for key, value in listed]
    return [one for one in (*wanted, *(selector.get("matchExpressions") or [])) if not _fits(one, labels)]


def _fits(expression: Object, labels: Labels) -> bool:
    key, values = expression.get("key", ""), expression.get("values") or []
    match expression.get("operator"):
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
    return False


def ports(service: Object) -> Sequence[Object]:
    """The ports of a Service."""
    found: Sequence[Object] = (service.get("spec") or {}).get("ports") or []
    return found


def target_of(port: Object, *pods: Object) -> int:
    """The number of the target of a Service's port; 0 for a name that no container of the pods has."""
    target = port.get("targetPort", port.get("port"))
    if isinstance(target, int):
        return target
    ports = (one for pod in pods for container in containers_of(pod) for one in container.get("ports") or [])
    return next((int(one["containerPort"]) for one in ports if one.get("name") == target), 0)


def declared(pod: Object) -> Iterator[Object]:
    """The ports that the containers of a pod declare, without those of Istio's proxy."""
    for container in containers_of(pod):
        if container.get("name") != SIDECAR:
            yield from container.get("ports") or []


def containers_of(pod: Object) -> list[Object]:
    """The containers of a pod, with those that begin before the others: such a one may go on."""
    spec = pod.get("spec") or {}
    return [*(spec.get("containers") or []), *(spec.get("initContainers") or [])]


def has_sidecar(pod: Object) -> bool:
    """Whether a pod has Istio's proxy, as a container or as an init container that goes on."""
    return any(one.get("name") == SIDECAR for one in containers_of(pod))


def is_ready(pod: Object) -> bool:
    """Whether a pod counts among the endpoints of a Service."""
    status = pod.get("status") or {}
    return "deletionTimestamp" not in pod.get("metadata", {}) and any(
        one.get("type") == "Ready" and one.get("status") == "True" for one in status.get("conditions") or []
    )


def environment(pod: Object, name: str) -> str:
    """A variable of a pod's proxy, or of istiod; empty where it has none of that name."""
    variables = (
        one
        for container in containers_of(pod)
        if container.get("name") in (SIDECAR, "discovery")
        for one in container.get("env") or []
    )
    return next((str(one.get("value", "")) for one in variables if one.get("name") == name), "")


def ips_of(pod: Object) -> Iterator[str]:
    """The addresses of a pod; none before it has one."""
    status = pod.get("status") or {}
    for one in status.get("podIPs") or [{"ip": status.get("podIP")}]:
        if one.get("ip"):
            yield str(one["ip"])


def template_labels(deployment: Object) -> Labels:
    """The labels of the pods that a Deployment makes."""
    found: Labels = (((deployment.get("spec") or {}).get("template") or {}).get("metadata") or {}).get("labels") or {}
    return found


def needs_exports(deployment: Object) -> bool:
    """Whether an istiod discovers Services of other clusters only where a ServiceExport says so."""
    template = (deployment.get("spec") or {}).get("template") or {}
    return environment(template, EXPORTED_SERVICES_ONLY).lower() == "true"


def network_of(pod: Object) -> str:
    """The network that a pod's label names."""
    return str((pod.get("metadata", {}).get("labels") or {}).get(NETWORK_LABEL, ""))


def seconds(text: str) -> float:
    """A duration as Go writes it, such as 1m30s or 500ms, in seconds; 0 for what is none."""
    return sum(float(number) * _SECONDS[unit] for number, unit in re.findall(r"(\d+\.?\d*)(h|ms|us|ns|m|s)", text))


_SECONDS = {"h": 3600, "m": 60, "s": 1, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}


def proxy_config_line(pod: Object, setting: str) -> str:
    """The line with a setting of the pod's annotation for its proxy; empty without one."""
    config = str(((pod.get("metadata") or {}).get("annotations") or {}).get(PROXY_CONFIG_ANNOTATION, ""))
    return next((one.strip() for one in config.splitlines() if setting in one), "")
