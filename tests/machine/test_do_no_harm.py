"""Whatever happens to a run that disrupts an existing mesh: nothing is lost, and the output says what is left to do.

Each run removes the primary's remote secret, which only the run can bring back: istiod's token exists nowhere else.
"""

from __future__ import annotations

import shlex
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.machine.conftest import Run, Starter
from tests.machine.existing_mesh import REMOTE_SECRET, ExistingMesh
from tests.support.forwarder import TOKEN, Forwarder, Request, forwarding, never

pytestmark = pytest.mark.engine

REMOVAL = "suites/resilience/test_a_removed_remote_secret_is_forgotten_and_found_again.py"
SECRET = f"Secret mesh-system/{REMOTE_SECRET} of the primary"
SECRETS = "/api/v1/namespaces/mesh-system/secrets"


def writes_the_secret(request: Request) -> bool:
    """The undo's own request, once the secret is removed: its backup is stored before that."""
    path = request.path.partition("?")[0]
    return (request.method, path) == ("POST", SECRETS) or (
        request.method in {"PATCH", "PUT"} and path == f"{SECRETS}/{REMOTE_SECRET}"
    )


def reads_or_writes_the_secret(request: Request) -> bool:
    """Any request of the undo."""
    return writes_the_secret(request) or request.path.partition("?")[0] == f"{SECRETS}/{REMOTE_SECRET}"


