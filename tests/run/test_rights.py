"""The table of rights names what the suite really asks for: its behaviours, its manifests and its diagnosis."""

from __future__ import annotations

from pathlib import Path

import pytest

from splithorizon.base.paths import MANIFESTS, SUITES
from splithorizon.diagnosis.access import ClusterAccess, Target
from splithorizon.diagnosis.reading import objects
from splithorizon.kube import manifests
from splithorizon.kube.api_resources import resource_of
from splithorizon.kube.client import Kube
from splithorizon.run import catalogue, rights
from splithorizon.run.rights import RIGHTS, Part, Right, Scope

KNOWN = {Scope.OWN: ("own",), Scope.SYSTEM: ("system",), Scope.GATEWAYS: ("system", "ingress")}


def granted(group: str, resource: str, verb: str, scope: Scope, *, disruption: bool = False) -> list[Right]:
    return [
        right
        for right in rights.needed(allow_disruption=disruption)
        if (right.group, right.resource) == (group, resource)
        and verb in right.verbs
        and {scope, Scope.CLUSTER} & {*right.scopes}
    ]


def test_what_a_missing_right_limits_are_behaviours_that_there_are() -> None:
    known = {one.name for one in catalogue.behaviours(SUITES)}
    assert {name for right in RIGHTS for name in right.limits} <= known
    assert [right for right in RIGHTS if right.limits and right.without] == []


@pytest.mark.parametrize("folder", ["workloads", "foreign", "routing", "security"])
def test_every_kind_of_which_a_run_makes_an_object_may_be_made(folder: str) -> None:
    for file in sorted((MANIFESTS / folder).glob("*.yaml")):
        for document in manifests.load(file):
            group, resource = resource_of(document["kind"])
            for verb in ("create", "patch"):
                assert granted(group, resource, verb, Scope.OWN), f"{verb} {resource}, for {file.name}"


def test_every_kind_that_the_diagnosis_lists_may_be_listed(tmp_path: Path) -> None:
    access = ClusterAccess("primary", Kube(tmp_path / "no-kubeconfig", "primary"), "n", "id", "system", "primary")
    listed = {kind for kind, *_ in objects.kinds(access, Target("own", "helloworld"))}
    assert "EnvoyFilter" in listed
    for kind in listed:
        assert granted(*resource_of(kind), "list", Scope.CLUSTER), kind


def test_a_run_that_disrupts_nothing_may_change_nothing_outside_of_its_own_namespace() -> None:
    for right in rights.needed(allow_disruption=False):
        if {"create", "patch", "delete", "update"} & {*right.verbs} and "/" not in right.resource:
            assert right.scopes == (Scope.OWN,) or right.resource == "namespaces", right
    assert any(right.part is Part.DISRUPTION for right in rights.needed(allow_disruption=True))


def test_a_right_is_needed_in_the_namespaces_of_its_scopes_once_each() -> None:
    right = Right("events", ("list",), (Scope.OWN, Scope.SYSTEM, Scope.GATEWAYS), "why")
    assert rights.namespaces_of(right, KNOWN) == ("own", "system", "ingress")
    assert rights.namespaces_of(Right("nodes", ("list",), (Scope.CLUSTER,), "why"), KNOWN) == ("",)
