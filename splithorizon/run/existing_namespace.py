"""``--namespace``: a namespace that is there in every cluster, and what has to hold before a run creates objects in it.

Everything here only reads, or asks the API server for dry runs, which store nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from kubernetes.utils.quantity import parse_quantity

from splithorizon.base.errors import UsageProblem
from splithorizon.base.paths import MANIFESTS
from splithorizon.diagnosis import scope
from splithorizon.istio.names import REVISION_LABEL
from splithorizon.kube import manifests, pod_status
from splithorizon.kube.api_resources import resource_of
from splithorizon.kube.api_server import Refused
from splithorizon.kube.client import Kube, Object
from splithorizon.undo import ownership, shared_namespace

_WEBHOOKS = "MutatingWebhookConfiguration"
_NAME_LABEL = "kubernetes.io/metadata.name"
_FORBIDDEN = 403
_DRY_RUN_POD = "splithorizon-dry-run"
# What single checks create in the run's namespace, and remove again.
_OF_CHECKS = ("routing", "security", "resilience")
_RULE_GROUP = "istio.io"
# At once there are up to three more pods of helloworld, and a client without a sidecar.
_FURTHER_PODS = 4
_OF_PODS = ("cpu", "memory", "ephemeral-storage")
# Of scoped quotas those that count pods with requests and without a deadline.
_COUNTED_SCOPES = frozenset({"NotBestEffort", "NotTerminating"})


@dataclass(frozen=True)
class Place:
    """The namespace in one cluster, and what the run is about to create there.

    ``documents`` are labelled as ``shared_namespace.owned`` does. ``revision`` is that of the cluster's istiod.
    ``reads_rules`` is whether an istiod reads the cluster's configuration.
    """

    kube: Kube
    context: str
    namespace: str
    labels: Mapping[str, str]
    documents: Sequence[Object]
    revision: str = "default"
    reads_rules: bool = True

    def problem(self, why: str) -> UsageProblem:
        """Why a run cannot be in this namespace."""
        return UsageProblem(f"--namespace {self.namespace}, context {self.context}: {why}. Nothing was created.")


def labels_of(kube: Kube, context: str, namespace: str) -> dict[str, str]:
    """The labels of the namespace in one cluster. Raises UsageProblem if it is not there, or is being deleted."""
    found = kube.get("Namespace", namespace)
    if found is None or "deletionTimestamp" in found["metadata"]:
        state = "there is no such namespace" if found is None else "the namespace is being deleted"
        raise UsageProblem(
            f"--namespace {namespace}, context {context}: {state}, and it has to be there in every cluster: let who "
            "may create it do so, with the label by which istiod injects sidecars. Nothing was created."
        )
    return dict(found["metadata"].get("labels") or {})


def require_usable(place: Place, *, dry_run_pods: bool) -> None:
    """Raise UsageProblem unless the run can create its objects in the namespace and leave everything else alone.

    ``dry_run_pods`` is whether this user may create pods, and so may ask for a dry run of one.
    """
    _require_injection(place)
    _require_free_names(place)
    _require_own_pods(place)
    pods = _require_admitted(place, dry_run_pods=dry_run_pods)
    _require_room(place, pods)


def _require_injection(place: Place) -> None:
    """Ask the injection webhooks' selectors, as the API server does, which istiod injects pods of the namespace."""
    namespace = {_NAME_LABEL: place.namespace, **place.labels}
    pod = next(iter(_templates(place)))["metadata"].get("labels") or {}
    found = {
        str(one["metadata"]["labels"].get(REVISION_LABEL, "default"))
        for one in place.kube.list(_WEBHOOKS, labels="app=sidecar-injector")
        for webhook in one.get("webhooks") or []
        if scope.matches_labels(webhook.get("namespaceSelector") or {}, namespace)
        and scope.matches_labels(webhook.get("objectSelector") or {}, pod)
    }
    if place.revision in found:
        return
    wanted = "istio-injection=enabled or " if place.revision == "default" else ""
    others = f"sidecars there come from revision {', '.join(sorted(found))}" if found else "no istiod injects sidecars"
    raise place.problem(
        f"{others}, and the run is about revision {place.revision}: let the namespace's owner label it "
        f"{wanted}{REVISION_LABEL}={place.revision}" + (", or name the revision by --revision" if found else "")
    )


def _require_free_names(place: Place) -> None:
    for kind, name in dict.fromkeys([*map(_key, place.documents), *_of_checks(place)]):
        found = place.kube.get(kind, name, place.namespace)
        if found is None:
            continue
        if run := shared_namespace.run_of(found):
            command = shared_namespace.removal_command(place.kube, place.namespace, run)
            until = found["metadata"]["labels"].get(ownership.EXPIRES)
            raise place.problem(
                f"{kind} {name} is there, of run {run}{f', until {until}' if until else ''}: wait for its end, or if "
                f"it has ended remove what it left with: {command}"
            )
        raise place.problem(
            f"{kind} {name} is there and is not the run's, which needs that name: name another namespace, or let its "
            "owner remove it"
        )


def _of_checks(place: Place) -> Iterator[tuple[str, str]]:
    """Kind and name of what single checks create later; Istio's kinds only where an istiod reads them."""
    for folder in _OF_CHECKS:
        for file in sorted((MANIFESTS / folder).glob("*.yaml")):
            for one in manifests.load(file):
                rule = resource_of(one["kind"])[0].endswith(_RULE_GROUP)
                if one["kind"] in shared_namespace.KINDS and (place.reads_rules or not rule):
                    yield _key(one)


