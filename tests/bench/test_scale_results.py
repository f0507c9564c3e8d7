"""The results of the measurement of scale: medians, growth, the table and the page."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from bench import scale_results
from bench.scale_results import GOAL, Core, Size, growth, measures


def core(factor: float) -> Core:
    return Core(20.0 * factor, 8.0 * factor, 5.0, int(400_000 * factor), int(90_000 * factor), 30_000, 6, 60, 12)


def size(services: int, factor: float = 1.0, load: float = 2.0) -> Size:
    return Size(services, (0.9, 0.3, 0.6), (0.2, 0.1, 0.3), (core(factor),), load)


SIZES = [size(10), size(100, 1.1), size(500, 1.2, load=3.25)]


def test_each_measure_is_the_median_of_its_samples() -> None:
    runs = tuple(core(factor) for factor in (1.0, 3.0, 2.0))
    found = {measure.name: measure.median for measure in measures(Size(10, (0.9, 0.3, 0.6), (0.2,), runs, 1.0))}
    assert found["Service created, until the first answer"] == 0.6
    assert found["core, all of it"] == 40.0
    assert found["read from API servers"] == 800.0


def test_growth_is_of_what_core_costs_from_the_first_size_to_the_last() -> None:
    grown = growth(SIZES)
    assert grown["core, all of it"] == pytest.approx(1.2)
    assert grown["read from istiods"] == 1.0
    assert not any("Service created" in name or "endpoint ended" in name for name in grown)


def test_nothing_grows_from_one_size() -> None:
    with pytest.raises(ValueError, match="two sizes"):
        growth(SIZES[:1])


def test_what_was_zero_grows_from_one_unit() -> None:
    none, some = (Size(10, (1.0,), (1.0,), (Core(1, 1, 1, 1, 1, 1, pushes, 0, 0),), 1.0) for pushes in (0, 3))
    assert growth([none, some])["full pushes"] == 3.0


def test_the_table_has_a_column_for_each_size_and_the_growth() -> None:
    lines = scale_results.table(SIZES)
    assert lines[0] == "| median, by Services in each cluster | 10 | 100 | 500 | last to first |"
    assert "| core, all of it (s) | 20.00 | 22.00 | 24.00 | 1.20 |" in lines
    assert "| Service created, until the first answer (s) | 0.60 | 0.60 | 0.60 |  |" in lines
    assert "| load average | 2.0 | 2.0 | 3.2 |  |" in lines
    assert {line.count("|") for line in lines if line.startswith("|")} == {6}


@pytest.mark.parametrize(
    ("factor", "said"),
    [(1.2, "everything is below it"), (GOAL, "not below it: core, all of it 1.30, core, its checks 1.30, read from")],
)
def test_what_exceeds_the_goal_is_named(factor: float, said: str) -> None:
    assert said in scale_results.table([size(10), size(500, factor)])[-1]


def test_one_size_has_no_goal() -> None:
    assert scale_results.table(SIZES[:1])[-1] == scale_results.NOTE


def test_every_sample_is_in_the_json() -> None:
    content = json.loads(scale_results.as_json(SIZES, started="2026-11-27T23:00:00Z"))
    assert content["started"] == "2026-11-27T23:00:00Z"
    assert content["goal"] == GOAL
    assert [one["services"] for one in content["sizes"]] == [10, 100, 500]
    assert content["sizes"][0]["created"] == [0.9, 0.3, 0.6]
    assert content["sizes"][2]["core"][0]["seconds"] == 24.0
    assert content["growth"]["core, all of it"] == pytest.approx(1.2)


class Page(HTMLParser):
    """What a browser would be sent for."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [name for name, _ in attrs if name in ("src", "href")]


def test_the_page_has_a_plot_for_each_measure_and_needs_nothing_else() -> None:
    page = Page()
    page.feed(scale_results.page(SIZES, "2026-11-27T23:00:00Z"))
    assert page.tags.count("svg") == len(measures(SIZES[0]))
    assert "script" not in page.tags
    assert page.links == []


def test_a_plot_is_drawn_from_zero_to_its_largest_sample() -> None:
    text = scale_results.page(SIZES, "2026-11-27T23:00:00Z")
    first = ElementTree.fromstring(text[text.index("<svg") : text.index("</svg>") + len("</svg>")])
    circles = [(float(one.attrib["cx"]), float(one.attrib["cy"])) for one in first.iter("circle")]
    # Three samples and their median at each size; 0.9 s is at the top, and 500 Services are at the right end.
    assert len(circles) == 12
    assert circles[0] == pytest.approx((63.0, 26.0), abs=0.1)
    assert circles[-1] == pytest.approx((404.0, 150 - 124 * 0.6 / 0.9), abs=0.1)
    assert [one.text for one in first.iter("text")] == ["0", "0.9", "10", "100", "500"]


def test_a_page_of_one_size_says_nothing_of_growth() -> None:
    assert "Goal" not in scale_results.page(SIZES[:1], "2026-11-27T23:00:00Z")