@pytest.fixture
def mesh(existing_mesh: ExistingMesh, as_installed: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> ExistingMesh:
    """As it was installed, and named by the user's own kubeconfig."""
    assert existing_mesh.ours == []
    assert existing_mesh.changed_since(as_installed) == set()
    monkeypatch.setenv("KUBECONFIG", str(existing_mesh.kubeconfig))
    return existing_mesh


@pytest.fixture
def forwarder(mesh: ExistingMesh, tmp_path: Path) -> Iterator[Forwarder]:
    """Between a run that takes ``by_forwarder`` and the primary's API server."""
    with forwarding(mesh.kubeconfig, mesh.primary, tmp_path) as forwarder:
        forwarder.write_kubeconfig(mesh.kubeconfig, mesh.primary, tmp_path / "by-forwarder")
        yield forwarder


@pytest.fixture
def by_forwarder(forwarder: Forwarder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What starts from now on reaches the primary through the forwarder alone."""
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "by-forwarder"))


def disrupting(start: Starter, mesh: ExistingMesh, *options: str) -> Run:
    """A run that has removed the remote secret."""
    run = start(REMOVAL, "--contexts", mesh.named, "--profile", "all", "--allow-disruption", *options)
    run.reaches("every client knows every version")
    mesh.await_remote_secret_removed()
    return run


def killed(start: Starter, mesh: ExistingMesh) -> Run:
    """A run that was killed while the remote secret was away."""
    run = disrupting(start, mesh)
    run.send(signal.SIGKILL)
    assert run.ends() == -signal.SIGKILL
    assert mesh.remote_secret is None
    return run


def require_unharmed(mesh: ExistingMesh, as_installed: dict[str, str]) -> None:
    """Nothing is lost, and nothing of ours is left."""
    assert mesh.ours == []
    mesh.require_working_token()
    assert mesh.changed_since(as_installed) == set()


def require_conformant(run: Run) -> None:
    """What happened to its requests changes nothing in what a run says of the mesh."""
    assert run.report["not_restored"] == []
    assert {result["verdict"] for result in run.report["behaviours"]} == {"conformant"}


def require_discreet(run: Run) -> None:
    """The token of the kubeconfig, which has no known form, stands neither in the output nor in the report."""
    written = [path for path in run.folder.rglob("*") if path.is_file()]
    assert [path for path in written if TOKEN.encode() in path.read_bytes()] == []


@pytest.mark.usefixtures("by_forwarder")
def test_an_undo_whose_request_is_lost_is_sent_again(
    start: Starter, mesh: ExistingMesh, as_installed: dict[str, str], forwarder: Forwarder
) -> None:
    run = disrupting(start, mesh)
    forwarder.lose(writes_the_secret, times=1)

    assert run.ends() == 0, run.output
    assert len(forwarder.lost) == 1
    require_conformant(run)
    require_unharmed(mesh, as_installed)
    require_discreet(run)


def test_a_secret_that_somebody_created_again_is_left_alone(
    start: Starter, mesh: ExistingMesh, as_installed: dict[str, str]
) -> None:
    original = mesh.remote_secret
    assert original
    try:
        run = killed(start, mesh)
        created = mesh.recreate_remote_secret()
        left = mesh.ours

        unrelated = start("--sweep")

        assert unrelated.ends() == 0, unrelated.output
        assert f"run {run.run_id} left in an existing mesh: {SECRET}" in unrelated.output
        assert f"pytest --sweep --contexts {','.join(mesh.contexts)}" in unrelated.output
        assert mesh.ours == left
        assert mesh.remote_secret == created

        mesh.expire_leases()
        sweep = start("--sweep", "--contexts", mesh.named)

        assert sweep.ends() == 0, sweep.output
        (said,) = (line for line in sweep.output.splitlines() if line.startswith(f"left alone: {SECRET}"))
        assert original["metadata"]["uid"] in said
        assert created["metadata"]["uid"] in said
        assert mesh.remote_secret == created
        assert mesh.ours == []
        mesh.require_working_token()
    finally:
        mesh.put_remote_secret(original)
    require_unharmed(mesh, as_installed)


def test_while_a_runs_undo_is_lost_ten_times_every_other_run_is_refused(
    start: Starter,
    mesh: ExistingMesh,
    as_installed: dict[str, str],
    forwarder: Forwarder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("KUBECONFIG", str(tmp_path / "by-forwarder"))
        # Its undo is tried for as long as the others take to be refused on a busy machine.
        holder = disrupting(start, mesh, "--timeout-scale", "5")
    # So it holds the mesh until the others have been refused.
    forwarder.lose(reads_or_writes_the_secret, times=1000)
    contexts = ("--contexts", mesh.named)
    others = [
        start(REMOVAL, *contexts, "--profile", "all", "--allow-disruption"),
        start("suites/placement", *contexts),
        start("--sweep", *contexts),
    ]
    for other in others:
        assert other.ends() == 4, other.output
        assert holder.run_id in other.output
        assert "Nothing was created" in other.output
    assert len(mesh.holders()) == 1
    assert mesh.remote_secret is None

    forwarder.await_lost(10)
    forwarder.lose(never, times=0)

    assert holder.ends() == 0, holder.output
    require_conformant(holder)
    require_unharmed(mesh, as_installed)


def test_a_mesh_is_restored_without_the_disk_of_the_runner(
    start: Starter,
    mesh: ExistingMesh,
    as_installed: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = killed(start, mesh)
    shutil.rmtree(tmp_path / "state")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "another-machine"))

    # Nobody can know that a runner is gone but by its Lease.
    refused = start("--sweep", "--contexts", mesh.named)
    assert refused.ends() == 4, refused.output
    assert run.run_id in refused.output
    mesh.expire_leases()
    sweep = start("--sweep", "--contexts", mesh.named)

    assert sweep.ends() == 0, sweep.output
    assert f"gave back {SECRET}" in sweep.output
    mesh.require_working_token()
    # Whether somebody still looks at them nobody knows; after a day a sweep removes them as well.
    namespace = f"splithorizon-{run.run_id}"
    for context in mesh.contexts:
        assert f"namespace {namespace} in {context} stays" in sweep.output
        mesh.kubectl(context, "delete", "namespace", namespace)
    require_unharmed(mesh, as_installed)


@pytest.mark.usefixtures("by_forwarder")
def test_what_an_api_server_that_is_away_does_not_let_a_run_undo_is_said_first_and_restored_later(
    start: Starter, mesh: ExistingMesh, as_installed: dict[str, str], forwarder: Forwarder
) -> None:
    # The undo is tried for 42 s instead of 60.
    run = disrupting(start, mesh, "--timeout-scale", "0.7")
    forwarder.go_away_at(reads_or_writes_the_secret)

    assert run.ends() == 10, run.output
    assert run.report["verdict"] == "inconclusive"
    (left,) = run.report["not_restored"]
    assert left["object"] == SECRET
    assert left["pending"]
    printed = run.output.partition("junit.xml -")[2].split()
    assert " ".join(printed).startswith(f"NOT RESTORED: {SECRET}")
    assert left["command"] in [line.strip() for line in run.output.splitlines()]
    first = (run.folder / "latest" / "summary.md").read_text().splitlines()[2]
    assert first.startswith(f"**Not restored**: {SECRET}")
    assert mesh.remote_secret is None

    forwarder.come_back()
    mesh.expire_leases()
    _, _, pytest_and_options = left["command"].partition("pytest --sweep")
    sweep = start("--sweep", *shlex.split(pytest_and_options))

    assert sweep.ends() == 0, sweep.output
    assert f"gave back {SECRET}" in sweep.output
    require_unharmed(mesh, as_installed)
    require_discreet(run)
    require_discreet(sweep)