def _require_own_pods(place: Place) -> None:
    """The Services of others must not lead to the run's pods, and pods of others must not be taken for the run's."""
    apps = {template["metadata"]["labels"].get("app") for template in _templates(place)}
    for pod in place.kube.list("Pod", place.namespace):
        if (pod["metadata"].get("labels") or {}).get("app") in apps:
            raise place.problem(
                f"Pod {pod['metadata']['name']} has the label app={pod['metadata']['labels']['app']}, by which the run "
                "knows its own pods: name another namespace"
            )
    for service in place.kube.list("Service", place.namespace):
        chosen = (service.get("spec") or {}).get("selector") or {}
        if any(scope.selects(chosen, template["metadata"]["labels"]) for template in _templates(place)):
            raise place.problem(
                f"Service {service['metadata']['name']} selects pods of the run, so that its clients would be sent "
                "there: name another namespace"
            )


def _require_admitted(place: Place, *, dry_run_pods: bool) -> list[Object]:
    """Ask for a dry run of every object and of the pods; the pods as they were admitted, in the order of Deployments.

    Raises UsageProblem with the API server's own sentence for what admission, a quota or a LimitRange refuses.
    """
    for document in place.documents:
        _admitted(place, document)
    if not dry_run_pods:
        return []
    pods = []
    for template in _templates(place):
        # Its account is created with it, and a dry run of that stores none.
        spec = {key: value for key, value in template["spec"].items() if key != "serviceAccountName"}
        metadata = {**template["metadata"], "name": _DRY_RUN_POD}
        pod = _admitted(place, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
        if not pod_status.of_pod(pod).sidecar:
            raise place.problem("a dry run of a pod got no sidecar, though the labels ask for one: see istiod's log")
        pods.append(pod)
    return pods


def _admitted(place: Place, document: Object) -> Object:
    try:
        return place.kube.as_admitted(deepcopy(document), place.namespace)
    except Refused as refused:
        kind, name = _key(document)
        if kind == "EnvoyFilter" and refused.status == _FORBIDDEN:
            # Without one, what reads access logs is not claimed; that is all.
            return document
        what = "a pod of the run" if name == _DRY_RUN_POD else f"{kind} {name}"
        raise place.problem(
            f"the API server refuses {what} in a dry run: {refused.message or refused.seen}: adapt the run's pods by "
            "--overlay, --image or --pull-secret, or name another namespace"
        ) from None


def _require_room(place: Place, pods: Sequence[Object]) -> None:
    """Compare what the run needs at once with what each ResourceQuota has left; a dry run asks for one object only."""
    needed = needs(place.documents, pods)
    for quota in place.kube.list_if_allowed("ResourceQuota", place.namespace) or []:
        if not _counts_ours(quota):
            continue
        status = quota.get("status") or {}
        for key, hard in (status.get("hard") or {}).items():
            left = _quantity(hard) - _quantity((status.get("used") or {}).get(key, "0"))
            if needed.get(_plain(key), Decimal(0)) > left:
                raise place.problem(
                    f"ResourceQuota {quota['metadata']['name']} has {left.normalize():f} of {key} left, and the run "
                    f"needs {needed[_plain(key)].normalize():f} at once: let its owner raise it, or ask for less by "
                    "--overlay"
                )


def needs(documents: Iterable[Object], pods: Sequence[Object]) -> dict[str, Decimal]:
    """What the run's objects use of a quota at once, by the quota's own names: objects counted, resources summed up.

    Pods are counted as they were admitted, with their sidecars and what a LimitRange adds; further ones as the largest.
    """
    found: defaultdict[str, Decimal] = defaultdict(Decimal)
    for document in documents:
        group, resource = resource_of(document["kind"])
        found[f"count/{resource}{f'.{group}' if group else ''}"] += 1
        found[resource] += 1
    sizes = [_size(pod) for pod in pods]
    largest = {key: max(size[key] for size in sizes) for key in (sizes[0] if sizes else ())}
    for size in [*sizes, *([largest] * _FURTHER_PODS)]:
        for key, amount in size.items():
            found[key] += amount
    count = len(sizes) or sum(document["kind"] == "Deployment" for document in documents)
    found["pods"] = found["count/pods"] = Decimal(count + _FURTHER_PODS)
    return dict(found)


def _size(pod: Object) -> dict[str, Decimal]:
    """Requests and limits of a pod, as a quota counts them: init containers that end do so one after the other."""
    spec, found = pod["spec"], {}
    for part in ("requests", "limits"):
        for resource in _OF_PODS:
            running = [*spec.get("containers", [])]
            ending: list[Mapping[str, Any]] = []
            for one in spec.get("initContainers") or []:
                (running if one.get("restartPolicy") == "Always" else ending).append(one)
            total = sum((_amount(one, part, resource) for one in running), Decimal(0))
            first = max((_amount(one, part, resource) for one in ending), default=Decimal(0))
            found[f"{part}.{resource}"] = max(total, first)
    return found


def _amount(container: Mapping[str, Any], part: str, resource: str) -> Decimal:
    resources = (container.get("resources") or {}).get(part) or {}
    return _quantity(resources.get(resource, "0"))


def _quantity(text: str) -> Decimal:
    found: Decimal = parse_quantity(text)  # type: ignore[no-untyped-call]  # the client library has no types
    return found


def _plain(key: str) -> str:
    """A quota's name of a resource; ``cpu`` and ``memory`` alone stand for requests."""
    return f"requests.{key}" if key in _OF_PODS else key


def _counts_ours(quota: Object) -> bool:
    spec = quota.get("spec") or {}
    return not spec.get("scopeSelector") and {*(spec.get("scopes") or [])} <= _COUNTED_SCOPES


def _templates(place: Place) -> Iterator[Object]:
    for document in place.documents:
        if document["kind"] == "Deployment":
            yield document["spec"]["template"]


def _key(document: Object) -> tuple[str, str]:
    return document["kind"], document["metadata"]["name"]
