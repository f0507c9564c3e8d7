"""Objects of a run in a namespace that was there before it: they are labelled, created and deleted one by one.

The namespace has an owner, and other workloads may run in it. Nothing of the run binds them: what selects pods selects
those with the run's label.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy

from splithorizon.base.errors import EnvironmentBroke
from splithorizon.base.waiting import NotYet, eventually
from splithorizon.kube import manifests
from splithorizon.kube.api_server import Refused
from splithorizon.kube.client import Kube, NotAdmitted, Object, Objects
from splithorizon.undo import ownership

KINDS = (
    "Deployment", "Pod", "Service", "ServiceAccount", "VirtualService", "DestinationRule", "Sidecar", "EnvoyFilter",
    "Telemetry", "AuthorizationPolicy",
)  # fmt: skip
"""The kinds that a run creates in its namespace, in the order of their removal: first what makes further pods."""

_DERIVED = "EndpointSlice"
"""Made and removed by a controller, with the labels of its Service."""
_BY_SELECTOR = ("AuthorizationPolicy", "Telemetry")
_BY_WORKLOAD_SELECTOR = ("EnvoyFilter", "Sidecar")
_NOT_SERVED, _FORBIDDEN, _CONFLICT = 404, 403, 409
# A webhook that does not answer, or an API server that starts.
_TEMPORARY = frozenset({500, 503})


def owned(document: Object, labels: Mapping[str, str]) -> Object:
    """A copy with the labels of its run, whose selectors select pods of that run alone.

    A rule for a wildcard of hosts holds for the run's own clients; other rules name Services of the run.
    """
    run = {ownership.RUN: labels[ownership.RUN]}
    found = manifests.overlay(document, {"metadata": {"labels": dict(labels)}})
    kind, spec = found["kind"], found.get("spec") or {}
    narrowed: Object = {}
    if kind == "Deployment":
        narrowed = {"selector": {"matchLabels": run}, "template": {"metadata": {"labels": dict(labels)}}}
    elif kind == "Service":
        narrowed = {"selector": run}
    elif kind in _BY_SELECTOR:
        narrowed = {"selector": {"matchLabels": run}}
    elif kind in _BY_WORKLOAD_SELECTOR:
        narrowed = {"workloadSelector": {"labels": run}}
    elif kind == "DestinationRule" and str(spec.get("host", "")).startswith("*"):
        narrowed = {"workloadSelector": {"matchLabels": run}}
    return manifests.overlay(found, {"spec": narrowed}) if narrowed else found


def create(kube: Kube, documents: Iterable[Object], namespace: str) -> None:
    """Create objects that ``owned`` labelled; one that this run has created already stays as it is.

    Raises EnvironmentBroke if an object of that name is not this run's, and NotAdmitted, which is a NotYet, if another
    attempt may succeed.
    """
    for document in documents:
        try:
            kube.create(deepcopy(document), namespace=namespace)
        except Refused as refused:
            if refused.status in _TEMPORARY:
                raise NotAdmitted(refused.what, status=refused.status, message=refused.message) from None
            if refused.status != _CONFLICT:
                raise
            _require_ours(kube, document, namespace)


def _require_ours(kube: Kube, document: Object, namespace: str) -> None:
    kind, name = document["kind"], document["metadata"]["name"]
    found = kube.get(kind, name, namespace)
    if found is None:
        raise NotYet(f"{kind} {namespace}/{name} was there a moment ago")
    if run_of(found) != document["metadata"]["labels"][ownership.RUN]:
        raise EnvironmentBroke(
            f"{kind} {namespace}/{name} of the {kube.cluster} was created by somebody else meanwhile: it is not changed"
        )


def run_of(found: Object) -> str:
    """The label value of the run that created an object; empty for an object of somebody else."""
    labels = found["metadata"].get("labels") or {}
    return str(labels.get(ownership.RUN, "")) if labels.get(ownership.MANAGED_BY) == ownership.MANAGER else ""


def selector(run: str = "") -> str:
    """The label selector of the objects of one run, by its label value, or of all runs."""
    return f"{ownership.SELECTOR},{ownership.RUN}={run}" if run else ownership.SELECTOR


def listed(kube: Kube, kind: str, namespace: str, run: str = "") -> Objects:
    """The objects of one kind and run in a namespace, or of all runs; none of a kind that the cluster does not serve.

    Raises Refused if this user may not list them.
    """
    try:
        return kube.list(kind, namespace, selector(run))
    except Refused as refused:
        if refused.status == _NOT_SERVED:
            return []
        raise


def runs_in(kube: Kube, namespace: str) -> dict[str, Object]:
    """One object of each run that left some in the namespace, by the run's label value."""
    found: dict[str, Object] = {}
    for kind in KINDS:
        for one in listed(kube, kind, namespace):
            found.setdefault(run_of(one), one)
    return found


def remove(kube: Kube, namespace: str, run: str, *, gone_within: float, kinds: Iterable[str] = KINDS) -> None:
    """Delete the objects of one run, by its label value, one by one, and wait until they and their pods are gone."""
    known = tuple(kinds)
    for kind in known:
        for one in listed(kube, kind, namespace, run):
            if not one["metadata"].get("ownerReferences"):
                kube.delete(kind, one["metadata"]["name"], namespace)

    def gone() -> None:
        if left := list(_names(kube, namespace, run, known)):
            raise NotYet(f"still there: {', '.join(left[:5])}")

    eventually(f"the run's objects in namespace {namespace} are gone from the {kube.cluster}", gone, within=gone_within)


def _names(kube: Kube, namespace: str, run: str, kinds: Iterable[str]) -> Iterator[str]:
    for kind in kinds:
        for one in listed(kube, kind, namespace, run):
            yield f"{kind} {one['metadata']['name']}"
    for one in kube.list_if_allowed(_DERIVED, namespace, selector(run)) or []:
        yield f"{_DERIVED} {one['metadata']['name']}"


def removal_command(kube: Kube, namespace: str, run: str, kinds: Iterable[str] = KINDS) -> str:
    """The command by which a user deletes the objects of one run."""
    names = ",".join(kind.lower() for kind in kinds)
    return f"{kube.kubectl} delete {names} --namespace {namespace} --selector {ownership.RUN}={run}"
