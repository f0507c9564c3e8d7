"""What a run says of the clusters it leaves; the engine is a program that answers from files."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from lab.ca import Trust
from lab.engine import Engine
from lab.gateway_address import Addressing
from lab.images import ImageSet
from lab.provision import ProvisioningContext
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
