"""The roles that are printed are those of the table, as docs/rbac.yaml and the CronJob have them."""

from __future__ import annotations

import pytest
import yaml

from splithorizon import cli
from splithorizon.run import rbac, rights
from splithorizon.run.rbac import Subject
from splithorizon.run.rights import Part, Scope
from tests.support.repository import REPOSITORY
from tests.support.user_rights import allows


@pytest.mark.parametrize("disruption", [False, True])
def test_the_roles_grant_every_right_of_the_table_where_it_is_needed(disruption: bool) -> None:
    allowed = allows(rbac.printed(system_namespace="mesh", disruption=disruption))
    for right in rights.needed(allow_disruption=disruption):
        for scope in right.scopes:
            resource, _, subresource = right.resource.partition("/")
            # A disruption's rights in other namespaces of gateways take a binding there.
            namespace = {Scope.CLUSTER: "", Scope.OWN: "any", Scope.SYSTEM: "mesh", Scope.GATEWAYS: "any"}[scope]
            namespace = "mesh" if right.part is Part.DISRUPTION and scope is not Scope.OWN else namespace
            for verb in right.verbs:
                asked = {"verb": verb, "group": right.group, "resource": resource, "namespace": namespace}
                asked |= {"subresource": subresource} if subresource else {}
                asked = {"verb": verb, "path": right.resource} if right.is_path else asked
                assert allowed(asked), right


def test_secrets_are_read_in_istiods_namespace_alone_and_nothing_of_theirs_is_changed() -> None:
    allowed = allows(rbac.printed(system_namespace="mesh", disruption=False))
    secrets = {"verb": "list", "group": "", "resource": "secrets"}
    assert allowed({**secrets, "namespace": "mesh"})
    assert not allowed({**secrets, "namespace": "payments"})
    assert not allowed({**secrets, "namespace": ""})
    for verb in ("create", "patch", "delete", "get"):
        assert not allowed({**secrets, "verb": verb, "namespace": "mesh"})


def test_a_pull_secret_is_read_alone_and_copied() -> None:
    allowed = allows(rbac.printed(system_namespace="mesh", disruption=False, pull_secret=("images", "registry")))
    secret = {"verb": "get", "group": "", "resource": "secrets", "namespace": "images"}
    assert allowed({**secret, "name": "registry"})
    assert not allowed({**secret, "name": "another"})
    assert not allowed({**secret, "name": "registry", "namespace": "payments"})
    assert allowed({**secret, "verb": "create", "namespace": "any"})
    assert not allowed({**secret, "verb": "delete", "namespace": "any"})


@pytest.mark.parametrize("named", ["registry", "a/b/c", "/b"])
def test_a_pull_secret_is_named_with_its_namespace(named: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["rbac", "--pull-secret", named]) == 4
    assert "its namespace and name are needed" in capsys.readouterr().err
    assert cli.main(["rbac", "--pull-secret", "images/registry"]) == 0
    assert "`splithorizon rbac --pull-secret images/registry` prints this file" in capsys.readouterr().out


def test_what_disrupts_is_a_role_of_its_own() -> None:
    quiet, disruptive = rbac.roles(disruption=False), rbac.roles(disruption=True)
    assert [*disruptive] == [*quiet, "splithorizon-disruption"]
    assert {name: disruptive[name] for name in quiet} == quiet


@pytest.mark.parametrize("disruption", [False, True])
def test_in_a_namespace_that_is_there_a_role_grants_what_is_needed_in_it(disruption: bool) -> None:
    allowed = allows(rbac.printed(system_namespace="mesh", disruption=disruption, namespace="payments"))
    for right in rights.needed(allow_disruption=disruption, existing_namespace=True):
        for scope in right.scopes:
            resource, _, subresource = right.resource.partition("/")
            # Of gateways in another namespace it takes a binding there.
            namespace = {Scope.CLUSTER: "", Scope.OWN: "payments"}.get(scope, "mesh")
            for verb in right.verbs:
                asked = {"verb": verb, "group": right.group, "resource": resource, "namespace": namespace}
                asked |= {"subresource": subresource} if subresource else {}
                asked = {"verb": verb, "path": right.resource} if right.is_path else asked
                assert allowed(asked), right


