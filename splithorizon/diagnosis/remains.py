"""Why objects are left of a mesh that the run itself has removed: the objects are read, and no mesh."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from splithorizon.diagnosis import causes
from splithorizon.diagnosis.access import ClusterAccess
from splithorizon.diagnosis.finding import Fact, Finding, Layer, Symptom, of, shown
from splithorizon.diagnosis.reading.model import Object, Unread, labels_of
from splithorizon.diagnosis.root_cause import Diagnosis, RootCause, joined

# What a failed check of a removed mesh has among its numbers.
LEFT, LEFT_IN = "left", "left_in"
SEPARATOR = "; "
# `istioctl uninstall --purge` removes what has this label, and nothing else.
_COMPONENT = "operator.istio.io/component"


def removed(symptoms: Iterable[Symptom]) -> bool:
    """Whether a failed check looked at what is left: then there is no mesh any more that could be read."""
    return any(LEFT in one.numbers for one in symptoms)


def diagnose(clusters: Iterable[ClusterAccess], symptoms: Iterable[Symptom]) -> Diagnosis:
    """Read each object that is left, and decide why it is; objects that nothing explains have no cause.

    Raises Refused where an API server refuses, and EnvironmentBroke where it does not answer.
    """
    symptoms = tuple(symptoms)
    by_name = {one.name: one for one in clusters}
    found: list[Finding] = []
    for symptom in symptoms:
        cluster = by_name.get(str(symptom.numbers.get(LEFT_IN)))
        if cluster is None:
            continue
        for one in _left(cluster, str(symptom.numbers[LEFT])):
            if finding := _held(cluster, one) or _without_label(cluster, one):
                found.append(finding)
    # What is held keeps its namespace, and is asked about first.
    ordered = sorted(joined(found), key=lambda one: one.cause is not causes.FINALIZER_WITHOUT_CONTROLLER)
    explained = tuple(dict.fromkeys(one.behaviour for one in symptoms if LEFT in one.numbers)) if found else ()
    return Diagnosis(
        tuple(RootCause(one, explained) for one in ordered),
        unexplained=tuple(dict.fromkeys(one.behaviour for one in symptoms if one.behaviour not in explained)),
        unread=tuple(Unread(name, "the mesh", "the run had removed it") for name in by_name),
    )


def _left(cluster: ClusterAccess, names: str) -> Iterator[Object]:
    for text in names.split(SEPARATOR):
        kind, _, path = text.partition(" ")
        namespace, _, name = path.rpartition("/")
        try:
            one = cluster.kube.get(kind, name, namespace or None)
        except KeyError:
            # Of a kind that Istio does not install.
            continue
        if one is not None:
            yield {"kind": kind, **one}


def _held(cluster: ClusterAccess, one: Object) -> Finding | None:
    metadata: Mapping[str, object] = one["metadata"]
    if not metadata.get("deletionTimestamp") or not metadata.get("finalizers"):
        return None
    return Finding(
        causes.FINALIZER_WITHOUT_CONTROLLER,
        Layer.CONTROL_PLANE,
        (Fact(of(cluster.name, one), "metadata.finalizers", shown(metadata["finalizers"])),),
        fix=_command(cluster, one, "patch", "--type=merge", '-p \'{"metadata": {"finalizers": null}}\''),
        witness=f"deleted at {metadata['deletionTimestamp']}, and still there",
    )


def _without_label(cluster: ClusterAccess, one: Object) -> Finding | None:
    if one["metadata"].get("deletionTimestamp") or _COMPONENT in labels_of(one):
        return None
    return Finding(
        causes.INSTALLED_BY_OTHER_MEANS,
        Layer.CONTROL_PLANE,
        (Fact(of(cluster.name, one), f"metadata.labels {_COMPONENT}", shown(None)),),
        fix=_command(cluster, one, "delete"),
        witness="still there after istioctl uninstall --purge, which removes objects with this label",
    )


def _command(cluster: ClusterAccess, one: Object, verb: str, *more: str) -> str:
    namespace = one["metadata"].get("namespace")
    words = [f"kubectl <{cluster.name}>", *(["-n", namespace] if namespace else []), verb]
    return " ".join([*words, one["kind"].lower(), one["metadata"]["name"], *more])
