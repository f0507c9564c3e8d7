"""A run on an existing mesh: what it knows of secrets, and what it undoes at its end."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from splithorizon.base import timeouts
from splithorizon.istio.info import MeshInfo
from splithorizon.kube.client import Kube
from splithorizon.run import session as session_module
from splithorizon.run.existing_mesh import Explored
from splithorizon.run.journal import Journal
from splithorizon.run.options import Options
from splithorizon.run.progress import Progress
from splithorizon.run.session import Session
from splithorizon.undo import mutations
from tests.support.existing_mesh import SYSTEM, TwoClusters, two_clusters
from tests.support.mesh_info import mesh_info
from tests.support.small_api import Failure


@pytest.fixture
def mesh(tmp_path: Path) -> Iterator[TwoClusters]:
    with two_clusters(tmp_path) as clusters:
        yield clusters


def visited(mesh: TwoClusters, base: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Session, Kube]:
    """A session on an existing mesh, whose namespaces and workloads are left out."""
    monkeypatch.setenv("XDG_STATE_HOME", str(base))
    kubes: list[Kube] = []

    def settle(_: Explored, __: Options, journal: Journal, undo: ExitStack, ___: Progress, **____: object) -> MeshInfo:
        run = mesh.run(journal.folder, journal.run)
        for file in run.folder.iterdir():
            if file.name != "run.json":
                file.rename(journal.folder / file.name)
        undo.callback(run.lease.release)
        kubes.append(Kube(journal.folder / "primary.kubeconfig", "primary"))
        of_run = mesh_info(journal.folder)
        clusters = {role: replace(one, system_namespace=SYSTEM) for role, one in of_run.clusters.items()}
        return replace(of_run, clusters=clusters, owned=False)

    monkeypatch.setattr(session_module, "explore", lambda *_, **__: Explored(mesh_info(base), {}, {}))
    monkeypatch.setattr(session_module, "prepare", settle)
    options = Options(contexts=("east", "west"), allow_disruption=True, reports=base / "reports")
    session = Session(options, Progress(print))
    session._set_up()
    return session, kubes[0]


def test_the_tokens_by_which_an_existing_mesh_is_watched_are_known_to_the_redactor(
    mesh: TwoClusters, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = [{"name": "remote", "user": {"token": "an-opaque-token-of-the-remote"}}]
    mesh.secret(base64.b64encode(yaml.safe_dump({"users": users}).encode()).decode())
    session, _ = visited(mesh, tmp_path, monkeypatch)
    assert session.redact("asked with an-opaque-token-of-the-remote") == "asked with [redacted]"
    session.close()


def test_a_change_that_a_test_could_not_undo_is_undone_at_the_end_and_only_then_the_journal_goes(
    mesh: TwoClusters, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, kube = visited(mesh, tmp_path, monkeypatch)
    with ExitStack() as undo:
        mutations.delete(kube, "Secret", "istio-remote", SYSTEM, undo)
        undo.pop_all()
    session.close()
    assert mesh.token == "dG9rZW4="
    assert not session.outcome.problems
    assert list(session.outcome.not_restored) == []
    assert not kube.kubeconfig.parent.exists()
    assert mesh.primary.kept("Lease") == []


def test_a_change_that_cannot_be_undone_makes_the_run_inconclusive_and_keeps_its_journal(
    mesh: TwoClusters, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, kube = visited(mesh, tmp_path, monkeypatch)
    with ExitStack() as undo:
        mutations.delete(kube, "Secret", "istio-remote", SYSTEM, undo)
        undo.pop_all()
    mesh.primary.failures.append(Failure(1000, "POST", "secrets"))
    with timeouts.shortened(0.01):
        session.close()
    (left,) = session.outcome.not_restored
    assert (left.object, left.pending) == (f"Secret {SYSTEM}/istio-remote of the primary", True)
    assert "pytest --sweep --contexts east,west" in left.command
    assert session.outcome.problems
    assert left.object in str(session.outcome.problems[0])
    assert (kube.kubeconfig.parent / "run.json").exists()
    assert len(list((kube.kubeconfig.parent / "changes").iterdir())) == 1
    assert len(mesh.backups()) == 1


def test_an_object_that_somebody_changed_is_reported_and_changes_no_verdict(
    mesh: TwoClusters, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, kube = visited(mesh, tmp_path, monkeypatch)
    with ExitStack() as undo:
        mutations.delete(kube, "Secret", "istio-remote", SYSTEM, undo)
        mesh.secret("bmV3")
    session.close()
    (left,) = session.outcome.not_restored
    assert not left.pending
    assert left.reason.startswith("somebody recreated it")
    assert not session.outcome.problems
    assert not kube.kubeconfig.parent.exists()