def test_outside_of_a_namespace_that_is_there_a_run_only_reads(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["rbac", "--namespace", "payments"]) == 0
    text = capsys.readouterr().out
    assert "`splithorizon rbac --namespace payments` prints this file" in text
    found = rbac.roles(disruption=False, namespace="payments")
    assert [*found] == ["splithorizon", "splithorizon-istiod", "splithorizon-namespace"]
    verbs = {verb for rule in found["splithorizon"] for verb in rule["verbs"]}
    assert verbs <= {"get", "list"}
    assert {verb for rule in found["splithorizon-istiod"] for verb in rule["verbs"]} <= {"get", "list", "create"}
    created = [rule["resources"] for rule in found["splithorizon-istiod"] if "create" in rule["verbs"]]
    assert sorted(created) == [["pods/exec"], ["pods/portforward"]]
    kinds = {one["metadata"]["name"]: one["kind"] for one in yaml.safe_load_all(text) if one["kind"].endswith("Role")}
    assert kinds["splithorizon-namespace"] == "Role"
    assert "secrets" not in str(found["splithorizon-namespace"])


def test_a_pull_secret_of_that_namespace_is_read_and_not_copied() -> None:
    allowed = allows(rbac.printed(disruption=False, pull_secret=("payments", "registry"), namespace="payments"))
    secret = {"group": "", "resource": "secrets", "namespace": "payments", "name": "registry"}
    assert allowed({**secret, "verb": "get"})
    assert not allowed({**secret, "verb": "create"})


def test_no_verb_is_granted_twice_to_one_subject() -> None:
    granted = rbac.roles(disruption=True)
    everywhere = {str({**rule, "verbs": verb}) for rule in granted.pop("splithorizon") for verb in rule["verbs"]}
    for rules in granted.values():
        assert not everywhere & {str({**rule, "verbs": verb}) for rule in rules for verb in rule["verbs"]}


def test_the_document_is_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["rbac", "--allow-disruption"]) == 0
    text = capsys.readouterr().out
    assert (REPOSITORY / "docs" / "rbac.yaml").read_text() == text, (
        "splithorizon rbac --allow-disruption >docs/rbac.yaml"
    )
    assert all(one["apiVersion"] == "rbac.authorization.k8s.io/v1" for one in yaml.safe_load_all(text))


def test_the_cronjobs_account_has_the_roles_of_a_run_without_disruptions(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["rbac"]) == 0
    roles = REPOSITORY / "manifests" / "cronjob" / "account" / "rbac.yaml"
    assert roles.read_text() == capsys.readouterr().out, f"splithorizon rbac >{roles.relative_to(REPOSITORY)}"


@pytest.mark.parametrize(
    ("words", "subject"),
    [
        ((), Subject("ServiceAccount", "splithorizon", "splithorizon")),
        (("--user", "jane"), Subject("User", "jane")),
        (("--group", "platform"), Subject("Group", "platform")),
        (("--service-account", "ci/runner"), Subject("ServiceAccount", "runner", "ci")),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_the_roles_are_bound_to_whom_the_command_names(
    words: tuple[str, ...], subject: Subject, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["rbac", "--system-namespace", "mesh", *words]) == 0
    bindings = [one for one in yaml.safe_load_all(capsys.readouterr().out) if one["kind"].endswith("Binding")]
    assert [one["subjects"] for one in bindings] == [[subject.reference]] * 2
    assert [one["metadata"].get("namespace") for one in bindings] == [None, "mesh"]


def test_a_service_account_has_a_namespace(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["rbac", "--service-account", "runner"]) == 4
    assert "NAMESPACE/NAME" in capsys.readouterr().err
