from __future__ import annotations

from pathlib import Path

import pytest

from lab import topology
from lab.ca import Trust
from lab.phased_change import ChangedMesh
from proof.changes import MadeMesh, OneFault, every_fault
from proof.changes.__main__ import main, row
from splithorizon.istio.topology import PRIMARY_REMOTE
from splithorizon.kube.client import Kube
from splithorizon.run.progress import Progress
from splithorizon.run.watch_results import watch_report
from splithorizon.watch.budget import Budget
from splithorizon.watch.phases import Phase, PhaseLog
from tests.lab.test_upgrade import installation
from tests.run.test_watch_results import BEGAN, requests_of, watched
from tests.support.mesh_info import mesh_info
from tests.support.small_api import SmallApi, small_api

FAULT = {fault.name: fault for fault in every_fault()}


def seen(*outages: tuple[float, float]) -> dict[str, object]:
    """A row of a watch: twenty seconds before the fault, twenty with it, twenty in which it is mended."""
    fault = FAULT["gateway-replaced-without-drain"]
    names = ("before the change", fault.name, "mended")
    phases = [Phase(name, BEGAN + 20 * n, BEGAN + 20 * n + 20, core="conformant") for n, name in enumerate(names)]
    one = watched(requests_of(60, *outages, phases=PhaseLog(phases)))
    one.phases = tuple(phases)
    return row(fault, watch_report(one, Budget()))


def test_a_loss_in_the_phase_of_the_fault_proves_it_whatever_its_mending_costs() -> None:
    found = seen((30, 31), (50, 51))
    assert (found["proven"], found["lost"]) == (True, {"primary→remote": "20 of 400"})


def test_without_a_loss_or_with_one_in_another_phase_nothing_is_proven() -> None:
    assert seen()["proven"] is False
    assert seen((10, 11), (30, 31))["proven"] is False


def test_each_fault_is_one_phase_and_its_mending_another(tmp_path: Path) -> None:
    for fault in every_fault():
        steps = OneFault(made(tmp_path, {}).mesh, made(tmp_path, {}), fault).steps()
        assert [step.name for step in steps] == [fault.name, "mended"]


def test_an_unknown_name_creates_nothing(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["--only", "no-such-fault", "--output", str(tmp_path / "x.json")]) == 4
    assert "no such fault. Nothing was created." in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def made(folder: Path, kubes: dict[str, Kube]) -> MadeMesh:
    shape = topology.plan("lab", PRIMARY_REMOTE)
    mesh = ChangedMesh(shape, kubes, mesh_info(folder), Progress(print), folder)
    return MadeMesh(mesh, installation("1.29.1", folder), Trust.make())


def rules(server: SmallApi) -> list[str]:
    return sorted(path.rpartition("/")[2] for path in server.objects if "virtualservices" in path)


def test_one_request_in_a_hundred_is_lost_until_the_rules_are_removed(tmp_path: Path) -> None:
    fault = FAULT["one-request-in-a-hundred-lost"]
    with small_api(tmp_path / "kubeconfig") as server:
        mesh = made(tmp_path, {"primary": Kube(tmp_path / "kubeconfig", "primary")})
        fault.make(mesh)
        assert rules(server) == ["one-request-in-a-hundred-lost-v1", "one-request-in-a-hundred-lost-v2"]
        fault.mend(mesh)
        assert rules(server) == []
