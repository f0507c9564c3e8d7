"""The page is one small file that needs nothing else, shows what the report has, and takes no markup from the mesh."""

from __future__ import annotations

import base64
import hashlib
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from splithorizon.istio.topology import Way
from splithorizon.run import comparing
from splithorizon.run.page import page, templates
from splithorizon.run.progress import StepTime
from splithorizon.run.report import (
    BehaviourResult,
    Cluster,
    Condition,
    Diagnosis,
    Evidence,
    Fact,
    NotClaimed,
    Note,
    PathCount,
    RunReport,
    Unclaimed,
    Versions,
)
from splithorizon.run.verdict import Verdict
from splithorizon.undo.not_restored import NotRestored
from tests.support.parsed_html import Element, parse

HOSTILE = "\"'></title></style></svg><script>alert(1)</script><img src=x onerror=alert(1)>{{ 7*7 }}{% raw %}&amp;<!--"
COUNTED = Evidence(
    "all versions answer, evenly",
    {"v1": 510, "v2": 490, "p_value": 0.547},
    expected_interval=(423, 577),
    sample_lines=('"GET /hello HTTP/1.1" 200 - "10.89.0.2:15443"',),
    addresses=("10.89.0.2:15443",),
)
WAYS = Evidence(
    "each version takes its own path",
    paths=(
        PathCount(Way.NEAR_POD, "v1", "10.10.0.4:5000", "", 510, True),
        PathCount(Way.FAR_GATEWAY, "v2", "10.89.0.2:15443", "", 490, True),
    ),
)
HELD = BehaviourResult(
    area="routing",
    behaviour="test_each_version_takes_its_own_path",
    claim="The far version is reached through its network's gateway.",
    nodeid="suites/routing/test_each_version_takes_its_own_path.py::test_it[primary→remote]",
    verdict=Verdict.CONFORMANT,
    seconds=4.6,
    route="primary→remote",
    profile="core",
    key_number="490 via :15443, 510 direct",
    evidence=(COUNTED, WAYS),
)
RECOVERED = BehaviourResult(
    area="resilience",
    behaviour="test_istiod_returns",
    claim="istiod returns.",
    nodeid="suites/resilience/test_istiod_returns.py::test_it",
    verdict=Verdict.CONFORMANT,
    seconds=9.0,
    evidence=(Evidence("in time", {"recovered_after": 4.25, "within": 60, "state": "both versions answer"}),),
)
GREEN = RunReport(
    run_id="20261127-060000-a1b2",
    started="2026-11-27T06:00:00.000Z",
    finished="2026-11-27T06:02:00.000Z",
    command=("pytest", "suites/", "--requests", "1000"),
    versions=Versions("0.1.0", "3.11.2", kubernetes="1.34.4", istio={"primary": "1.29.1", "remote": "1.29.1"}),
    verdict=Verdict.CONFORMANT,
    exit_status=0,
    clusters=(
        Cluster("primary", "primary-network", pod_subnet="10.10.0.0/16", gateway_addresses=("10.89.0.3:15443",)),
        Cluster(
            "remote", "remote-network", runs_istiod=False, control_plane="primary",
            pod_subnet="10.20.0.0/16", gateway_addresses=("10.89.0.2:15443",),
        ),
    ),
    steps=(StepTime("istiod ready", "primary", 2.0, 8.0, "done"), StepTime("gateway", "remote", 9.0, 3.0, "failed")),
    behaviours=(HELD, RECOVERED),
    conditions=(Condition("clock skew", "0.2 s", "certificates are not judged by it"),),
    not_claimed=(NotClaimed("test_x", "of profile cleanup", Unclaimed.NOT_ASKED_FOR, "cleanup"),),
)  # fmt: skip
REFUTED = replace(
    HELD,
    verdict=Verdict.NOT_CONFORMANT,
    evidence=(),
    failure="each version takes its own path\n  expected: v2 through the gateway\n  seen:     v2 at its pod",
    cause_ids=("pods-dialled", "gateway-unknown"),
    likely_cause="istiod knows no gateway there",
    next_command="istioctl --context primary proxy-config endpoints deploy/sleep -n sample",
    numbers={"v1": 1000, "v2": 0},
    expected_interval=(423, 577),
    paths=(
        PathCount(Way.NEAR_POD, "v1", "10.10.0.4:5000", "", 510, True),
        PathCount(Way.FAR_POD, "v2", "10.20.0.3:5000", "", 400, False),
        PathCount(Way.FAR_GATEWAY, "", "10.89.0.2:15443", "UF", 90, False),
    ),
)
CAUSE = Diagnosis(
    cause_id="gateway-unknown",
    text="The gateway's Service has no network label.",
    evidence=(Fact("Service remote/istio-system/gateway", "topology.istio.io/network", "not set"),),
    fix="kubectl --context remote label service gateway topology.istio.io/network=n2",
    consequences=("test_each_version_takes_its_own_path",),
    witness="v2 answered from 10.20.0.3:5000",
)
RED = replace(GREEN, verdict=Verdict.NOT_CONFORMANT, exit_status=1, behaviours=(RECOVERED, REFUTED), diagnosis=CAUSE)
UNKNOWN = replace(
    GREEN,
    verdict=Verdict.INCONCLUSIVE,
    exit_status=10,
    behaviours=(),
    clusters=(),
    steps=(),
    inconclusive_reason="the API server is away",
    next_command="kubectl get nodes",
)
PARTIAL = replace(GREEN, verdict=Verdict.PARTIAL)
EVERY = {"conformant": GREEN, "not conformant": RED, "inconclusive": UNKNOWN, "partial": PARTIAL}

