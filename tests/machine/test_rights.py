"""Users with exactly the rights of `splithorizon rbac`, with less and with none."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from splithorizon.run import rights
from tests.machine.conftest import CHECKOUT, Starter
from tests.machine.existing_mesh import ExistingMesh
from tests.machine.limits import HANGS_AFTER

pytestmark = pytest.mark.engine

USER = "someone-of-the-platform-team"


@pytest.fixture
def kubeconfig(existing_mesh: ExistingMesh, tmp_path: Path) -> Path:
    """The mesh's contexts, as a user who has no right but those of the roles below."""
    content = yaml.safe_load(existing_mesh.kubeconfig.read_text())
    for user in content["users"]:
        user["user"]["as"] = USER
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(content))
    return tmp_path / "kubeconfig"


@pytest.fixture
def roles(existing_mesh: ExistingMesh) -> Iterator[list[str]]:
    """What the test grants, which goes at its end."""
    granted: list[str] = []
    yield granted
    for text in granted:
        for context in existing_mesh.contexts:
            existing_mesh.kubectl(context, "delete", "--ignore-not-found", "-f", "-", text=text)


def grant(mesh: ExistingMesh, roles: list[str], text: str) -> None:
    roles.append(text)
    for context in mesh.contexts:
        mesh.kubectl(context, "apply", "-f", "-", text=text)


def printed(mesh: ExistingMesh) -> str:
    command = [sys.executable, "-m", "splithorizon.cli", "rbac", "--user", USER]
    command += ["--system-namespace", mesh.system_namespace]
    return subprocess.run(command, cwd=CHECKOUT, check=True, capture_output=True, text=True, timeout=HANGS_AFTER).stdout


def only_what_prevents(text: str) -> str:
    """The same roles without the rights whose lack only leaves something out; but nodes say which images these hold."""
    needed = {
        (right.group, right.resource, verb)
        for right in rights.needed()
        if right.prevents or right.resource == "nodes"
        for verb in right.verbs
    }
    documents = [one for one in yaml.safe_load_all(text) if one]
    for document in documents:
        kept = []
        for rule in document.get("rules", []):
            (group, resource) = (rule["apiGroups"][0], rule["resources"][0]) if "resources" in rule else ("", "")
            resource = resource or rule["nonResourceURLs"][0]
            if verbs := [verb for verb in rule["verbs"] if (group, resource, verb) in needed]:
                kept.append({**rule, "verbs": verbs})
        if "rules" in document:
            document["rules"] = kept
    return yaml.safe_dump_all(documents)


def test_without_the_roles_one_list_refuses_the_run_before_anything_is_created(
    start: Starter, existing_mesh: ExistingMesh, kubeconfig: Path
) -> None:
    run = start("suites/", "--contexts", existing_mesh.named, f"--kubeconfig={kubeconfig}")
    assert run.ends() == 4, run.output
    assert "create namespaces in all namespaces: the run's own namespace" in run.output
    assert "`splithorizon rbac` prints the roles that would do" in run.output
    assert existing_mesh.ours == []


def test_exactly_the_printed_roles_are_enough_for_the_default_profiles(
    start: Starter, existing_mesh: ExistingMesh, as_installed: dict[str, str], kubeconfig: Path, roles: list[str]
) -> None:
    grant(existing_mesh, roles, printed(existing_mesh))
    granted = existing_mesh.changed_since(as_installed)

    run = start("suites/", "--contexts", existing_mesh.named, f"--kubeconfig={kubeconfig}")

    assert run.ends() == 0, run.output
    assert run.report["verdict"] == "conformant", run.output
    assert {found["profile"] for found in run.report["behaviours"]} == {"core", "extended", "security"}
    assert not [entry for entry in run.report["not_claimed"] if "may not" in entry["reason"]], run.report
    assert existing_mesh.changed_since(as_installed) == granted


def test_with_less_a_run_claims_less_and_says_why(
    start: Starter, existing_mesh: ExistingMesh, kubeconfig: Path, roles: list[str]
) -> None:
    grant(existing_mesh, roles, only_what_prevents(printed(existing_mesh)))
    # The suite runs commands in its own pods and reads their logs: who may do so in all namespaces may so everywhere.
    granted = {"pods/exec", "pods/log"}
    expected = {
        name
        for right in rights.needed()
        if right.limits and right.resource not in granted
        for name in right.limits
    }  # fmt: skip

    run = start("suites/", "--contexts", existing_mesh.named, f"--kubeconfig={kubeconfig}")

    assert run.ends() == 0, run.output
    assert run.report["verdict"] == "conformant", run.output
    left_out = {entry["behaviour"]: entry["reason"] for entry in run.report["not_claimed"]}
    assert {name for name, reason in left_out.items() if "may not" in reason} == expected, json.dumps(
        left_out, indent=2
    )
