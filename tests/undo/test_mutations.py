"""What a run changes in an existing mesh is undone where it is still the run's, and left alone where it is not."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from splithorizon.base import timeouts
from splithorizon.base.errors import EnvironmentBroke
from splithorizon.undo import mesh_lease, mutations, undo_log
from splithorizon.undo.ownership import Scope
from tests.support.existing_mesh import NAMESPACE, SYSTEM, Run, TwoClusters, two_clusters
from tests.support.small_api import Failure

SECRET = f"/api/v1/namespaces/{SYSTEM}/secrets/istio-remote"
ISTIO = f"/api/v1/namespaces/{SYSTEM}/configmaps/istio"
BACKUPS = f"/api/v1/namespaces/{SYSTEM}/secrets"


@pytest.fixture
def mesh(tmp_path: Path) -> Iterator[TwoClusters]:
    with two_clusters(tmp_path) as clusters:
        yield clusters


@pytest.fixture
def run(mesh: TwoClusters, tmp_path: Path) -> Run:
    base = tmp_path / "runs"
    base.mkdir()
    return mesh.run(base, "run")


def take_secret_away(run: Run) -> None:
    mutations.delete(run.primary, "Secret", "istio-remote", SYSTEM, run.undo)


def entries(run: Run) -> list[dict[str, Any]]:
    return [json.loads(file.read_text()) for file in sorted((run.folder / "changes").glob("*.json"))]


def undone(run: Run) -> list[str]:
    """What is remarked once all of a run's changes are undone."""
    run.undo.close()
    assert entries(run) == []
    return [one.reason for one in undo_log.remarks(run.folder)]


# What is lost on the way


@pytest.mark.parametrize("how", ["lost", "unanswered", 503, 429, 504])
@pytest.mark.parametrize(("method", "path"), [("GET", "istio-remote"), ("POST", "secrets")])
def test_a_lost_request_of_an_undo_is_sent_again(
    mesh: TwoClusters, run: Run, method: str, path: str, how: int | str
) -> None:
    take_secret_away(run)
    failure = Failure(1, method, path, how)
    mesh.primary.failures.append(failure)
    assert undone(run) == []
    assert failure.times == 0, "it was met"
    assert mesh.token == "dG9rZW4="
    assert mesh.backups() == []


def test_an_undo_goes_through_after_ten_lost_requests(mesh: TwoClusters, run: Run) -> None:
    take_secret_away(run)
    mesh.primary.failures.append(Failure(10))
    assert undone(run) == []
    assert mesh.token == "dG9rZW4="


def test_an_undo_that_never_goes_through_stays_written_down_and_is_done_at_the_end(mesh: TwoClusters, run: Run) -> None:
    take_secret_away(run)
    mesh.primary.failures.append(Failure(10_000))
    with timeouts.shortened(0.005), pytest.raises(EnvironmentBroke, match="istio-remote of the primary") as broken:
        run.undo.close()
    assert broken.value.next_command.startswith("pytest --sweep --contexts east,west --kubeconfig-primary=")
    assert undo_log.is_pending(run.folder)
    with timeouts.shortened(0.005):
        (left,) = undo_log.restore(run.folder)
    assert (left.pending, left.command) == (True, broken.value.next_command)

    mesh.primary.failures.clear()
    assert undo_log.restore(run.folder) == []
    assert mesh.token == "dG9rZW4="
    assert not undo_log.is_pending(run.folder)


def test_a_cluster_that_is_silent_is_waited_for_once(mesh: TwoClusters, run: Run) -> None:
    for number in range(5):
        mesh.primary.put("Secret", f"s{number}", SYSTEM, data={})
        mutations.delete(run.primary, "Secret", f"s{number}", SYSTEM, run.undo)
    mesh.primary.failures.append(Failure(10_000))
    asked = len(mesh.primary.asked)
    with timeouts.shortened(0.001):
        assert len(undo_log.restore(run.folder)) == 5
    assert len(mesh.primary.asked) - asked == 1


def test_what_is_refused_for_good_is_not_tried_again(mesh: TwoClusters, run: Run) -> None:
    take_secret_away(run)
    mesh.primary.failures.append(Failure(1, "POST", "secrets", 403))
    with pytest.raises(EnvironmentBroke, match="not as before"):
        run.undo.close()
    assert len(mesh.primary.requests("POST", "secrets")) == 2, "the copy in the cluster, and one try"


