"""Changes of an existing mesh are undone, unless somebody else changed the object meanwhile."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from splithorizon.base import timeouts
from splithorizon.base.errors import EnvironmentBroke
from splithorizon.undo import backup, mesh_lease, mutations, remarks, undo_log
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


def delete_secret(run: Run) -> None:
    mutations.delete(run.primary, "Secret", "istio-remote", SYSTEM, run.undo)


def entries(run: Run) -> list[dict[str, Any]]:
    return [json.loads(file.read_text()) for file in sorted((run.folder / "changes").glob("*.json"))]


def undone(run: Run) -> list[str]:
    """Undo all changes of a run; return the reasons of the remarks."""
    run.undo.close()
    assert entries(run) == []
    return [remark.reason for remark in remarks.read(run.folder)]


# Requests and answers that are lost


@pytest.mark.parametrize("how", ["lost", "unanswered", 503, 429, 504])
@pytest.mark.parametrize(("method", "path"), [("GET", "istio-remote"), ("POST", "secrets")])
def test_a_lost_request_of_an_undo_is_repeated(
    mesh: TwoClusters, run: Run, method: str, path: str, how: int | str
) -> None:
    delete_secret(run)
    failure = Failure(1, method, path, how)
    mesh.primary.failures.append(failure)
    assert undone(run) == []
    assert failure.times == 0, "it happened"
    assert mesh.token == "dG9rZW4="
    assert mesh.backups() == []


def test_an_undo_succeeds_after_ten_lost_requests(mesh: TwoClusters, run: Run) -> None:
    delete_secret(run)
    mesh.primary.failures.append(Failure(10))
    assert undone(run) == []
    assert mesh.token == "dG9rZW4="


def test_an_undo_that_fails_stays_in_the_log_and_is_repeated_at_the_end(mesh: TwoClusters, run: Run) -> None:
    delete_secret(run)
    mesh.primary.failures.append(Failure(10_000))
    with timeouts.shortened(0.005), pytest.raises(EnvironmentBroke, match="istio-remote of the primary") as caught:
        run.undo.close()
    assert caught.value.next_command.startswith("pytest --sweep --contexts east,west --kubeconfig-primary=")
    assert undo_log.is_pending(run.folder)
    with timeouts.shortened(0.005):
        (not_restored,) = undo_log.restore(run.folder)
    assert (not_restored.pending, not_restored.command) == (True, caught.value.next_command)

    mesh.primary.failures.clear()
    assert undo_log.restore(run.folder) == []
    assert mesh.token == "dG9rZW4="
    assert not undo_log.is_pending(run.folder)


def test_an_unreachable_cluster_is_waited_for_once(mesh: TwoClusters, run: Run) -> None:
    for number in range(5):
        mesh.primary.put("Secret", f"s{number}", SYSTEM, data={})
        mutations.delete(run.primary, "Secret", f"s{number}", SYSTEM, run.undo)
    mesh.primary.failures.append(Failure(10_000))
    before = len(mesh.primary.asked)
    with timeouts.shortened(0.001):
        assert len(undo_log.restore(run.folder)) == 5
    assert len({path for _, path, *_ in mesh.primary.asked[before:]}) == 1, "one read, which is repeated"


def test_a_forbidden_request_is_not_repeated(mesh: TwoClusters, run: Run) -> None:
    delete_secret(run)
    mesh.primary.failures.append(Failure(1, "POST", "secrets", 403))
    with pytest.raises(EnvironmentBroke, match="is not restored"):
        run.undo.close()
    assert len(mesh.primary.requests("POST", "secrets")) == 2, "the copy in the cluster, and one attempt"


@pytest.mark.parametrize("how", ["lost", "unanswered"])
def test_a_change_without_an_answer_is_undone_if_it_was_made(mesh: TwoClusters, run: Run, how: str) -> None:
    mesh.primary.put("ConfigMap", "istio", SYSTEM, data={"mesh": "a: 1\n"})
    mesh.primary.failures += [Failure(1, "DELETE", "istio-remote", how), Failure(1, "PATCH", "istio", how)]
    with pytest.raises(EnvironmentBroke, match="does not answer"):
        delete_secret(run)
    with pytest.raises(EnvironmentBroke, match="does not answer"):
        mutations.mesh_config(run.primary, "istio", SYSTEM, {"b": 2}, run.undo)
    assert undone(run) == []
    assert mesh.token == "dG9rZW4="
    assert mesh.primary.objects[ISTIO]["data"] == {"mesh": "a: 1\n"}


@pytest.mark.parametrize("how", ["lost", "unanswered"])
def test_an_object_whose_creation_was_not_answered_is_identified_by_the_runs_label(
    mesh: TwoClusters, run: Run, how: str
) -> None:
    made = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "way"}, "spec": {"ports": [{"port": 1}]}}
    mesh.primary.failures.append(Failure(1, "POST", "services", how))
    with pytest.raises(EnvironmentBroke, match="does not answer"):
        mutations.apply(run.primary, [made], SYSTEM, run.undo)
    assert bool(mesh.primary.kept("Service")) == (how == "unanswered")
    assert undone(run) == []
    assert mesh.primary.kept("Service") == []


# Changes by somebody else


def test_a_secret_that_somebody_recreated_stays_and_is_shown_without_its_content(mesh: TwoClusters, run: Run) -> None:
    old = mesh.primary.objects[SECRET]["metadata"]["uid"]
    delete_secret(run)
    new = mesh.secret("bmV3LXRva2Vu")["metadata"]["uid"]
    (reason,) = undone(run)
    assert mesh.token == "bmV3LXRva2Vu"
    assert old in reason
    assert new in reason
    assert reason.count("sha256:") == 2
    assert "bmV3" not in reason
    assert mesh.backups() == []
    (remark,) = remarks.read(run.folder)
    assert (remark.pending, remark.object) == (False, f"Secret {SYSTEM}/istio-remote of the primary")
    assert remark.command.endswith(f"--context east --namespace {SYSTEM} get secret istio-remote -o yaml")


def test_an_identical_recreated_object_counts_as_restored(mesh: TwoClusters, run: Run) -> None:
    delete_secret(run)
    mesh.secret()
    assert undone(run) == []


def test_a_config_map_that_somebody_changed_stays_and_the_difference_is_shown(mesh: TwoClusters, run: Run) -> None:
    mesh.primary.put("ConfigMap", "istio", SYSTEM, data={"mesh": "a: 1\nz: 9\n"})
    mutations.mesh_config(run.primary, "istio", SYSTEM, {"ours": True}, run.undo)
    mesh.primary.objects[ISTIO]["data"]["mesh"] += "theirs: true\n"
    (reason,) = undone(run)
    assert "data.mesh" in reason
    assert "+theirs: true" in reason
    assert "theirs" in mesh.primary.objects[ISTIO]["data"]["mesh"]


def test_a_short_value_that_somebody_changed_is_shown_with_ours(mesh: TwoClusters, run: Run) -> None:
    mutations.patch(run.primary, "Deployment", "istiod", SYSTEM, {"spec": {"replicas": 0}}, run.undo)
    mesh.primary.kept("Deployment")[0]["spec"]["replicas"] = 5
    assert undone(run) == ["somebody changed it meanwhile: spec.replicas is 5, the run left 0"]
    assert mesh.primary.kept("Deployment")[0]["spec"]["replicas"] == 5


def test_fields_that_somebody_added_are_kept_by_the_undo(mesh: TwoClusters, run: Run) -> None:
    config = mesh.primary.put("ConfigMap", "istio", SYSTEM, data={"mesh": "a: 1\n"})
    mutations.mesh_config(run.primary, "istio", SYSTEM, {"ours": True}, run.undo)
    labelled = {"metadata": {"labels": {"ours": "1"}}}
    mutations.patch(run.primary, "ConfigMap", "istio", SYSTEM, labelled, run.undo)
    config["data"]["meshNetworks"] = "theirs"
    config["metadata"]["labels"]["theirs"] = "1"
    config["metadata"]["resourceVersion"] = "900"
    assert undone(run) == []
    assert config["data"] == {"mesh": "a: 1\n", "meshNetworks": "theirs"}
    assert config["metadata"]["labels"] == {"theirs": "1"}


def test_a_change_between_read_and_undo_is_detected(mesh: TwoClusters, run: Run) -> None:
    """By the resourceVersion as precondition: after a conflict the object is read again."""
    mesh.primary.put("ConfigMap", "istio", SYSTEM, data={"mesh": "a: 1\n"})
    mutations.mesh_config(run.primary, "istio", SYSTEM, {"ours": True}, run.undo)
    mesh.primary.failures.append(Failure(1, "PATCH", "configmaps/istio", 409))
    assert undone(run) == []
    sent = [json.loads(body) for method, path, _, _, body in mesh.primary.asked if (method, path) == ("PATCH", ISTIO)]
    assert [bool(body.get("metadata", {}).get("resourceVersion")) for body in sent] == [False, True, True]


def test_a_patched_object_that_somebody_deleted_or_recreated_is_left_alone(mesh: TwoClusters, run: Run) -> None:
    for name in ("gone", "again"):
        mesh.primary.put("ConfigMap", name, SYSTEM, data={"a": "1"})
        mutations.patch(run.primary, "ConfigMap", name, SYSTEM, {"data": {"a": "2"}}, run.undo)
    del mesh.primary.objects[f"/api/v1/namespaces/{SYSTEM}/configmaps/gone"]
    mesh.primary.put("ConfigMap", "again", SYSTEM, data={"a": "2"})
    gone, again = undone(run)
    assert gone == "somebody deleted it"
    assert again.startswith("somebody recreated it: uid ")


def test_a_created_object_that_somebody_replaced_or_changed_is_left_alone(mesh: TwoClusters, run: Run) -> None:
    for name in ("replaced", "changed"):
        made = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": {"a": "b3Vycw=="}}
        mutations.apply(run.primary, [made], SYSTEM, run.undo)
    mesh.primary.put("Secret", "replaced", SYSTEM, data={"a": "dGhlaXJz"})
    mesh.primary.objects[f"{BACKUPS}/changed"]["data"]["a"] = "dGhlaXJz"
    replaced, changed = undone(run)
    assert replaced.startswith("somebody replaced it: uid ")
    assert changed.startswith("somebody changed it meanwhile: data.a is sha256:")
    assert "dGhl" not in changed
    assert {f"{BACKUPS}/replaced", f"{BACKUPS}/changed"} <= mesh.primary.objects.keys()


def test_an_existing_object_is_never_overwritten(mesh: TwoClusters, run: Run) -> None:
    made = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "istio-remote"}, "data": {"remote": "b3Vycw=="}}
    with pytest.raises(EnvironmentBroke, match="already exists, and this run did not create it"):
        mutations.apply(run.primary, [made], SYSTEM, run.undo)
    assert undone(run) == []
    assert mesh.token == "dG9rZW4="
    assert mesh.backups() == []


# Two changes of one object


def test_an_object_that_the_run_created_is_changed_when_it_is_applied_again(mesh: TwoClusters, tmp_path: Path) -> None:
    run = mesh.run(tmp_path, "mine", lease=False)
    metadata = {"name": "admitted-by-principal"}
    policy = {"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy", "metadata": metadata}
    for principals in (["nobody"], ["sleep", "other"]):
        rules = [{"from": [{"source": {"principals": principals}}]}]
        mutations.apply(run.primary, [{**policy, "spec": {"rules": rules}}], mesh.namespace, run.undo)
        (kept,) = mesh.primary.kept("AuthorizationPolicy")
        assert kept["spec"]["rules"] == rules
    run.undo.close()
    assert mesh.primary.kept("AuthorizationPolicy") == []
    assert remarks.read(run.folder) == []
    assert not undo_log.is_pending(run.folder)


def test_an_object_created_in_place_of_a_deleted_one_is_undone_first(mesh: TwoClusters, run: Run) -> None:
    delete_secret(run)
    made = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "istio-remote"},
        "data": {"remote": "c3BvaWxlZA=="},
    }
    mutations.apply(run.primary, [made], SYSTEM, run.undo)
    mesh.primary.failures.append(Failure(1, "DELETE", "istio-remote", 403))
    with pytest.raises(EnvironmentBroke, match="is not restored"):
        run.undo.close()
    assert mesh.token == "c3BvaWxlZA=="
    assert len(entries(run)) == 2, "the older change stays pending too, because the object in its place is the run's"
    assert undo_log.restore(run.folder) == []
    assert mesh.token == "dG9rZW4="


def test_an_object_created_in_place_of_a_deleted_one_is_the_runs(mesh: TwoClusters, run: Run) -> None:
    delete_secret(run)
    (entry,) = undo_log.pending_in(run.folder)
    mesh.secret("b3Vycw==", **{"splithorizon.io/run": "run"})
    with pytest.raises(EnvironmentBroke, match="the object that the run created in its place still exists"):
        undo_log.revert(run.primary, entry.change)
    assert len(mesh.backups()) == 1


def test_two_changes_of_a_field_are_undone_in_order_after_a_failed_undo(mesh: TwoClusters, run: Run) -> None:
    for replicas in (2, 3):
        mutations.patch(run.primary, "Deployment", "istiod", SYSTEM, {"spec": {"replicas": replicas}}, run.undo)
    mesh.primary.failures.append(Failure(1, "PATCH", "deployments/istiod", 403))
    with pytest.raises(EnvironmentBroke, match="a later change of it"):
        run.undo.close()
    assert undo_log.restore(run.folder) == []
    assert mesh.primary.kept("Deployment")[0]["spec"]["replicas"] == 1
    assert remarks.read(run.folder) == []


def test_an_object_that_the_run_created_and_changed_is_deleted_by_the_undo(mesh: TwoClusters, run: Run) -> None:
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


def test_the_copy_in_the_cluster_exists_from_before_the_change_to_its_undo(mesh: TwoClusters, run: Run) -> None:
    delete_secret(run)
    writes = [
        (method, path)
        for method, path, *_ in mesh.primary.asked
        if method in ("POST", "DELETE") and "lease" not in path
    ]
    assert writes == [("POST", BACKUPS), ("DELETE", SECRET)]
    (secret,) = mesh.backups()
    (entry,) = entries(run)
    assert secret["metadata"]["name"] == f"splithorizon-undo-run-{entry['id']}"
    assert secret["metadata"]["labels"].keys() == {
        "app.kubernetes.io/managed-by", "splithorizon.io/run", "splithorizon.io/host"
    }  # fmt: skip
    about = secret["metadata"]["annotations"]["splithorizon.io/about"]
    assert "`pytest --sweep --contexts east,west`" in about
    assert json.loads(backup.entry_of(secret).to_json()) == entry
    assert undone(run) == []
    assert mesh.backups() == []


def test_no_change_is_made_without_a_copy_in_the_cluster(mesh: TwoClusters, run: Run) -> None:
    mesh.primary.failures.append(Failure(1, "POST", "secrets", 403))
    with pytest.raises(EnvironmentBroke, match="403"):
        delete_secret(run)
    assert mesh.primary.requests("DELETE") == []
    assert mesh.token == "dG9rZW4="


def test_the_copy_has_the_state_after_the_change(mesh: TwoClusters, run: Run) -> None:
    mutations.patch(run.primary, "Deployment", "istiod", SYSTEM, {"spec": {"replicas": 0}}, run.undo)
    (secret,) = mesh.backups()
    assert backup.entry_of(secret).settled
    assert backup.entry_of(secret).left == [{"spec": {"replicas": 0}}]


def test_a_cluster_scoped_object_has_its_copy_in_the_system_namespace(mesh: TwoClusters, run: Run) -> None:
    mesh.primary.put("ClusterRole", "reader", rules=[{"verbs": ["get"]}])
    mutations.delete(run.primary, "ClusterRole", "reader", None, run.undo)
    (secret,) = mesh.backups()
    assert secret["metadata"]["namespace"] == SYSTEM
    assert undone(run) == []
    assert mesh.primary.kept("ClusterRole")[0]["rules"] == [{"verbs": ["get"]}]


def test_the_runs_own_namespace_needs_neither_copy_nor_lease(mesh: TwoClusters, tmp_path: Path) -> None:
    base = tmp_path / "runs"
    base.mkdir()
    run = mesh.run(base, "everyday", lease=False)
    made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "ours"}, "data": {}}
    mutations.apply(run.primary, [made], NAMESPACE, run.undo)
    assert mesh.backups() == []
    assert undone(run) == []
    assert mesh.primary.kept("ConfigMap") == []
    with pytest.raises(EnvironmentBroke, match="does not hold the mesh's Lease"):
        delete_secret(run)
    assert mesh.token == "dG9rZW4="


def test_a_mesh_that_the_run_owns_is_restored_without_copy_whatever_somebody_changed(
    mesh: TwoClusters, run: Run
) -> None:
    Scope("run", owned=True).write(run.folder)
    delete_secret(run)
    assert mesh.backups() == []
    mesh.secret("bmV3LXRva2Vu")
    assert undone(run) == []
    assert mesh.token == "dG9rZW4="


# The Lease, and the end of a run


def test_a_run_without_its_lease_changes_nothing_and_still_undoes(mesh: TwoClusters, run: Run) -> None:
    delete_secret(run)
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


def test_a_run_that_is_ending_changes_nothing(mesh: TwoClusters, run: Run) -> None:
    mesh_lease.forbid_changes(run.folder)
    with pytest.raises(EnvironmentBroke, match="the run is ending"):
        delete_secret(run)
    assert mesh.token == "dG9rZW4="


def test_no_change_is_made_while_an_earlier_change_is_pending(mesh: TwoClusters, run: Run) -> None:
    delete_secret(run)
    mesh.primary.failures.append(Failure(2, "POST", "secrets", 403))
    with pytest.raises(EnvironmentBroke):
        run.undo.close()
    with pytest.raises(EnvironmentBroke, match="no further change is made") as caught:
        undo_log.require_restored(run.folder)
    assert "pytest --sweep --contexts east,west" in caught.value.next_command
    undo_log.require_restored(run.folder)
    assert mesh.token == "dG9rZW4="


def test_a_change_that_another_process_undid_is_not_undone_again(mesh: TwoClusters, run: Run) -> None:
    """The xdist controller undoes the changes of a worker that was killed."""
    delete_secret(run)
    assert undo_log.restore(run.folder) == []
    mesh.secret("bmV3ZXI=")
    assert undone(run) == []
    assert mesh.token == "bmV3ZXI="


def test_a_truncated_entry_is_named_and_the_others_are_undone(mesh: TwoClusters, run: Run) -> None:
    delete_secret(run)
    half = run.folder / "changes" / "0-half.json"
    half.write_text('{"id": "0-ha')
    (not_restored,) = undo_log.restore(run.folder)
    assert str(half) in not_restored.object
    assert not_restored.pending
    assert mesh.token == "dG9rZW4="
    assert undo_log.is_pending(run.folder)
