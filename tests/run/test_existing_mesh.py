"""A run on an existing mesh says which servers it talks to, labels what it makes, and locks the mesh if it disrupts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from splithorizon.base import timeouts
from splithorizon.base.errors import EnvironmentBroke, UsageProblem
from splithorizon.istio.names import SYSTEM_NAMESPACE
from splithorizon.run.existing_mesh import Prepared, explore, look, prepare
from splithorizon.run.journal import Journal
from splithorizon.run.options import Options
from splithorizon.run.progress import Progress
from splithorizon.undo import mesh_lease
from splithorizon.undo.not_restored import NotRestored
from splithorizon.undo.ownership import Scope
from tests.support import user_rights
from tests.support.existing_mesh import SYSTEM, TwoClusters, put_remote_secret, two_clusters
from tests.support.external_istiod import CONTEXT, ExternalMesh, external_control_plane
from tests.support.manual_clock import ManualClock
from tests.support.small_api import Failure


@pytest.fixture
def mesh(tmp_path: Path) -> Iterator[TwoClusters]:
    with two_clusters(tmp_path) as clusters:
        discovery = {"name": "discovery", "image": "istio/pilot:1.29.1", "env": []}
        labels = {"app": "istiod", "istio.io/rev": "default"}
        clusters.primary.put(
            "Pod", "istiod-1", SYSTEM, labels=labels, spec={"containers": [discovery]}, status={"phase": "Running"}
        )
        for api in clusters.apis.values():
            api.answers["/version"] = (200, b'{"gitVersion": "v1.34.4"}')
        yield clusters


def options(mesh: TwoClusters, **more: Any) -> Options:
    files = {f"kubeconfig_{role}": mesh.file(role) for role in mesh.apis}
    return Options(contexts=("east", "west"), **files, **more)  # type: ignore[arg-type]


class Visit:
    """A visit whose workloads never get ready: what it says, and what undoes it."""

    def __init__(self, mesh: TwoClusters, folder: Path, **more: Any) -> None:
        self.journal = Journal.open("20261127-031200-AB12", folder)
        self.undo = ExitStack()
        self.lines: list[str] = []
        self.leftovers: list[NotRestored] = []
        self.written_before: dict[str, int] = {}

        def say(line: str) -> None:
            self.lines.append(line)
            self.written_before[line] = sum(method != "GET" for api in mesh.apis.values() for method, *_ in api.asked)

        chosen, progress = options(mesh, **more), Progress(say)
        explored = explore(chosen, self.journal.folder, progress, run_id=self.journal.run)
        with timeouts.shortened(0.001), pytest.raises(EnvironmentBroke) as broken:
            prepare(explored, chosen, self.journal, self.undo, progress, leftover=self.leftovers.append)
        self.broken = str(broken.value)


def test_each_context_is_said_with_its_servers_address_before_the_first_write(
    mesh: TwoClusters, tmp_path: Path
) -> None:
    found = Visit(mesh, tmp_path, allow_disruption=True)
    for role, context in (("primary", "east"), ("remote", "west")):
        (line,) = [line for line in found.lines if f"context {context} leads to {mesh.apis[role].url}" in line]
        assert found.written_before[line] == 0
    assert mesh.primary.requests("POST", "leases"), found.broken


def test_the_printed_roles_are_enough_for_all_that_a_run_makes_and_removes(mesh: TwoClusters, tmp_path: Path) -> None:
    for api in mesh.apis.values():
        api.denies = user_rights.denies(system_namespace=SYSTEM)
    found = Visit(mesh, tmp_path)
    assert "HTTP 403" not in found.broken
    assert mesh.primary.requests("PATCH", "deployments/sleep")
    found.undo.close()
    assert [one["metadata"]["name"] for one in mesh.primary.kept("Namespace")] == ["kube-system", SYSTEM]


def test_a_run_without_a_needed_right_creates_nothing(mesh: TwoClusters, tmp_path: Path) -> None:
    mesh.remote.denies = user_rights.without("namespaces", verbs=("create",))
    journal = Journal.open("refused", tmp_path)
    with pytest.raises(UsageProblem, match=r"west: create namespaces in all namespaces"):
        explore(options(mesh), journal.folder, Progress(print), run_id="refused")
    assert [path for api in mesh.apis.values() for method, path, *_ in api.asked if method != "GET"] == []


def test_the_roles_that_are_printed_for_a_pull_secret_are_needed_and_enough(mesh: TwoClusters, tmp_path: Path) -> None:
    data = {".dockerconfigjson": "e30="}
    for api in mesh.apis.values():
        api.put("Secret", "registry", "images", type="kubernetes.io/dockerconfigjson", data=data)
        api.denies = user_rights.denies(system_namespace=SYSTEM)
    journal = Journal.open("refused", tmp_path)
    with pytest.raises(UsageProblem, match=r"get secrets in images: (?s:.*)rbac --pull-secret images/registry`"):
        explore(options(mesh, pull_secret="images/registry"), journal.folder, Progress(print), run_id="refused")
    assert [path for api in mesh.apis.values() for method, path, *_ in api.asked if method != "GET"] == []
    for api in mesh.apis.values():
        api.denies = user_rights.denies(system_namespace=SYSTEM, pull_secret=("images", "registry"))
    found = Visit(mesh, tmp_path, pull_secret="images/registry")
    assert "HTTP 403" not in found.broken
    assert mesh.primary.requests("PATCH", "secrets/registry")


def test_our_namespaces_say_whose_they_are_and_until_when(mesh: TwoClusters, tmp_path: Path) -> None:
    found = Visit(mesh, tmp_path)
    for api in mesh.apis.values():
        (labels,) = [
            one["metadata"]["labels"] for one in api.kept("Namespace") if "splithorizon" in one["metadata"]["name"]
        ]
        assert labels["app.kubernetes.io/managed-by"] == "splithorizon"
        assert labels["splithorizon.io/run"] == "20261127-031200-AB12"
        assert labels["splithorizon.io/host"]
        assert labels["istio.io/rev"] == "default"
        until = datetime.strptime(labels["splithorizon.io/expires"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        assert timedelta(hours=23) < until - datetime.now(UTC) < timedelta(hours=25)
    scope = Scope.read(found.journal.folder)
    assert scope is not None
    assert scope.restore_command == (
        f"pytest --sweep --contexts east,west --kubeconfig-primary={mesh.file('primary')} "
        f"--kubeconfig-remote={mesh.file('remote')}"
    )
    found.undo.close()
    assert [one["metadata"]["name"] for one in mesh.primary.kept("Namespace")] == ["kube-system", SYSTEM]


def test_a_namespace_that_is_to_be_kept_never_expires(mesh: TwoClusters, tmp_path: Path) -> None:
    Visit(mesh, tmp_path, keep=True)
    (labels,) = [one["metadata"].get("labels", {}) for one in mesh.primary.kept("Namespace")][2:]
    assert "splithorizon.io/run" in labels
    assert "splithorizon.io/expires" not in labels


def test_a_run_that_may_disrupt_holds_the_lease_until_its_namespaces_are_gone(
    mesh: TwoClusters, tmp_path: Path
) -> None:
    found = Visit(mesh, tmp_path, allow_disruption=True)
    for api in mesh.apis.values():
        assert [lease["spec"]["holderIdentity"] for lease in api.kept("Lease")] == [
            mesh_lease.holder_of("20261127-031200-AB12")
        ]
    found.undo.close()
    for api in mesh.apis.values():
        assert api.kept("Lease") == []
        deleted = [path.rpartition("/")[2] for path in api.requests("DELETE")]
        assert deleted == ["splithorizon-20261127-031200-ab12", "splithorizon"]


def test_a_run_that_disrupts_nothing_takes_no_lease_and_is_refused_while_one_is_held(
    mesh: TwoClusters, tmp_path: Path
) -> None:
    (tmp_path / "others").mkdir()
    other = mesh.run(tmp_path / "others", "other")
    before = [len(api.requests("POST")) + len(api.requests("PATCH")) for api in mesh.apis.values()]
    for disrupts in (False, True):
        journal = Journal.open(f"refused-{disrupts}", tmp_path)
        chosen, progress = options(mesh, allow_disruption=disrupts), Progress(print)
        explored = explore(chosen, journal.folder, progress, run_id="refused")
        with ExitStack() as undo, pytest.raises(UsageProblem, match=r"run other on .*Nothing was created\.$"):
            prepare(explored, chosen, journal, undo, progress, leftover=print)
    assert [len(api.requests("POST")) + len(api.requests("PATCH")) for api in mesh.apis.values()] == before
    other.lease.release()
    Visit(mesh, tmp_path)
    assert mesh.primary.kept("Lease") == []


def test_a_user_who_may_not_read_leases_is_told_and_the_run_goes_on(mesh: TwoClusters, tmp_path: Path) -> None:
    mesh.primary.failures.append(Failure(1, "GET", "leases/splithorizon", 403))
    found = Visit(mesh, tmp_path)
    assert any("may not read Leases" in line for line in found.lines)
    assert any("splithorizon" in one["metadata"]["name"] for one in mesh.primary.kept("Namespace"))


def applied(mesh: TwoClusters, kind: str, cluster: str = "primary") -> list[dict[str, Any]]:
    """What the run has put into its own namespace."""
    return [one for one in mesh.apis[cluster].kept(kind) if "splithorizon" in one["metadata"].get("namespace", "")]


def configure(mesh: TwoClusters, **settings: Any) -> None:
    mesh.primary.put("ConfigMap", "istio", SYSTEM, data={"mesh": yaml.safe_dump(settings)})


def test_what_neutralises_the_conditions_of_the_mesh_is_applied_where_istiod_reads_it(
    mesh: TwoClusters, tmp_path: Path
) -> None:
    configure(
        mesh, accessLogFormat="x", discoverySelectors=[{"matchLabels": {"istio-discovery": "enabled"}}],
        outboundTrafficPolicy={"mode": "REGISTRY_ONLY"},
    )  # fmt: skip
    mesh.primary.put("AuthorizationPolicy", "nobody", SYSTEM, spec={})
    found = Visit(mesh, tmp_path)
    assert [one["metadata"]["name"] for one in applied(mesh, "AuthorizationPolicy")] == ["splithorizon-admitted"]
    assert [one["metadata"]["name"] for one in applied(mesh, "EnvoyFilter")] == ["own-access-log"]
    assert [one["spec"] for one in applied(mesh, "Telemetry")] == [
        {"accessLogging": [{"providers": [{"name": "envoy"}], "disabled": True}]}
    ]
    for cluster, api in mesh.apis.items():
        (ours,) = [one for one in api.kept("Namespace") if "splithorizon" in one["metadata"]["name"]]
        assert ours["metadata"]["labels"]["istio-discovery"] == "enabled", cluster
        assert applied(mesh, "Service", cluster)
        for service in applied(mesh, "Service", cluster):
            assert service["metadata"]["annotations"]["networking.istio.io/exportTo"].startswith(".")
    assert applied(mesh, "AuthorizationPolicy", "remote") == [], "no istiod reads it there"
    said = [line for line in found.lines if "AuthorizationPolicy primary/" in line]
    assert len(said) == 1
    assert found.written_before[said[0]] == 0


def test_a_mesh_that_leaves_nothing_to_judge_is_refused_before_anything_is_written(
    mesh: TwoClusters, tmp_path: Path
) -> None:
    configure(mesh, serviceSettings=[{"settings": {"clusterLocal": True}, "hosts": ["*"]}])
    journal = Journal.open("refused", tmp_path)
    explored = explore(options(mesh), journal.folder, Progress(print), run_id="refused")
    with ExitStack() as undo, pytest.raises(UsageProblem, match=r"clusterLocal for \*.*Nothing was created\.$"):
        prepare(explored, options(mesh), journal, undo, Progress(print), leftover=print)
    written = [method for api in mesh.apis.values() for method, path, *_ in api.asked if method != "GET"]
    assert [method for method in written if method != "POST"] == [], "rights are asked for by POST"


def test_a_namespace_has_the_tag_that_the_user_names_and_the_labels_that_are_asked_for(
    mesh: TwoClusters, tmp_path: Path
) -> None:
    mesh.primary.put(
        "MutatingWebhookConfiguration", "istio-revision-tag-prod", webhooks=[],
        labels={"app": "sidecar-injector", "istio.io/tag": "prod", "istio.io/rev": "default"},
    )  # fmt: skip
    Visit(mesh, tmp_path, revision="prod", namespace_label=("team=mesh",))
    (ours,) = [one for one in mesh.remote.kept("Namespace") if "splithorizon" in one["metadata"]["name"]]
    assert ours["metadata"]["labels"]["istio.io/rev"] == "prod"
    assert ours["metadata"]["labels"]["team"] == "mesh"


def test_a_namespace_whose_deletion_does_not_end_is_left_and_reported_and_breaks_nothing(
    mesh: TwoClusters, tmp_path: Path
) -> None:
    found = Visit(mesh, tmp_path)
    name = "splithorizon-20261127-031200-ab12"
    stays = {"type": "NamespaceDeletionDiscoveryFailure", "status": "True", "message": "metrics API is down"}
    kept: dict[str, Any] = {"metadata": {"name": name, "deletionTimestamp": "2026-11-27T00:00:00Z"}}
    kept["status"] = {"phase": "Terminating", "conditions": [stays]}
    mesh.remote.answers[f"/api/v1/namespaces/{name}"] = (200, json.dumps(kept).encode())
    with timeouts.shortened(0.001):
        found.undo.close()
    (left,) = found.leftovers
    assert left.object == f"Namespace {name} in the remote"
    assert "metrics API is down" in left.reason
    assert not [one for one in mesh.primary.kept("Namespace") if one["metadata"]["name"] == name]


@pytest.mark.parametrize(("grace", "waited"), [(None, 60), (30, 60), (120, 150)])
def test_pods_are_waited_for_as_long_as_they_may_take(
    mesh: TwoClusters, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, grace: int | None, waited: float
) -> None:
    found = Visit(mesh, tmp_path)
    name = "splithorizon-20261127-031200-ab12"
    spec: dict[str, Any] = {"containers": [], "terminationGracePeriodSeconds": grace}
    mesh.remote.put("Pod", "drains", name, spec=spec)
    ending = {"metadata": {"name": name, "deletionTimestamp": "2026-11-27T00:00:00Z"}}
    mesh.remote.answers[f"/api/v1/namespaces/{name}"] = (200, json.dumps(ending).encode())
    clock = ManualClock.installed(monkeypatch)
    found.undo.close()
    assert waited - 1 < clock.time <= waited
    assert len(found.leftovers) == 1


def test_a_namespace_that_is_not_deleted_at_all_breaks_the_run(mesh: TwoClusters, tmp_path: Path) -> None:
    found = Visit(mesh, tmp_path)
    name = "splithorizon-20261127-031200-ab12"
    mesh.remote.answers[f"/api/v1/namespaces/{name}"] = (200, json.dumps({"metadata": {"name": name}}).encode())
    with timeouts.shortened(0.001), pytest.raises(EnvironmentBroke, match="is gone from the remote"):
        found.undo.close()
    assert found.leftovers == []


def seen(found: ExternalMesh, folder: Path, context: str) -> tuple[Prepared, list[str]]:
    """What a run on a mesh with an external control plane knows before its first write, and what it has said."""
    lines: list[str] = []
    files: dict[str, Any] = {f"kubeconfig_{role}": found.mesh.file(role) for role in found.mesh.apis}
    chosen = Options(contexts=("east", "west"), istiod_context=context, kubeconfig=found.file, **files)
    journal, progress = Journal.open("external", folder), Progress(lines.append)
    prepared = look(explore(chosen, journal.folder, progress, run_id=journal.run), chosen, progress, run_id="external")
    return prepared, lines


def test_an_external_control_plane_is_described_and_asked_for_few_rights_and_never_written(tmp_path: Path) -> None:
    with external_control_plane(tmp_path) as found:
        prepared, lines = seen(found, tmp_path, CONTEXT)
        assert any(line.endswith(f"leads to {found.outside.url}, which runs istiod alone") for line in lines)
        (line,) = [line for line in lines if "primary: istiod 1.29.1, revision default" in line]
        assert line.endswith("which runs in the cluster of context north and reads its rules here")
        assert any("2 clusters on 2 networks" in line for line in lines)
        assert any(line.endswith("remote secrets for remote") for line in lines)
        asked = {(one["verb"], one["resource"], one.get("subresource", "")) for one in found.outside.reviewed}
        assert asked == {("list", "secrets", ""), ("get", "pods", "exec")}
        assert {method for method, *_ in found.outside.asked} == {"GET"}
        assert "test_every_cluster_is_watched" not in prepared.info.not_claimed
        assert "nothing is changed" in prepared.info.not_claimed["test_a_restarted_istiod_loses_nothing"]


def test_without_the_context_of_an_external_control_plane_the_rest_is_claimed(tmp_path: Path) -> None:
    with external_control_plane(tmp_path) as found:
        found.mesh.primary.put("ConfigMap", "istio", SYSTEM_NAMESPACE, data={"mesh": "trustDomain: theirs"})
        prepared, lines = seen(found, tmp_path, "")
        assert found.outside.asked == []
        (line,) = [line for line in lines if "`- primary" in line]
        assert "istiod of a version that is not known, revision default, which runs in a cluster that is not" in line
        assert "--istiod-context" in prepared.info.not_claimed["test_every_proxy_is_synced"]
        assert "test_both_versions_answer" not in prepared.info.not_claimed
        assert any("trustDomain theirs in primary" in line for line in lines), "its configuration is read there"


def test_a_user_who_may_not_ask_an_external_istiod_is_limited_and_no_more(tmp_path: Path) -> None:
    with external_control_plane(tmp_path) as found:
        found.outside.denies = user_rights.without("pods/exec")
        prepared, _ = seen(found, tmp_path, CONTEXT)
        assert "context north may not get pods/exec" in prepared.info.not_claimed["test_every_cluster_is_watched"]
        assert "test_remote_credentials_last" not in prepared.info.not_claimed


def test_the_picture_of_a_mesh_has_its_remote_secrets_and_clusters_that_are_not_named(
    mesh: TwoClusters, tmp_path: Path
) -> None:
    for name in ("west", "north"):
        put_remote_secret(mesh.primary, SYSTEM, name, authority=f"CA of {name}")
    mesh.remote.put("ConfigMap", "kube-root-ca.crt", "kube-system", data={"ca.crt": "CA of west"})
    lines = Visit(mesh, tmp_path).lines
    assert any(line.endswith("|    remote secrets for west") for line in lines)
    (also,) = [line for line in lines if "not named" in line]
    end = "also watches north, remote, which are not named: nothing is claimed of them"
    assert also.endswith(f"the istiod of primary {end}"), "one of the fixture leads nowhere"