@pytest.mark.parametrize("how", ["lost", "unanswered"])
def test_a_change_of_which_no_answer_came_is_undone_by_what_is_seen(mesh: TwoClusters, run: Run, how: str) -> None:
    mesh.primary.put("ConfigMap", "istio", SYSTEM, data={"mesh": "a: 1\n"})
    mesh.primary.failures += [Failure(1, "DELETE", "istio-remote", how), Failure(1, "PATCH", "istio", how)]
    with pytest.raises(EnvironmentBroke, match="does not answer"):
        take_secret_away(run)
    with pytest.raises(EnvironmentBroke, match="does not answer"):
        mutations.mesh_config(run.primary, "istio", SYSTEM, {"b": 2}, run.undo)
    assert undone(run) == []
    assert mesh.token == "dG9rZW4="
    assert mesh.primary.objects[ISTIO]["data"] == {"mesh": "a: 1\n"}


@pytest.mark.parametrize("how", ["lost", "unanswered"])
def test_an_object_whose_making_got_no_answer_is_known_by_the_runs_label(mesh: TwoClusters, run: Run, how: str) -> None:
    # The first is the copy in the cluster.
    made = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "way"}, "spec": {"ports": [{"port": 1}]}}
    mesh.primary.failures.append(Failure(1, "POST", "services", how))
    with pytest.raises(EnvironmentBroke, match="does not answer"):
        mutations.apply(run.primary, [made], SYSTEM, run.undo)
    assert bool(mesh.primary.kept("Service")) == (how == "unanswered")
    assert undone(run) == []
    assert mesh.primary.kept("Service") == []


# What somebody else did meanwhile


def test_a_secret_that_somebody_made_again_stays_and_both_are_named_without_their_content(
    mesh: TwoClusters, run: Run
) -> None:
    old = mesh.primary.objects[SECRET]["metadata"]["uid"]
    take_secret_away(run)
    new = mesh.secret("bmV3LXRva2Vu")["metadata"]["uid"]
    (reason,) = undone(run)
    assert mesh.token == "bmV3LXRva2Vu"
    assert old in reason
    assert new in reason
    assert reason.count("sha256:") == 2
    assert "bmV3" not in reason
    assert mesh.backups() == []
    (said,) = undo_log.remarks(run.folder)
    assert (said.pending, said.object) == (False, f"Secret {SYSTEM}/istio-remote of the primary")
    assert said.command.endswith(f"--context east --namespace {SYSTEM} get secret istio-remote -o yaml")


def test_the_very_same_object_made_again_counts_as_restored(mesh: TwoClusters, run: Run) -> None:
    take_secret_away(run)
    mesh.secret()
    assert undone(run) == []


def test_a_config_map_that_somebody_changed_stays_and_both_texts_are_named(mesh: TwoClusters, run: Run) -> None:
    mesh.primary.put("ConfigMap", "istio", SYSTEM, data={"mesh": "a: 1\nz: 9\n"})
    mutations.mesh_config(run.primary, "istio", SYSTEM, {"ours": True}, run.undo)
    mesh.primary.objects[ISTIO]["data"]["mesh"] += "theirs: true\n"
    (reason,) = undone(run)
    assert "data.mesh" in reason
    assert "+theirs: true" in reason
    assert "theirs" in mesh.primary.objects[ISTIO]["data"]["mesh"]


def test_a_short_value_that_somebody_changed_is_named_with_ours(mesh: TwoClusters, run: Run) -> None:
    mutations.patch(run.primary, "Deployment", "istiod", SYSTEM, {"spec": {"replicas": 0}}, run.undo)
    mesh.primary.kept("Deployment")[0]["spec"]["replicas"] = 5
    assert undone(run) == ["somebody changed it meanwhile: spec.replicas is 5, the run left 0"]
    assert mesh.primary.kept("Deployment")[0]["spec"]["replicas"] == 5


