"""A mesh that a plain script installed, which knows nothing of this suite: judged, and left as it was."""

from __future__ import annotations

import pytest

from tests.machine.conftest import Starter, require_conformant
from tests.machine.existing_mesh import ExistingMesh

pytestmark = pytest.mark.engine

HOPS = "suites/routing/test_each_hop_of_a_far_answer_is_logged.py"


def test_a_mesh_that_a_script_installed_is_judged_and_left_as_it_was(
    start: Starter, existing_mesh: ExistingMesh, as_installed: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = existing_mesh.kubeconfig.read_bytes()
    monkeypatch.setenv("KUBECONFIG", str(existing_mesh.kubeconfig))

    run = start("suites/", HOPS, "--contexts", existing_mesh.named, "--profile", "core,disruptive")

    assert run.ends() == 0, run.output
    assert run.report["verdict"] == "conformant", run.output
    assert run.report["totals"]["unjoined"] == 0
    assert run.report["totals"]["requests"] >= 2000
    assert {found["profile"] for found in run.report["behaviours"]} == {"core"}
    reasons = {entry["reason"] for entry in run.report["not_claimed"]}
    assert any("--allow-disruption" in reason for reason in reasons), reasons
    # Theirs logs no access: in our own namespace we have that changed, at their gateways we do not.
    assert any("istio-eastwestgateway" in reason and "holds none of the answers" in reason for reason in reasons), (
        reasons
    )
    assert existing_mesh.kubeconfig.read_bytes() == text
    assert existing_mesh.changed_since(as_installed) == set()


def test_contexts_of_no_mesh_are_noticed_before_anything_is_created(
    start: Starter, existing_mesh: ExistingMesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(existing_mesh.kubeconfig))
    primary, _ = existing_mesh.contexts
    for wrong in ((primary, primary), (primary, "kind-nobodys")):
        run = start("suites/", "--contexts", ",".join(wrong))
        assert run.ends() == 4, run.output
        assert "Nothing was created." in run.output


def test_two_primaries_are_judged_and_left_as_they_were(
    start: Starter, two_primaries: ExistingMesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = two_primaries.snapshot()
    monkeypatch.setenv("KUBECONFIG", str(two_primaries.kubeconfig))

    run = start("suites/", "--contexts", two_primaries.named)

    assert run.ends() == 0, run.output
    require_conformant(run.report, run.output)
    assert [(one["name"], one["network"], one["runs_istiod"]) for one in run.report["clusters"]] == [
        ("east", "eastern", True),
        ("west", "western", True),
    ]
    assert "2 clusters on 2 networks" in run.output
    assert "east: istiod 1." in run.output
    (reason,) = [
        one["reason"]
        for one in run.report["not_claimed"]
        if one["behaviour"] == "test_remote_finds_istiod_behind_the_gateway"
    ]
    assert "each cluster runs istiod" in reason
    assert two_primaries.changed_since(before) == set()


def test_of_two_primaries_the_one_that_lost_its_remote_secret_is_named(
    start: Starter, two_primaries: ExistingMesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(two_primaries.kubeconfig))
    _, east = two_primaries.contexts
    namespace = two_primaries.system_namespace
    two_primaries.kubectl(east, "delete", "secret", "istio-remote-secret-west", "-n", namespace)

    run = start("suites/discovery", "suites/routing", "--contexts", two_primaries.named, "--profile", "core")

    assert run.ends() == 1, run.output
    diagnosis = run.report["diagnosis"]
    assert diagnosis["cause_id"] == "remote-secret-missing", run.output
    assert run.report["other_causes"] == []
    assert f"Secret east/{namespace}/istio-remote-secret-west" in {fact["object"] for fact in diagnosis["evidence"]}
    assert any(fact["object"] == "istiod of east" for fact in diagnosis["evidence"])
    failed = {
        (result["behaviour"], result["route"])
        for result in run.report["behaviours"]
        if result["verdict"] == "not conformant"
    }
    assert ("test_both_versions_answer", "east→west") in failed
    assert ("test_both_versions_answer", "west→east") not in failed
