"""What a run says of the clusters it leaves; the engine is a program that answers from files."""

from __future__ import annotations

import base64
import json
import shlex
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from lab import session as session_module
from lab.ca import Trust
from lab.engine import Engine
from lab.gateway_address import Addressing
from lab.images import ImageSet
from lab.provision import ProvisioningContext
from lab.session import Session, sweep_all
from splithorizon.base import timeouts
from splithorizon.istio.info import MeshInfo
from splithorizon.kube.client import Kube
from splithorizon.run.journal import Journal
from splithorizon.run.options import Options
from splithorizon.run.progress import Progress
from splithorizon.undo import mutations
from tests.support.existing_mesh import SYSTEM, TwoClusters, two_clusters
from tests.support.mesh_info import mesh_info
from tests.support.small_api import Failure

# Containers lie in a folder by their label's value, networks by their name; one in use cannot go.
ENGINE = """#!/bin/sh
cd "$(dirname "$0")"
[ ! -e broken ] || { echo no answer >&2; exit 125; }
case "$1 $2" in
  "ps --all") cat "containers/${4##*=}" 2>/dev/null; exit 0;;
  "ps --quiet") cat "containers/${5##*=}" 2>/dev/null; exit 0;;
  "network inspect") [ -e "networks/$3" ];;
  "network ls") name=${5#name=^}; [ ! -e "networks/${name%$}/ours" ] || echo "${name%$}";;
  "volume ls") cat "volumes/${4#*=}" 2>/dev/null; exit 0;;
  "volume rm") rm volumes/*; exit 0;;
  "network rm") rm -r "networks/$3";;
  "images --filter") for name in nodes/*; do printf 'splithorizon.local/node:%s\\t1.07 GB\\n' "${name#*/}"; done;;
  "rmi splithorizon.local/node:"*) [ ! -e "nodes/${2#*:}/used" ] && rm -r "nodes/${2#*:}";;
  *) exit 64;;
esac
"""


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    folder = tmp_path / "engine"
    (folder / "containers").mkdir(parents=True)
    (folder / "networks").mkdir()
    (folder / "volumes").mkdir()
    program = folder / "podman"
    program.write_text(ENGINE)
    program.chmod(0o755)
    environment = {"KIND_EXPERIMENTAL_PROVIDER": "podman", "CONTAINERS_CONF": "/a folder/conf"}
    return Engine("podman", program, environment, lacks_resource_capability=False)


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


def has_cluster(engine: Engine, name: str) -> None:
    (engine.command.parent / "containers" / name).write_text(f"{name}-control-plane\n")


def told(ground: ProvisioningContext, found: MeshInfo | None) -> list[str]:
    """What a run that kept its clusters says at its end."""
    lines: list[str] = []
    session = Session(Options(cluster_name="lab", keep=True), Progress(lines.append))
    session.facts = found
    session._tell_kept(ground)
    return [line.split("s    ", 1)[1] for line in lines]


@pytest.fixture
def mesh(tmp_path: Path) -> Iterator[TwoClusters]:
    with two_clusters(tmp_path) as clusters:
        yield clusters


def visited(mesh: TwoClusters, base: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Session, Kube]:
    """A session on an existing mesh, whose namespaces and workloads are left out."""
    monkeypatch.setenv("XDG_STATE_HOME", str(base))
    kubes: list[Kube] = []

    def settle(_: Options, journal: Journal, undo: ExitStack, __: Progress, *, run_id: str) -> MeshInfo:
        run = mesh.run(journal.folder, run_id)
        for file in run.folder.iterdir():
            if file.name != "run.json":
                file.rename(journal.folder / file.name)
        undo.callback(run.lease.release)
        kubes.append(Kube(journal.folder / "primary.kubeconfig", "primary"))
        of_run = mesh_info(journal.folder)
        clusters = {role: replace(one, system_namespace=SYSTEM) for role, one in of_run.clusters.items()}
        return replace(of_run, clusters=clusters, owned=False)

    monkeypatch.setattr(session_module, "prepare", settle)
    options = Options(contexts=("east", "west"), allow_disruption=True, reports=base / "reports")
    session = Session(options, Progress(print))
    session._visit()
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


def test_a_sweep_forgets_a_kept_run_only_when_the_engine_has_none_of_its_clusters(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    journal = Journal.open("run-1")
    journal.keep()
    journal.will_create("cluster", "lab-primary", engine=engine.to_json(), folder=str(journal.folder))
    record = journal.folder / "run.json"
    # As after the end of the machine: this process would count as one that still makes them.
    record.write_text(json.dumps({**json.loads(record.read_text()), "boot": 1.0, "started": 2.0}))

    monkeypatch.setenv("PATH", f"{engine.command.parent}:/bin")

    def swept() -> list[str]:
        return [line for line in sweep_all(Options(), Progress(print)) if "run folder" in line]

    has_cluster(engine, "lab-primary")
    assert swept() == []
    (engine.command.parent / "broken").touch()
    (line,) = swept()
    assert line.startswith(f"run folder {journal.folder} stays: ")
    (engine.command.parent / "broken").unlink()
    (engine.command.parent / "containers" / "lab-primary").unlink()
    assert swept() == [f"removed run folder {journal.folder}: the clusters that it kept are gone"]
    assert not journal.folder.exists()


def test_a_sweep_tells_of_node_images_and_with_rebuild_removes_what_no_container_uses(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("XDG_STATE_HOME", tmp_path), ("XDG_CACHE_HOME", tmp_path), ("PATH", engine.command.parent)):
        monkeypatch.setenv(name, f"{value}:/bin" if name == "PATH" else str(value))
    nodes = engine.command.parent / "nodes"
    (nodes / "new" / "used").mkdir(parents=True)
    (nodes / "old").mkdir()

    def swept(*, rebuild: bool) -> list[str]:
        found = sweep_all(Options(rebuild=rebuild), Progress(print))
        return [line for line in found if "splithorizon.local/node" in line]

    new, old = (f"splithorizon.local/node:{name}" for name in ("new", "old"))
    assert swept(rebuild=False) == [f"in podman: {new} (1.07 GB)", f"in podman: {old} (1.07 GB)"]
    assert swept(rebuild=True) == [
        f"{new} stays in podman: a container uses it",
        f"removed {old} from podman (1.07 GB)",
    ]
    (engine.command.parent / "broken").touch()
    assert swept(rebuild=True) == []


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