def test_what_somebody_changed_beside_our_fields_stays_with_our_undo(mesh: TwoClusters, run: Run) -> None:
    found = mesh.primary.put("ConfigMap", "istio", SYSTEM, data={"mesh": "a: 1\n"})
    mutations.mesh_config(run.primary, "istio", SYSTEM, {"ours": True}, run.undo)
    labelled = {"metadata": {"labels": {"ours": "1"}}}
    mutations.patch(run.primary, "ConfigMap", "istio", SYSTEM, labelled, run.undo)
    found["data"]["meshNetworks"] = "theirs"
    found["metadata"]["labels"]["theirs"] = "1"
    found["metadata"]["resourceVersion"] = "900"
    assert undone(run) == []
    assert found["data"] == {"mesh": "a: 1\n", "meshNetworks": "theirs"}
    assert found["metadata"]["labels"] == {"theirs": "1"}


def test_a_change_between_the_look_and_the_undo_is_seen(mesh: TwoClusters, run: Run) -> None:
    """The precondition: a write of somebody else's in that moment is refused, and decided on again."""
    mesh.primary.put("ConfigMap", "istio", SYSTEM, data={"mesh": "a: 1\n"})
    mutations.mesh_config(run.primary, "istio", SYSTEM, {"ours": True}, run.undo)
    mesh.primary.failures.append(Failure(1, "PATCH", "configmaps/istio", 409))
    assert undone(run) == []
    sent = [json.loads(body) for method, path, _, _, body in mesh.primary.asked if (method, path) == ("PATCH", ISTIO)]
    assert [bool(body.get("metadata", {}).get("resourceVersion")) for body in sent] == [False, True, True]


def test_a_patched_object_that_somebody_deleted_or_made_again_is_left_alone(mesh: TwoClusters, run: Run) -> None:
    for name in ("gone", "again"):
        mesh.primary.put("ConfigMap", name, SYSTEM, data={"a": "1"})
        mutations.patch(run.primary, "ConfigMap", name, SYSTEM, {"data": {"a": "2"}}, run.undo)
    del mesh.primary.objects[f"/api/v1/namespaces/{SYSTEM}/configmaps/gone"]
    mesh.primary.put("ConfigMap", "again", SYSTEM, data={"a": "2"})
    gone, again = undone(run)
    assert gone == "somebody deleted it"
    assert again.startswith("somebody made it again: uid ")


def test_an_object_of_ours_that_somebody_replaced_or_changed_is_left_alone(mesh: TwoClusters, run: Run) -> None:
    for name in ("replaced", "changed"):
        made = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": {"a": "b3Vycw=="}}
        mutations.apply(run.primary, [made], SYSTEM, run.undo)
    mesh.primary.put("Secret", "replaced", SYSTEM, data={"a": "dGhlaXJz"})
    mesh.primary.objects[f"{BACKUPS}/changed"]["data"]["a"] = "dGhlaXJz"
    replaced, changed = undone(run)
    assert replaced.startswith("it is no longer the one that the run made: uid ")
    assert changed.startswith("somebody changed it meanwhile: data.a is sha256:")
    assert "dGhl" not in changed
    assert {f"{BACKUPS}/replaced", f"{BACKUPS}/changed"} <= mesh.primary.objects.keys()


def test_an_object_that_is_there_already_is_never_overwritten(mesh: TwoClusters, run: Run) -> None:
    made = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "istio-remote"}, "data": {"remote": "b3Vycw=="}}
    with pytest.raises(EnvironmentBroke, match="is there already"):
        mutations.apply(run.primary, [made], SYSTEM, run.undo)
    assert undone(run) == []
    assert mesh.token == "dG9rZW4="
    assert mesh.backups() == []


# What one run changes twice


def test_what_is_made_in_the_place_of_what_was_deleted_goes_first(mesh: TwoClusters, run: Run) -> None:
    take_secret_away(run)
    made = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "istio-remote"},
        "data": {"remote": "c3BvaWxlZA=="},
    }
    mutations.apply(run.primary, [made], SYSTEM, run.undo)
    mesh.primary.failures.append(Failure(1, "DELETE", "istio-remote", 403))
    with pytest.raises(EnvironmentBroke, match="not as before"):
        run.undo.close()
    assert mesh.token == "c3BvaWxlZA=="
    assert len(entries(run)) == 2, "ours in its place is nobody else's: the older change stays pending too"
    assert undo_log.restore(run.folder) == []
    assert mesh.token == "dG9rZW4="


