from __future__ import annotations

from pathlib import Path

import pytest

from lab import topology
from lab.ca import Trust
from lab.gateway_address import Addressing
from lab.images import ImageSet
from lab.install import Installation
from lab.phased_change import ChangedMesh
from lab.upgrade import Style, Upgrade, allowed_skew, revision_of
from splithorizon.base.errors import UsageProblem
from splithorizon.istio.info import NetworkMode
from splithorizon.istio.topology import PRIMARY_REMOTE
from splithorizon.run.progress import Progress
from tests.support.mesh_info import mesh_info


@pytest.mark.parametrize(
    ("before", "after", "style"),
    [
        ("1.28.3", "1.29.1", Style.IN_PLACE),
        ("1.29.0", "1.29.1", Style.IN_PLACE),
        ("1.29.1", "1.29.1", Style.IN_PLACE),
        ("1.27.9", "1.29.1", Style.REVISION),
    ],
)
def test_documented_pairs_are_taken(before: str, after: str, style: Style) -> None:
    assert allowed_skew(before, after, style, allow=False) == ()


@pytest.mark.parametrize(
    ("before", "after", "style", "why"),
    [
        ("1.27.9", "1.29.1", Style.IN_PLACE, "at most 1 minor"),
        ("1.26.1", "1.29.1", Style.REVISION, "at most 2 minor"),
        ("1.29.1", "1.28.3", Style.IN_PLACE, "none back"),
        ("1.29.1", "1.31-alpha.eed52ebb66ad", Style.REVISION, "1.31-alpha.eed52ebb66ad is no release"),
        ("1.31-alpha.eed52ebb66ad", "1.31.0", Style.IN_PLACE, "1.31-alpha.eed52ebb66ad is no release"),
        ("1.29.1", "v0.0.0-20260827124520-eed52ebb66ad", Style.REVISION, "no release"),
    ],
)
def test_other_pairs_are_refused_with_the_option_that_takes_them(
    before: str, after: str, style: Style, why: str
) -> None:
    with pytest.raises(UsageProblem, match=f"{why}.*--allow-skew.*Nothing was created"):
        allowed_skew(before, after, style, allow=False)
    (condition,) = allowed_skew(before, after, style, allow=True)
    assert why in condition.value
    assert "--allow-skew" in condition.consequence


def test_a_revision_is_part_of_a_name() -> None:
    assert revision_of("1.29.1") == "1-29-1"
    assert revision_of("1.30-alpha.0_X") == "1-30-alpha-0-x"


def installation(version: str, folder: Path, revision: str = "") -> Installation:
    images = ImageSet(
        mode="built", node="node", own_node=True, istio_hub="hub", istio_version=version, samples={}, to_load=(),
        upstream_envoy=True, kind=folder / "kind", kubectl=folder / "kubectl",
        istioctl=folder / "istioctl", versions={},
    )  # fmt: skip
    return Installation(
        topology.plan("lab", PRIMARY_REMOTE), {}, {}, images, Trust.make(), addressing=Addressing.NODE,
        network_mode=NetworkMode.LABELS, access_log_encoding="text", progress=Progress(print), folder=folder,
        secrets=[], revision=revision,
    )  # fmt: skip


def upgrade(folder: Path, style: Style, *, back: bool = False) -> Upgrade:
    shape = topology.plan("lab", PRIMARY_REMOTE)
    mesh = ChangedMesh(shape, {}, mesh_info(folder), Progress(print), folder)
    after = installation("1.29.1", folder, "1-29-1" if style is Style.REVISION else "")
    return Upgrade(mesh, style, installation("1.28.3", folder), after, back)


def names_of(made: Upgrade) -> list[str]:
    return [step.name for step in made.steps()]


def test_in_place_the_control_plane_comes_first_and_the_workloads_last(tmp_path: Path) -> None:
    there = ["istiod of primary", "webhook of remote", "gateway of primary", "gateway of remote"]
    there += ["workloads of primary", "workloads of remote"]
    assert names_of(upgrade(tmp_path, Style.IN_PLACE)) == [f"{name} to 1.29.1" for name in there]
    both = [f"{name} to {version}" for version in ("1.29.1", "1.28.3") for name in there]
    assert names_of(upgrade(tmp_path, Style.IN_PLACE, back=True)) == both


def test_by_revision_the_old_one_is_removed_when_nothing_asks_for_it(tmp_path: Path) -> None:
    assert names_of(upgrade(tmp_path, Style.REVISION)) == [
        "tag stable on the old revision",
        "istiod of primary to 1.29.1",
        "webhook of remote to 1.29.1",
        "gateway of primary to 1.29.1",
        "gateway of remote to 1.29.1",
        "workloads of primary to 1.29.1",
        "workloads of remote to 1.29.1",
        "istiod 1.28.3 removed",
    ]


def test_the_way_back_by_revision_begins_with_the_workloads_that_moved_last(tmp_path: Path) -> None:
    assert names_of(upgrade(tmp_path, Style.REVISION, back=True))[-5:] == [
        "workloads of remote to 1.28.3",
        "workloads of primary to 1.28.3",
        "gateway of primary to 1.28.3",
        "gateway of remote to 1.28.3",
        "istiod 1.29.1 removed",
    ]


def test_each_cluster_is_judged_by_the_revision_that_its_tag_leads_to(tmp_path: Path) -> None:
    made = upgrade(tmp_path, Style.REVISION)
    made._note_revision("primary", "1-29-1")
    revisions = {name: made.mesh.info.revision_of(name) for name in ("primary", "remote")}
    assert revisions == {"primary": "1-29-1", "remote": "default"}
    made._note_revision("remote", "1-29-1")
    made._note_revision("primary", "")
    assert made.mesh.info.revision_of("remote") == "1-29-1"
    assert made.mesh.info.revision == "default"
