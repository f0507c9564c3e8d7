"""A mesh that a plain script installed, which knows nothing of this suite: judged, and left as it was."""

from __future__ import annotations

import pytest

from tests.machine.conftest import Starter
from tests.machine.existing_mesh import ExistingMesh

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

HOPS = "suites/routing/test_each_hop_of_a_far_answer_is_logged.py"


def test_a_mesh_that_a_script_installed_is_judged_and_left_as_it_was(
    start: Starter, existing_mesh: ExistingMesh, as_installed: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = existing_mesh.kubeconfig.read_bytes()
    monkeypatch.setenv("KUBECONFIG", str(existing_mesh.kubeconfig))

    run = start("suites/", HOPS, "--contexts", existing_mesh.named, "--profile", "core,disruptive")

    assert run.ends(within=300) == 0, run.output
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


def test_swapped_contexts_are_noticed_before_anything_is_created(
    start: Starter, existing_mesh: ExistingMesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(existing_mesh.kubeconfig))
    primary, remote = existing_mesh.contexts
    for wrong in ((remote, primary), (primary, primary), (primary, "kind-nobodys")):
        run = start("suites/", "--contexts", ",".join(wrong))
        assert run.ends(within=60) == 4, run.output
        assert "Nothing was created." in run.output