def test_what_this_run_made_in_the_place_of_what_was_deleted_is_nobody_elses(mesh: TwoClusters, run: Run) -> None:
    take_secret_away(run)
    (entry,) = undo_log.pending_in(run.folder)
    mesh.secret("b3Vycw==", **{"splithorizon.io/run": "run"})
    with pytest.raises(EnvironmentBroke, match="what the run made in its place is still there"):
        undo_log.take_back(run.primary, entry.change)
    assert len(mesh.backups()) == 1


def test_two_changes_of_a_field_are_undone_in_turn_though_the_first_undo_fails_once(
    mesh: TwoClusters, run: Run
) -> None:
    for replicas in (2, 3):
        mutations.patch(run.primary, "Deployment", "istiod", SYSTEM, {"spec": {"replicas": replicas}}, run.undo)
    mesh.primary.failures.append(Failure(1, "PATCH", "deployments/istiod", 403))
    with pytest.raises(EnvironmentBroke, match="a later change of it"):
        run.undo.close()
    assert undo_log.restore(run.folder) == []
    assert mesh.primary.kept("Deployment")[0]["spec"]["replicas"] == 1
    assert undo_log.remarks(run.folder) == []


def test_what_the_run_changes_in_its_own_object_is_still_the_runs(mesh: TwoClusters, run: Run) -> None:
    made = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "ours"}, "data": {"a": "MQ=="}}
    mutations.apply(run.primary, [made], SYSTEM, run.undo)
    mutations.change_created(run.primary, "Secret", "ours", SYSTEM, {"data": {"a": "Mg=="}})
    assert mesh.primary.objects[f"{BACKUPS}/ours"]["data"] == {"a": "Mg=="}
    assert undone(run) == []
    assert f"{BACKUPS}/ours" not in mesh.primary.objects


def test_a_restart_is_never_undone(mesh: TwoClusters, run: Run) -> None:
    body = {"spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "now"}}}}}
    mutations.restart(run.primary, "Deployment", "istiod", SYSTEM, body)
    assert undone(run) == []
    assert mesh.primary.kept("Deployment")[0]["spec"]["template"] == body["spec"]["template"]


# The copy in the cluster


def test_the_copy_in_the_cluster_is_there_before_the_change_and_gone_after_its_undo(
    mesh: TwoClusters, run: Run
) -> None:
    take_secret_away(run)
    written = [
        (method, path)
        for method, path, *_ in mesh.primary.asked
        if method in ("POST", "DELETE") and "lease" not in path
    ]
    assert written == [("POST", BACKUPS), ("DELETE", SECRET)]
    (secret,) = mesh.backups()
    (entry,) = entries(run)
    assert secret["metadata"]["name"] == f"splithorizon-undo-run-{entry['id']}"
    assert secret["metadata"]["labels"].keys() == {
        "app.kubernetes.io/managed-by", "splithorizon.io/run", "splithorizon.io/host"
    }  # fmt: skip
    about = secret["metadata"]["annotations"]["splithorizon.io/about"]
    assert "`pytest --sweep --contexts east,west`" in about
    assert json.loads(undo_log.entry_of(secret).to_json()) == entry
    assert undone(run) == []
    assert mesh.backups() == []


def test_without_a_copy_in_the_cluster_nothing_is_changed(mesh: TwoClusters, run: Run) -> None:
    mesh.primary.failures.append(Failure(1, "POST", "secrets", 403))
    with pytest.raises(EnvironmentBroke, match="403"):
        take_secret_away(run)
    assert mesh.primary.requests("DELETE") == []
    assert mesh.token == "dG9rZW4="


def test_the_copy_is_told_what_the_run_left(mesh: TwoClusters, run: Run) -> None:
    mutations.patch(run.primary, "Deployment", "istiod", SYSTEM, {"spec": {"replicas": 0}}, run.undo)
    (secret,) = mesh.backups()
    assert undo_log.entry_of(secret).settled
    assert undo_log.entry_of(secret).left == [{"spec": {"replicas": 0}}]


def test_an_object_outside_of_all_namespaces_has_its_copy_in_the_system_namespace(mesh: TwoClusters, run: Run) -> None:
    mesh.primary.put("ClusterRole", "reader", rules=[{"verbs": ["get"]}])
    mutations.delete(run.primary, "ClusterRole", "reader", None, run.undo)
    (secret,) = mesh.backups()
    assert secret["metadata"]["namespace"] == SYSTEM
    assert undone(run) == []
    assert mesh.primary.kept("ClusterRole")[0]["rules"] == [{"verbs": ["get"]}]


def test_in_our_own_namespace_there_is_no_copy_and_no_lease_is_needed(mesh: TwoClusters, tmp_path: Path) -> None:
    base = tmp_path / "runs"
    base.mkdir()
    run = mesh.run(base, "everyday", lease=False)
    made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "ours"}, "data": {}}
    mutations.apply(run.primary, [made], NAMESPACE, run.undo)
    assert mesh.backups() == []
    assert undone(run) == []
    assert mesh.primary.kept("ConfigMap") == []
    with pytest.raises(EnvironmentBroke, match="does not hold the mesh's Lease"):
        take_secret_away(run)
    assert mesh.token == "dG9rZW4="


