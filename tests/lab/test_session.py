"""What a run says of the clusters it leaves; the engine is a program that answers from files."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from lab.ca import Trust
from lab.engine import Engine
from lab.gateway_address import Addressing
from lab.images import ImageSet
from lab.provision import Provisioning, ProvisioningContext
from lab.session import LabSession
from splithorizon.istio.info import MeshInfo
from splithorizon.run.journal import Journal
from splithorizon.run.options import Options
from splithorizon.run.progress import Progress
from tests.support.fake_engine import fake_engine, has_cluster
from tests.support.mesh_info import mesh_info


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    return fake_engine(tmp_path / "engine")


@pytest.fixture
def ground(engine: Engine, tmp_path: Path) -> ProvisioningContext:
    images = ImageSet(
        mode="built", node="node", own_node=True, istio_hub="hub", istio_version="1.29.1", samples={}, to_load=(),
        upstream_envoy=True, kind=Path("/cache/kind"), kubectl=Path("/cache/kubectl"),
        istioctl=Path("/cache/istioctl"), versions={},
    )  # fmt: skip
    return ProvisioningContext(
        options=Options(),
        engine=engine,
        images=images,
        trust=Trust.make(),
        addressing=Addressing.NODE,
        journal=Journal.open("run-1", tmp_path),
        progress=Progress(print),
    )


def told(ground: ProvisioningContext, found: MeshInfo | None) -> list[str]:
    """What a run that kept its clusters says at its end."""
    lines: list[str] = []
    session = LabSession(Options(cluster_name="lab", keep=True), Progress(lines.append))
    session.info = found
    session._tell_kept(ground)
    return [line.split("s    ", 1)[1] for line in lines]


def test_both_clusters_of_a_good_set_up_are_told(ground: ProvisioningContext, engine: Engine, tmp_path: Path) -> None:
    for role in ("primary", "remote"):
        has_cluster(engine, f"lab-{role}")
        (ground.journal.folder / f"{role}.kubeconfig").touch()
    *kept, how = told(ground, mesh_info(tmp_path))
    assert kept == [
        f"[{role}] kept: export KUBECONFIG={ground.journal.folder}/{role}.kubeconfig" for role in ("primary", "remote")
    ]
    said, _, command = how.partition("remove them with: ")
    assert said == "attach again with --reuse; "
    assert shlex.split(command) == [
        "env", "KIND_EXPERIMENTAL_PROVIDER=podman", "CONTAINERS_CONF=/a folder/conf",
        "/cache/kind", "delete", "clusters", "lab-primary", "lab-remote",
    ]  # fmt: skip


@dataclass
class Failing:
    """A run with --keep-on-failure that has made both clusters, up to its end."""

    session: LabSession
    journal: Journal
    engine: Engine
    lines: list[str]
    deleted: Path

    def close(self) -> list[str]:
        """End it; return what it says after the steps."""
        self.session.close()
        return [line for line in self.lines if "kept" in line or "remove them" in line]


@pytest.fixture
def failing(ground: ProvisioningContext, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Failing:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    deleted = tmp_path / "deleted"
    kind = tmp_path / "kind"
    kind.write_text(f'#!/bin/sh\necho "$@" >>{deleted}\n')
    kind.chmod(0o755)
    options = Options(cluster_name="lab", keep_on_failure=True, reports=tmp_path / "reports")
    lines: list[str] = []
    session = LabSession(options, Progress(lines.append))
    journal = session._open_journal()
    session._ground = replace(ground, options=options, journal=journal, images=replace(ground.images, kind=kind))
    (engine.command.parent / "networks" / "kind" / "ours").mkdir(parents=True)
    journal.will_create("network", engine.network, engine=engine.to_json())
    session._undo.callback(session._remove_network, journal, engine)
    session._undo.callback(Provisioning(session._ground, session._undo, [])._delete)
    session._undo.callback(session._restore_outlived, journal)
    for role in ("primary", "remote"):
        journal.will_create("cluster", f"lab-{role}", engine=engine.to_json(), folder=str(journal.folder))
        has_cluster(engine, f"lab-{role}")
    return Failing(session, journal, engine, lines, deleted)


def test_a_run_that_did_not_fail_removes_its_clusters_all_the_same(failing: Failing) -> None:
    assert not failing.session.outlived
    assert failing.close() == []
    deleted = sorted(line.split()[-1] for line in failing.deleted.read_text().splitlines())
    assert deleted == ["lab-primary", "lab-remote"]
    assert not failing.journal.folder.exists()
    assert list((failing.engine.command.parent / "networks").iterdir()) == []


def test_a_run_that_failed_keeps_its_clusters_and_says_how_they_go(failing: Failing) -> None:
    failing.session.keep_failed()
    assert failing.session.outlived, "what tests changed is put back"
    assert Journal.read(failing.journal.folder).keeps, "before anything is removed"
    *kept, how = failing.close()
    assert [line.split("] ")[-1] for line in kept] == ["kept: a cluster without kubeconfig"] * 2
    assert how.endswith("delete clusters lab-primary lab-remote")
    assert not failing.deleted.exists()
    assert (failing.engine.command.parent / "networks" / "kind").exists()
    assert failing.journal.folder.exists()
    assert not failing.session.outcome.problems


def test_a_run_without_the_option_keeps_nothing_however_it_fails(failing: Failing) -> None:
    failing.session.options = replace(failing.session.options, keep_on_failure=False)
    failing.session.keep_failed()
    assert not failing.journal.keeps


def test_clusters_that_a_run_attached_to_are_not_its_own_to_keep(failing: Failing) -> None:
    failing.session.options = replace(failing.session.options, reuse=True)
    failing.session.keep_failed()
    assert not failing.journal.keeps


def test_a_set_up_that_failed_half_way_tells_of_the_half_that_is_there(
    ground: ProvisioningContext, engine: Engine
) -> None:
    has_cluster(engine, "lab-remote")
    kept, how = told(ground, None)
    assert kept == "[remote] kept: a cluster without kubeconfig"
    assert how.endswith("/cache/kind delete clusters lab-remote")
    assert "--reuse" not in how, "there is nothing to attach to"


def test_a_set_up_that_failed_before_any_cluster_says_so(ground: ProvisioningContext) -> None:
    assert told(ground, None) == ["nothing was kept: no cluster had been made yet"]


def test_a_containers_volumes_go_even_where_the_container_was_never_made(engine: Engine) -> None:
    volumes = engine.command.parent / "volumes"
    (volumes / "lab-primary-control-plane").write_text("0123abcd\n")
    engine.remove_container("lab-remote-control-plane")
    assert engine.volumes(label="lab-primary-control-plane") == ["0123abcd"]
    engine.remove_container("lab-primary-control-plane")
    assert engine.volumes(label="lab-primary-control-plane") == []


def test_a_network_in_use_or_of_others_stays_and_ours_goes(engine: Engine) -> None:
    networks = engine.command.parent / "networks"
    for name in ("used", "free", "theirs"):
        (networks / name).mkdir()
        (networks / name / "ours").touch()
    (networks / "theirs" / "ours").unlink()
    has_cluster(engine, "used")
    for name in ("used", "free", "theirs", "missing"):
        engine.remove_network(name)
    assert sorted(path.name for path in networks.iterdir()) == ["theirs", "used"]
