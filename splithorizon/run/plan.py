"""What a run would do to an existing mesh, in lines for its owner: data of the suite, and estimates that say so."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from splithorizon.base.paths import MANIFESTS, SUITES
from splithorizon.conditions import behaviours, shape
from splithorizon.kube import manifests
from splithorizon.run import catalogue, costs, rights
from splithorizon.run.catalogue import Profile
from splithorizon.run.existing_mesh import Prepared
from splithorizon.run.options import Options
from splithorizon.run.rights import Part, Scope
from splithorizon.traffic import workloads

_USED_BY = re.compile(r"^# Used by: (.*)$", re.MULTILINE)
# What single checks apply in the run's namespace, and remove again. Other manifests belong to the set-up.
_OF_CHECKS = ("routing", "security")
# What the set-up of a check alone can read. It is printed beside the behaviour.
_ONLY_IF: Mapping[str, str] = {
    **dict.fromkeys(behaviours.PROTOCOLS, "only if the helloworld image speaks more than small HTTP/1.1 requests"),
    "test_plain_text_is_refused": "only if a PeerAuthentication of the whole mesh is STRICT",
    "test_networks_are_separate": "only if the networks do not share the far pod's address and are not peered",
    "test_each_hop_of_a_far_answer_is_logged": "only if the gateways' logs can be read and have Istio's format",
}


def lines(seen: Prepared, options: Options, selected: Mapping[str, int], left_out: Mapping[str, str]) -> list[str]:
    """What is created, changed and read, what is claimed, how long it takes and how often istiod pushes.

    ``selected`` has the number of checks of each collected behaviour, ``left_out`` the other ones with the reason.
    """
    denied = {name: seen.info.not_claimed[name] for name in selected if name in seen.info.not_claimed}
    by_shape = {name: reason for name, reason in shape.not_claimed(seen.info.topology).items() if name in selected}
    denied = {**by_shape, **denied}
    judged = {name: count for name, count in selected.items() if name not in denied}
    return [
        *_created(seen, judged, options),
        *_changed(seen, options),
        *_read(options, existing_namespace=seen.info.namespace_exists),
        *_claimed(judged, {**left_out, **denied}),
        *_cost(seen, judged),
        "Dry run: nothing was created or changed.",
    ]


def temporary(judged: Mapping[str, int]) -> list[tuple[str, str, str]]:
    """What single checks create for a while: behaviour, kind and name of each object, for each check once."""
    found = []
    for file in sorted(path for folder in _OF_CHECKS for path in (MANIFESTS / folder).glob("*.yaml")):
        objects = [(one["kind"], one["metadata"]["name"]) for one in manifests.load(file)]
        found += [(name, *one) for name in _users(file) for _ in range(judged.get(name, 0)) for one in objects]
    return found


def _users(file: Path) -> list[str]:
    return [name.strip() for match in _USED_BY.findall(file.read_text()) for name in match.split(",")]


def _created(seen: Prepared, judged: Mapping[str, int], options: Options) -> Iterator[str]:
    there = seen.info.namespace_exists
    place = f"namespace {seen.info.namespace}, which is there:" if there else f"namespace {seen.info.namespace} with"
    end = "deleted one by one at the end" if there else "deleted at the end"
    end = "kept, as --keep-cluster says" if options.keep else end
    for name, cluster in seen.info.clusters.items():
        kinds = Counter(kind for kind, _ in _objects(seen, name))
        counted = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
        yield f"would create in {cluster.context}: {place} {counted}; {end}"
    for behaviour, kind, name in dict.fromkeys(temporary(judged)):
        yield f"would create in that namespace for {behaviour}, and delete after it: {kind} {name}"


def _objects(seen: Prepared, name: str) -> list[tuple[str, str]]:
    """The objects of the set-up in one cluster, beside the namespace."""
    cluster = seen.info.clusters[name]
    documents = workloads.documents_of(cluster.version, seen.info.workload_versions.values())
    if cluster in seen.info.config_clusters:
        documents += [*manifests.load(MANIFESTS / "foreign" / "access-log.yaml"), *seen.decision.objects]
    settled = seen.settled[name]
    if settled.pull_secret and not settled.owner:
        documents.append(settled.pull_secret)
    return sorted({(one["kind"], one["metadata"]["name"]) for one in documents if one["kind"] != "Namespace"})


def _changed(seen: Prepared, options: Options) -> Iterator[str]:
    if seen.info.namespace_exists:
        yield "would change nothing in that namespace that is not the run's"
    if not options.allow_disruption:
        yield "would change nothing outside of that namespace"
        return
    systems = ", ".join(f"{one.system_namespace} of {one.context}" for one in seen.info.clusters.values())
    yield f"istiod's namespaces: {systems}"
    for right in rights.needed(allow_disruption=True, existing_namespace=seen.info.namespace_exists):
        verbs = [verb for verb in right.verbs if verb in ("create", "delete", "patch")]
        if right.part is Part.DISRUPTION and verbs:
            where = " and ".join(scope for scope in right.scopes if scope is not Scope.OWN)
            yield f"may {', '.join(verbs)} {right.resource} in {where}, and restore them: {right.purpose}"


def _read(options: Options, *, existing_namespace: bool) -> Iterator[str]:
    by_scope: dict[str, list[str]] = {}
    for right in rights.needed(allow_disruption=options.allow_disruption, existing_namespace=existing_namespace):
        if {"get", "list"} & {*right.verbs} and not right.is_path and right.part is not Part.DIAGNOSIS:
            for scope in right.scopes:
                by_scope.setdefault(scope, []).append(right.resource)
    for where, resources in by_scope.items():
        yield f"would read in {where}: {', '.join(dict.fromkeys(resources))}"
    causes = [right.resource for right in rights.needed() if right.part is Part.DIAGNOSIS]
    yield f"would read once a check has failed: {', '.join(dict.fromkeys(causes))}"


def _claimed(judged: Mapping[str, int], left_out: Mapping[str, str]) -> Iterator[str]:
    yield f"would claim {len(judged)} behaviours by {sum(judged.values())} checks:"
    for name, count in judged.items():
        only_if = f", {_ONLY_IF[name]}" if name in _ONLY_IF else ""
        yield f"  {name} ({count} {'check' if count == 1 else 'checks'}{only_if})"
    yield f"would not claim {len(left_out)}:"
    for name, reason in left_out.items():
        yield f"  {name}: {reason}"
    yield "the set-up of a check may leave out more, with the reason in the report"


def _cost(seen: Prepared, judged: Mapping[str, int]) -> Iterator[str]:
    disruptive = {one.name for one in catalogue.behaviours(SUITES) if one.profile is Profile.DISRUPTIVE}
    disruptions = sum(count for name, count in judged.items() if name in disruptive)
    seconds = costs.SET_UP + costs.REMOVAL + costs.DISRUPTIVE * disruptions
    seconds += sum(
        count * costs.SECONDS.get(name, costs.UNMEASURED) for name, count in judged.items() if name not in disruptive
    )
    kinds = [kind for name in seen.info.clusters for kind, _ in _objects(seen, name)]
    kinds += [kind for _, kind, _ in temporary(judged)]
    # Each object comes and goes.
    pushes = 2 * sum(kind in costs.PUSHED for kind in kinds)
    yield f"would take about {_duration(seconds)}: an estimate by times that were measured on small clusters"
    yield (
        f"would cause about {pushes} pushes by the objects above, which come and go: an estimate; istiod joins changes "
        "that follow each other closely"
    )
    if disruptions:
        yield f"and {costs.OF_DISRUPTIVE * disruptions} or more by {disruptions} checks that disrupt the mesh"


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} minutes"