every_verdict = pytest.mark.parametrize("report", EVERY.values(), ids=EVERY.keys())


def parsed(report: RunReport) -> Element:
    return parse(page.render(report))


def saying(text: str, report: RunReport) -> RunReport:
    """The same report, in which whatever may come from a mesh is this text."""
    facts = (Fact(text, text, text),)
    result = replace(
        REFUTED,
        verdict=report.verdict,
        claim=text, failure=text, likely_cause=text, next_command=text, key_number=text, area=text,
        behaviour=text, profile=text, cause_ids=(text,), numbers={text: text},
        evidence=(Evidence(text, {text: text}, None, (text,), (text,)),),
        paths=tuple(replace(path, version=text, address=text, flags=text) for path in REFUTED.paths),
    )  # fmt: skip
    return replace(
        report,
        command=("pytest", text),
        clusters=tuple(replace(one, network=text, gateway_addresses=(text,)) for one in report.clusters),
        behaviours=(result, RECOVERED),
        diagnosis=replace(CAUSE, text=text, evidence=facts, fix=text, witness=text, consequences=(text,)),
        notes=(Note(text, facts),),
        conditions=(Condition(text, text, text),),
        not_restored=(NotRestored(text, text, text),),
        undiagnosed=text,
        inconclusive_reason=text if report.inconclusive_reason else "",
        not_claimed=(NotClaimed(text, text, Unclaimed.EXEMPT),),
        steps=(StepTime(text, text, 0.0, 1.0, "done"),),
        versions=replace(report.versions, kubernetes=text),
    )


@every_verdict
def test_a_page_is_one_well_formed_document_with_a_title_and_one_heading(report: RunReport) -> None:
    text = page.render(report)
    assert text.startswith("<!DOCTYPE html>\n")
    root = parse(text)
    (html,) = root.all("html")
    assert html.attributes["lang"] == "en"
    (title,) = (one for one in root.all("title") if one not in [*_in_svg(root)])
    assert report.run_id in title.text
    (heading,) = root.all("h1")
    assert report.verdict.upper() in heading.text
    ids = Counter(one.attributes["id"] for one in root.all() if "id" in one.attributes)
    assert [name for name, count in ids.items() if count > 1] == []
    labels = {one.attributes["aria-labelledby"] for one in root.all() if "aria-labelledby" in one.attributes}
    targets = {one.attributes["href"][1:] for one in root.all("a") if one.attributes["href"].startswith("#")}
    assert labels | targets <= ids.keys()


def _in_svg(root: Element) -> list[Element]:
    return [title for svg in root.all("svg") for title in svg.all("title")]


