"""A failed run gets its root cause, or the reason for none; what goes wrong on the way changes nothing else."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from splithorizon.diagnosis import causes, root_causes
from splithorizon.run import diagnosing
from splithorizon.run.diagnosing import of_run
from splithorizon.run.report import BehaviourResult, Fact
from splithorizon.run.verdict import Verdict
from tests.support.made_reading import FAR_LOST, also, edits, sound
from tests.support.mesh_info import mesh_info

NOW = datetime(2026, 11, 27, 5, 0, tzinfo=UTC)
RED = BehaviourResult(
    area="routing", behaviour="test_both_versions_answer", claim="It holds.", nodeid="x",
    verdict=Verdict.NOT_CONFORMANT,
    seconds=1.0, route="primary→remote", failure="v2 is missing", cause_ids=(causes.REMOTE_SECRET_MISSING.id,),
    likely_cause="it is missing", next_command="kubectl get pods",
)  # fmt: skip
GREEN = replace(RED, verdict=Verdict.CONFORMANT, failure="")
BROKEN = also(edits("remote", "Service", "helloworld", lambda one: one["spec"].update(selector={"app": "x"})), FAR_LOST)


def reading_is(monkeypatch: pytest.MonkeyPatch, made: object) -> dict[str, object]:
    """The one reading of a run; what it was asked with is returned."""
    asked: dict[str, object] = {}

    def read(*_: object, **given: object) -> object:
        asked.update(given)
        if isinstance(made, Exception):
            raise made
        return made

    monkeypatch.setattr("splithorizon.diagnosis.reading.read.read", read)
    return asked


def test_the_root_cause_comes_with_evidence_witness_fix_and_consequences(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = reading_is(monkeypatch, BROKEN(sound()))
    (cause,) = of_run(mesh_info(tmp_path), [RED, GREEN], since=NOW).causes
    assert cause.cause_id == root_causes.SELECTOR_MISSES_PODS.id
    assert Fact("Service remote/sample/helloworld", "spec.selector", "app=x selects 0 of 1 pods") in cause.evidence
    assert "no endpoint" in cause.witness
    assert cause.consequences == ("test_both_versions_answer",)
    assert "app=helloworld" in cause.fix
    assert asked["since"] < NOW  # type: ignore[operator]  # a time


def test_a_cause_is_latent_where_only_latent_behaviours_failed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    nowhere = edits(
        "remote", "MutatingWebhookConfiguration", "istio-sidecar-injector",
        lambda one: one["webhooks"][0]["clientConfig"]["service"].update(name="istiod-1"),
    )  # fmt: skip
    cause = causes.WEBHOOK_LEADS_NOWHERE.id
    red = replace(RED, behaviour="test_new_pods_are_injected", cause_ids=(cause,), latent=True)
    reading_is(monkeypatch, nowhere(sound()))
    (alone,) = of_run(mesh_info(tmp_path), [red, GREEN], since=NOW).causes
    (beside,) = of_run(mesh_info(tmp_path), [red, RED], since=NOW).causes
    (noticed,) = of_run(mesh_info(tmp_path), [replace(red, latent=False)], since=NOW).causes
    assert [one.cause_id for one in (alone, beside, noticed)] == [cause] * 3
    assert (alone.latent, beside.latent, noticed.latent) == (True, True, False)


def test_without_a_known_cause_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    reading_is(monkeypatch, sound())
    found = of_run(mesh_info(tmp_path), [RED], since=NOW)
    assert (found.causes, found.reason) == ((), "no known cause fits")


def test_a_reading_that_fails_says_why_and_raises_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    reading_is(monkeypatch, KeyError("a bug"))
    found = of_run(mesh_info(tmp_path), [RED], since=NOW)
    assert found.causes == ()
    assert found.reason == "the mesh could not be diagnosed: KeyError: 'a bug'"


def test_a_mesh_that_is_out_of_reach_has_no_known_cause(tmp_path: Path) -> None:
    found = of_run(mesh_info(tmp_path), [RED], since=NOW)
    assert found.causes == ()
    assert found.reason.startswith("no known cause fits; not read: ")


def test_a_command_that_mends_names_its_cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    unlabelled = edits("remote", "Namespace", "istio-system", lambda one: one["metadata"].update(labels={}))
    reading_is(monkeypatch, unlabelled(sound()))
    red = replace(RED, cause_ids=(causes.SYSTEM_NAMESPACE_WITHOUT_NETWORK.id,))
    (cause,) = of_run(mesh_info(tmp_path), [red], since=NOW).causes
    assert cause.fix.startswith("kubectl --")
    assert not set("<>") & set(cause.fix)


def test_only_what_failed_asks_for_a_cause() -> None:
    partial = replace(GREEN, verdict=Verdict.PARTIAL)
    unjudged = replace(RED, verdict=Verdict.INCONCLUSIVE)
    assert diagnosing.failed([RED, GREEN, partial, unjudged]) == [RED, unjudged]