def test_in_a_mesh_that_the_run_owns_its_undo_prevails_and_there_is_no_copy(mesh: TwoClusters, run: Run) -> None:
    Scope("run", owned=True).write(run.folder)
    take_secret_away(run)
    assert mesh.backups() == []
    mesh.secret("bmV3LXRva2Vu")
    assert undone(run) == []
    assert mesh.token == "dG9rZW4="


# The Lease, and the end of a run


def test_without_its_lease_a_run_begins_no_change_and_still_undoes(mesh: TwoClusters, run: Run) -> None:
    take_secret_away(run)
    state = json.loads((run.folder / "lease.json").read_text())
    (run.folder / "lease.json").write_text(json.dumps({**state, "until": mesh_lease.uptime() - 1}))
    changes: tuple[Callable[[], object], ...] = (
        lambda: mutations.patch(run.primary, "Deployment", "istiod", SYSTEM, {"spec": {"replicas": 0}}, run.undo),
        lambda: mutations.delete_pod(run.primary, "istiod-1", SYSTEM, gone_within=1),
        lambda: mutations.restart(run.primary, "Deployment", "istiod", SYSTEM, {}),
    )
    for change in changes:
        with pytest.raises(EnvironmentBroke, match="has expired"):
            change()
    assert undone(run) == []
    assert mesh.token == "dG9rZW4="


def test_a_run_that_is_ending_begins_no_change(mesh: TwoClusters, run: Run) -> None:
    mesh_lease.forbid_changes(run.folder)
    with pytest.raises(EnvironmentBroke, match="the run is ending"):
        take_secret_away(run)
    assert mesh.token == "dG9rZW4="


def test_nothing_more_is_changed_while_an_earlier_change_is_pending(mesh: TwoClusters, run: Run) -> None:
    take_secret_away(run)
    mesh.primary.failures.append(Failure(2, "POST", "secrets", 403))
    with pytest.raises(EnvironmentBroke):
        run.undo.close()
    with pytest.raises(EnvironmentBroke, match="nothing more is changed") as broken:
        undo_log.require_restored(run.folder)
    assert "pytest --sweep --contexts east,west" in broken.value.next_command
    undo_log.require_restored(run.folder)
    assert mesh.token == "dG9rZW4="


def test_another_process_that_undid_a_change_leaves_nothing_to_do(mesh: TwoClusters, run: Run) -> None:
    """As the controller does for a worker that was ended."""
    take_secret_away(run)
    assert undo_log.restore(run.folder) == []
    mesh.secret("bmV3ZXI=")
    assert undone(run) == []
    assert mesh.token == "bmV3ZXI="


def test_half_an_entry_is_named_and_stops_no_other(mesh: TwoClusters, run: Run) -> None:
    take_secret_away(run)
    half = run.folder / "changes" / "0-half.json"
    half.write_text('{"id": "0-ha')
    (left,) = undo_log.restore(run.folder)
    assert str(half) in left.object
    assert left.pending
    assert mesh.token == "dG9rZW4="
    assert undo_log.is_pending(run.folder)
