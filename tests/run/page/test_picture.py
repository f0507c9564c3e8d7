"""The picture of a route has an arrow for each way that replies took, and shows apart what is wrong."""

from __future__ import annotations

from dataclasses import replace

import pytest

from splithorizon.istio.topology import Way
from splithorizon.run.page import picture
from splithorizon.run.page.picture import Arrow, Picture
from splithorizon.run.report import Cluster, PathCount, RunReport
from tests.run.page.test_page import GREEN, HELD, RED, REFUTED


def of(report: RunReport) -> Picture:
    (found,) = picture.pictures(report)
    return found


def with_paths(*paths: PathCount) -> Picture:
    return of(replace(RED, behaviours=(replace(REFUTED, paths=paths),)))


def wrong(one: Picture) -> list[Arrow]:
    return [arrow for arrow in one.arrows if arrow.wrong]


def test_a_sound_route_has_three_arrows_with_count_and_share() -> None:
    found = of(GREEN)
    assert (found.route, found.near, found.far, found.total) == ("primary→remote", "primary", "remote", 1000)
    assert [(arrow.label, arrow.wrong, arrow.empty) for arrow in found.arrows] == [
        ("510 (51.0%)", False, False),
        ("490 (49.0%)", False, False),
        ("490", False, False),
    ]
    assert found.text == (
        "primary→remote: 510 from v1 to a pod of the same cluster; 490 from v2 through the far network's gateway"
    )


def test_boxes_name_clusters_networks_gateway_and_pods() -> None:
    titles = [(box.title, box.lines) for box in of(GREEN).boxes]
    assert titles == [
        ("cluster primary", ("primary-network",)),
        ("cluster remote", ("remote-network",)),
        ("client", ("and its sidecar",)),
        ("helloworld v1", ("10.10.0.4:5000",)),
        ("east-west gateway", ("10.89.0.2:15443",)),
        ("helloworld v2", ()),
    ]


def test_wrong_ways_are_drawn_apart_and_the_expected_one_stays_though_empty() -> None:
    found = of(RED)
    assert [arrow.label for arrow in wrong(found)] == ["90 (9.0%) without answer", "400 (40.0%)"]
    assert [arrow.label for arrow in found.arrows if arrow.empty] == ["0 (0.0%)", "0"]
    assert [row.expected for row in found.rows] == [True, False, False]
    assert "400 from v2 straight to a pod of the far network, which is wrong" in found.text


@pytest.mark.parametrize("way", Way)
def test_each_wrong_way_has_an_arrow_of_its_own(way: Way) -> None:
    found = with_paths(PathCount(way, "v9", "10.9.9.9:1", "", 7, False))
    assert "7 (100.0%)" in [arrow.label for arrow in wrong(found)]
    places = [(arrow.start, arrow.end) for arrow in found.arrows]
    assert len(places) == len(set(places))


def test_addresses_elsewhere_have_a_box() -> None:
    found = with_paths(PathCount(Way.ELSEWHERE, "v2", "10.9.9.9:1", "", 7, False))
    assert ("elsewhere", ("10.9.9.9:1",)) in [(box.title, box.lines) for box in found.boxes]
    none = with_paths(PathCount(Way.NOWHERE, "", "", "NR", 7, False))
    assert "no upstream" in [box.title for box in none.boxes]


def test_clusters_on_one_network_have_the_direct_way_as_the_expected_one() -> None:
    found = with_paths(PathCount(Way.FAR_POD, "v2", "10.20.0.3:5000", "", 7, True))
    assert not wrong(found)
    assert "7 (100.0%)" in [arrow.label for arrow in found.arrows]


def test_clusters_on_one_network_have_no_gateway_between_them() -> None:
    one_network = tuple(replace(cluster, network="one-network") for cluster in GREEN.clusters)
    paths = (
        PathCount(Way.NEAR_POD, "v1", "10.10.0.4:5000", "", 400, True),
        PathCount(Way.FAR_POD, "v2", "10.20.0.4:5000", "", 600, True),
    )
    found = of(replace(RED, clusters=one_network, behaviours=(replace(REFUTED, paths=paths),)))
    assert "east-west gateway" not in [box.title for box in found.boxes]
    assert found.boxes[-1].title == "helloworld v2"
    assert [(arrow.label, arrow.empty) for arrow in found.arrows] == [("400 (40.0%)", False), ("600 (60.0%)", False)]
    assert "600 from v2 straight to a pod of the other cluster" in found.text


def test_without_measured_ways_each_route_between_networks_is_drawn_as_not_measured() -> None:
    third = Cluster("third", "primary-network", runs_istiod=False, control_plane="primary")
    bare = replace(GREEN, behaviours=(replace(HELD, evidence=()),), clusters=(*GREEN.clusters, third))
    found = picture.pictures(bare)
    assert [one.route for one in found] == ["primary→remote", "remote→primary", "remote→third", "third→remote"]
    assert {arrow.label for one in found for arrow in one.arrows} == {"not measured"}


def test_a_report_without_clusters_has_no_picture() -> None:
    assert picture.pictures(replace(GREEN, clusters=())) == ()


@pytest.mark.parametrize("report", [GREEN, RED], ids=["sound", "broken"])
def test_every_box_is_within_the_picture(report: RunReport) -> None:
    for box in of(report).boxes:
        assert 0 <= box.x < box.x + box.width <= picture.WIDTH
        assert 0 <= box.y < box.y + box.height <= picture.HEIGHT
