"""The changes of a mesh that the suite owns are undone also after the run that made them was killed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from lab.sweep import sweep
from splithorizon.base.errors import EnvironmentBroke
from splithorizon.kube.client import Kube
from splithorizon.run.journal import Entry, Journal
from splithorizon.undo import mutations
from tests.support.child_python import line_of, running
from tests.support.small_api import SmallApi, small_api, write_kubeconfig

SECRET = "/api/v1/namespaces/istio-system/secrets/istio-remote-secret-remote"
SERVICE = "/api/v1/namespaces/istio-system/services/gateway"

# Deletes a Secret and patches a status, as a disruptive test does, and is killed then.
CHANGE = """
import signal, sys
from contextlib import ExitStack
from pathlib import Path
from splithorizon.undo import mutations
from splithorizon.run.journal import Journal
from splithorizon.kube.client import Kube
from splithorizon.undo.ownership import Scope
journal = Journal.open("run", Path(sys.argv[1]))
Scope("run", owned=True).write(journal.folder)
for entry in sys.argv[3:]:
    journal.will_create(entry, "lab-primary", cluster="primary")
kubeconfig = journal.folder / "primary.kubeconfig"
kubeconfig.write_text(Path(sys.argv[2]).read_text())
kube, undo = Kube(kubeconfig, "primary"), ExitStack()
mutations.patch_status(kube, "Service", "gateway", "istio-system", {"status": {"ip": "127.0.0.9"}}, undo)
mutations.delete(kube, "Secret", "istio-remote-secret-remote", "istio-system", undo)
print("up", flush=True)
signal.pause()
"""


@pytest.fixture
def api(tmp_path: Path) -> Iterator[SmallApi]:
    with small_api(tmp_path / "kubeconfig") as server:
        write_kubeconfig(tmp_path / "kubeconfig", server.url)
        server.versioned = True
        server.put("Secret", "istio-remote-secret-remote", "istio-system", data={"remote": "dG9rZW4="})
        server.put("Service", "gateway", "istio-system", status={"ip": "192.0.2.1"})
        yield server


def killed(tmp_path: Path, *entries: str) -> Path:
    """The folder of runs, with one run that changed the mesh and was killed."""
    base = tmp_path / "runs"
    base.mkdir()
    with running(CHANGE, str(base), str(tmp_path / "kubeconfig"), *entries) as child:
        assert line_of(child) == "up"
    return base


def swept(base: Path) -> list[str]:
    removed: list[Entry] = []
    return list(sweep(base, removed.append))


def test_an_entry_is_in_a_private_file_until_the_change_is_undone(tmp_path: Path, api: SmallApi) -> None:
    with ExitStack() as undo:
        kube = Kube(tmp_path / "kubeconfig", "primary")
        mutations.delete(kube, "Secret", "istio-remote-secret-remote", "istio-system", undo)
        assert SECRET not in api.objects
        (file,) = (tmp_path / "changes").iterdir()
        assert file.stat().st_mode & 0o777 == 0o600
        assert "dG9rZW4=" in file.read_text()
    assert api.objects[SECRET]["data"] == {"remote": "dG9rZW4="}
    assert list((tmp_path / "changes").iterdir()) == []


def test_an_applied_object_is_deleted_by_the_undo(tmp_path: Path, api: SmallApi) -> None:
    with ExitStack() as undo:
        secret = api.objects.pop(SECRET)
        mutations.apply(Kube(tmp_path / "kubeconfig", "primary"), [secret], "istio-system", undo)
        assert SECRET in api.objects
        assert len(list((tmp_path / "changes").iterdir())) == 1
    assert SECRET not in api.objects


def test_a_sweep_undoes_the_changes_of_a_killed_run_last_change_first(tmp_path: Path, api: SmallApi) -> None:
    base = killed(tmp_path, "network")
    assert SECRET not in api.objects
    assert api.objects[SERVICE]["status"] == {"ip": "127.0.0.9"}
    assert swept(base) == [
        "gave back Secret istio-system/istio-remote-secret-remote of the primary",
        "gave back Service istio-system/gateway of the primary",
        "removed network lab-primary",
        f"removed run folder {base / 'run'}",
    ]
    assert api.objects[SECRET]["data"] == {"remote": "dG9rZW4="}
    assert api.objects[SERVICE]["status"] == {"ip": "192.0.2.1"}


def test_a_change_that_cannot_be_undone_is_reported_and_undone_by_the_next_sweep(tmp_path: Path, api: SmallApi) -> None:
    base = killed(tmp_path)
    api.answers[SECRET] = (403, b'{"message": "not yours"}')
    refused, gave = swept(base)
    assert refused.startswith("not given back: Secret istio-system/istio-remote-secret-remote of the primary")
    assert gave == "gave back Service istio-system/gateway of the primary"
    del api.answers[SECRET]
    assert swept(base)[0] == "gave back Secret istio-system/istio-remote-secret-remote of the primary"
    assert SECRET in api.objects


def test_a_sweep_undoes_the_changes_in_kept_clusters(tmp_path: Path, api: SmallApi) -> None:
    base = killed(tmp_path, "cluster")
    Journal.read(base / "run").keep()
    assert len(swept(base)) == 2
    assert SECRET in api.objects
    assert (base / "run").exists()


def test_changes_in_deleted_clusters_are_not_undone(tmp_path: Path, api: SmallApi) -> None:
    before = len(api.asked)
    base = killed(tmp_path, "cluster")
    changed = len(api.asked) - before
    assert swept(base) == ["removed cluster lab-primary", f"removed run folder {base / 'run'}"]
    assert len(api.asked) == changed


def test_a_missing_object_is_not_recorded(tmp_path: Path, api: SmallApi) -> None:
    del api.objects[SECRET]
    with ExitStack() as undo, pytest.raises(EnvironmentBroke, match="cannot be changed, because it does not exist"):
        mutations.delete(
            Kube(tmp_path / "kubeconfig", "primary"), "Secret", "istio-remote-secret-remote", "istio-system", undo
        )
    assert not (tmp_path / "changes").exists()