@every_verdict
def test_a_page_needs_no_script_and_nothing_from_elsewhere(report: RunReport) -> None:
    root = parsed(report)
    forbidden = {"script", "link", "iframe", "object", "embed", "img", "form", "base", "foreignobject", "use", "image"}
    assert {one.tag for one in root.all()} & forbidden == set()
    for one in root.all():
        assert not [name for name in one.attributes if name.startswith("on") or name in ("style", "src", "srcset")]
        for name in ("href", "xlink:href"):
            link = one.attributes.get(name, "#")
            assert link.startswith("#") or re.fullmatch(r"[a-z]+\.[a-z]+", link), "in the page, or beside it"
        for value in one.attributes.values():
            assert "url(" not in value or value.startswith("url(#")


@every_verdict
def test_the_policy_allows_the_style_sheet_alone_by_its_digest(report: RunReport) -> None:
    root = parsed(report)
    (policy,) = root.all("meta", **{"http-equiv": "Content-Security-Policy"})
    (style,) = root.all("style")
    digest = base64.b64encode(hashlib.sha256(style.text.encode()).digest()).decode()
    directives = dict(one.strip().split(" ", 1) for one in policy.attributes["content"].split(";"))
    assert directives == {
        "default-src": "'none'",
        "style-src": f"'sha256-{digest}'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }


@every_verdict
def test_text_from_the_mesh_is_text(report: RunReport) -> None:
    spoiled, plain = parsed(saying(HOSTILE, report)), parsed(saying("plain", report))
    assert Counter(one.tag for one in spoiled.all()) == Counter(one.tag for one in plain.all())
    assert [[*one.attributes] for one in spoiled.all()] == [[*one.attributes] for one in plain.all()]
    # All but the command lines, which quote it for a shell.
    assert spoiled.text.count(HOSTILE) >= plain.text.count("plain") - 2 >= 20


def test_no_template_marks_a_text_as_safe() -> None:
    folder = templates.FOLDER
    for template in folder.glob("*.j2"):
        assert not re.search(r"\|\s*safe|autoescape", template.read_text()), template
    assert set((folder / "page.css").read_text()) & set("&<>\"'") == set(), "the style sheet is not escaped either"


def test_characters_that_hide_text_are_shown_as_unknown() -> None:
    text = page.render(replace(RED, behaviours=(replace(REFUTED, failure="a\x00b\x1b[31mc\u202ed\u2066e\tf"),)))
    assert "a�b�[31mc�d�e\tf" in text


def test_verdict_and_root_cause_come_before_everything_else() -> None:
    text = parsed(RED).text
    order = [
        "NOT CONFORMANT",
        CAUSE.text,
        CAUSE.witness,
        CAUSE.fix,
        "Traffic",
        "Versions",
        "Behaviours",
        "Run it again",
    ]
    places = [text.index(part) for part in order]
    assert places == sorted(places)


def test_an_inconclusive_page_says_why_and_what_to_run() -> None:
    root = parsed(UNKNOWN)
    (header,) = root.all("header")
    assert "because: the API server is away" in header.text
    (first, *_) = root.all("pre", class_="command")
    assert first.text == "kubectl get nodes"
    assert not list(root.all("svg"))


def test_failed_behaviours_are_open_and_first_and_the_others_folded() -> None:
    folded = [one for one in parsed(RED).all("details") if one.text.lstrip().startswith(("routing", "resilience"))]
    assert ["open" in one.attributes for one in folded] == [True, False]
    assert "✗ not conformant primary→remote" in folded[0].text


def test_a_failure_has_its_text_causes_plot_and_a_command_to_copy() -> None:
    (failed,) = (one for one in parsed(RED).all("details") if "open" in one.attributes)
    assert REFUTED.failure in failed.text
    assert "istiod knows no gateway there (pods-dialled, gateway-unknown)" in failed.text
    assert REFUTED.next_command in [one.text for one in failed.all("pre", class_="command")]
    (plot,) = failed.all("svg")
    assert plot.attributes["aria-label"] == "v1 1,000, v2 0 of 1,000; 423 to 577 accepted"
    assert len(list(plot.all("path", class_="outside-mark"))) == 2


def test_counts_are_drawn_against_their_interval() -> None:
    (plot,) = (one for one in parsed(GREEN).all("svg") if "accepted" in one.attributes.get("aria-label", ""))
    (band,) = plot.all("rect", class_="band")
    left, right = int(band.attributes["x"]), int(band.attributes["x"]) + int(band.attributes["width"])
    marks = [int(one.attributes["cx"]) for one in plot.all("circle", class_="inside-mark")]
    assert len(marks) == 2
    assert all(left < mark < right for mark in marks)
    assert [one.text for one in plot.all("text")] == ["0", "423", "577", "1000"]


def test_evidence_and_log_lines_are_there_and_folded() -> None:
    (evidence,) = (one for one in parsed(GREEN).all("details") if one.text.lstrip().startswith("evidence"))
    assert COUNTED.sample_lines[0] in evidence.text
    assert "open" not in evidence.attributes


def test_recovery_times_stand_beside_their_bound_and_what_did_not_return_is_marked() -> None:
    lost = replace(
        REFUTED, behaviour="test_lost", route="", numbers={"recovered_after": 60.0, "within": 60, "state": "it answers"}
    )
    (table,) = (one for one in parsed(replace(RED, behaviours=(RECOVERED, lost))).all("table") if "bound" in one.text)
    rows = [[cell.text for cell in row.all("td")][:4] for row in table.all("tr")][1:]
    assert rows == [
        ["test_istiod_returns", "both versions answer", "4.2 s", "60 s"],
        ["test_lost", "it answers", "✗ not 60.0 s", "60 s"],
    ]


def test_a_comparison_is_shown_with_its_result() -> None:
    compared = replace(RED, comparison=comparing.compare([GREEN], [RED]))
    text = parsed(compared).text
    assert "Compared with --baseline: 2 regressions" in text
    assert "REGRESSION test_each_version_takes_its_own_path (primary→remote): conformant → not conformant" in text


def test_the_line_that_repeats_the_run_and_the_one_for_what_did_not_pass() -> None:
    commands = [one.text for one in parsed(RED).all("pre", class_="command")]
    assert commands[-2] == "pytest suites/ --requests 1000"
    assert commands[-1].endswith(f"'{REFUTED.nodeid}'")
    assert [one.text for one in parsed(GREEN).all("pre", class_="command")] == ["pytest suites/ --requests 1000"]


def test_whatever_scrolls_can_be_reached_by_keyboard() -> None:
    for one in [*parsed(RED).all("pre"), *parsed(RED).all("div", class_="wide")]:
        assert one.attributes.get("tabindex") == "0"
    assert next(parsed(RED).all("a")).attributes == {"class": "skip", "href": "#behaviours"}


def test_dark_mode_and_narrow_screens_are_in_the_style_sheet() -> None:
    (style,) = parsed(GREEN).all("style")
    assert "prefers-color-scheme: dark" in style.text
    assert "max-width: 30rem" in style.text


@pytest.mark.parametrize("many", [30, 300])
def test_a_page_stays_under_a_megabyte(many: int) -> None:
    long = replace(REFUTED, failure="x" * 30_000, evidence=(replace(COUNTED, sample_lines=("y" * 900,) * 30),))
    text = page.render(replace(RED, behaviours=tuple(replace(long, route=f"r{number}") for number in range(many))))
    assert len(text.encode()) < page.MOST_BYTES
    assert "in full in report.json" in text
    assert "characters in report.json" in text


def test_a_page_is_written_whole_beside_the_report(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("old")
    (tmp_path / "report.json").write_text("{}")
    assert page.write(GREEN, tmp_path) == tmp_path / "index.html"
    text = (tmp_path / "index.html").read_text()
    assert text == page.render(GREEN, beside=["report.json"])
    assert sorted(one.name for one in tmp_path.iterdir()) == ["index.html", "report.json"]
    (footer,) = parse(text).all("footer")
    assert [one.attributes["href"] for one in footer.all("a")] == ["report.json"], "what is there, and nothing else"
