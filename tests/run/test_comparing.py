"""Two sides of reports are compared: what chance explains is not marked, and what became worse is a regression."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from splithorizon.base.errors import UsageProblem
from splithorizon.run import comparing, comparison, comparison_text, measured, report_file
from splithorizon.run.comparing import compare
from splithorizon.run.comparison import Change, Comparison, Presence
from splithorizon.run.measured import Key, Share
from splithorizon.run.report import (
    BehaviourResult,
    Cluster,
    Condition,
    Diagnosis,
    Evidence,
    NotClaimed,
    RunReport,
    Unclaimed,
    Versions,
)
from splithorizon.run.report_types import Scalar
from splithorizon.run.verdict import Verdict
from tests.support.repository import REPOSITORY

ROUTE = "primary→remote"
VERSION_1 = REPOSITORY / "tests" / "data" / "report" / "version-1.json"


def proved(
    behaviour: str, numbers: Mapping[str, Scalar], *, interval: tuple[int, int] | None = None, route: str = ROUTE
) -> BehaviourResult:
    """A conformant result with one piece of evidence."""
    return BehaviourResult(
        area="routing",
        behaviour=behaviour,
        claim="It holds.",
        nodeid=f"suites/routing/{behaviour}.py::{behaviour}[{route}]",
        verdict=Verdict.CONFORMANT,
        seconds=1.0,
        route=route,
        evidence=(Evidence("it holds", numbers, interval),),
    )


def refuted(result: BehaviourResult, verdict: Verdict = Verdict.NOT_CONFORMANT) -> BehaviourResult:
    return replace(
        result, verdict=verdict, evidence=(), failure="it does not", likely_cause="no cause", next_command="kubectl get"
    )


def of(*results: BehaviourResult, run_id: str = "a", istio: str = "1.28.3") -> RunReport:
    """A report whose verdict follows from its results."""
    verdicts = {result.verdict for result in results}
    refused, unjudged = Verdict.NOT_CONFORMANT in verdicts, Verdict.INCONCLUSIVE in verdicts
    judged = Verdict.NOT_CONFORMANT if refused else Verdict.INCONCLUSIVE if unjudged else Verdict.CONFORMANT
    return RunReport(
        run_id=run_id,
        started="2026-11-27T06:00:00.000Z",
        finished="2026-11-27T06:02:00.000Z",
        command=("pytest", "suites/"),
        versions=Versions("0.1.0", "3.11.2", istio={"primary": istio}),
        verdict=judged,
        exit_status=0,
        behaviours=results,
        inconclusive_reason="it broke" if judged is Verdict.INCONCLUSIVE else "",
    )


def split(v1: int, v2: int) -> BehaviourResult:
    return proved("test_both_versions_answer", {"v1": v1, "v2": v2, "p_value": 0.5}, interval=(423, 577))


def lost(count: int, requests: int = 1000) -> BehaviourResult:
    return proved("test_losses", {"requests": requests, "lost": count})


def recovery(seconds: float) -> BehaviourResult:
    numbers: dict[str, Scalar] = {"recovered_after": seconds, "within": 60, "state": "both answer"}
    return proved("test_istiod_returns", numbers, route="")


def test_a_report_compared_with_itself_shows_nothing() -> None:
    one = of(split(490, 510), lost(3), recovery(4.0))
    found = compare([one], [one])
    assert (found.regressions, found.differences) == (0, 0)
    shown = list(comparison_text.lines(found))
    assert shown == ["before: a", "after:  a", "no difference; 2 counts compared"]


def test_a_report_of_version_1_is_compared_with_one_of_version_2() -> None:
    old = report_file.load(VERSION_1)
    found = compare([old], [of(split(490, 510))])
    assert compare([old], [old]).differences == 0
    assert {one.behaviour for one in found.presence if one.state is Presence.GONE} >= {"test_broken", "test_holds"}
    assert Change("verdict", "not conformant", "conformant") in found.run


def test_a_claim_that_held_and_is_refuted_is_a_regression() -> None:
    before, after = of(split(490, 510)), of(refuted(split(490, 510)))
    found = compare([before], [after])
    (change,) = found.verdicts
    assert (change.before, change.after, change.regression) == ("conformant", "not conformant", True)
    assert found.regressions == 1
    assert compare([after], [before]).regressions == 0, "it became better"


def test_what_could_not_be_judged_is_a_difference_and_no_regression() -> None:
    found = compare([of(lost(0))], [of(refuted(lost(0), Verdict.INCONCLUSIVE))])
    assert [one.after for one in found.verdicts] == ["inconclusive"]
    assert found.regressions == 0


def test_one_refutation_in_several_runs_is_a_regression_unless_it_was_so_before() -> None:
    held, fell = of(lost(0)), of(refuted(lost(0)))
    (change,) = compare([held, held], [held, fell, held]).verdicts
    assert (change.after, change.regression) == ("2 conformant, 1 not conformant", True)
    assert not compare([held, fell], [held, fell, held]).verdicts


def test_a_share_that_differs_within_chance_is_not_marked() -> None:
    assert not compare([of(split(470, 530))], [of(split(540, 460))]).counts


def test_a_share_that_moved_away_from_the_expected_one_beyond_chance_is_a_regression() -> None:
    found = compare([of(split(500, 500))], [of(split(620, 380))])
    (change,) = found.counts
    assert (change.name, change.before, change.after, change.after_of) == ("v1", 500, 620, 1000)
    assert change.p_value < 1e-6
    assert change.regression
    (back,) = compare([of(split(620, 380))], [of(split(500, 500))]).counts
    assert not back.regression


def test_more_losses_beyond_chance_are_a_regression_and_fewer_are_not() -> None:
    (worse,) = compare([of(lost(0))], [of(lost(30))]).counts
    (better,) = compare([of(lost(30))], [of(lost(0))]).counts
    assert (worse.name, worse.regression, better.regression) == ("lost", True, False)


def test_a_difference_below_the_minimal_one_is_not_marked_however_certain_it_is() -> None:
    many = 1_000_000
    assert not compare([of(lost(0, many))], [of(lost(4_000, many))]).counts
    assert compare([of(lost(0, many))], [of(lost(6_000, many))]).counts


def test_p_values_are_corrected_for_the_number_of_counts() -> None:
    others = [proved(f"test_{number}", {"requests": 1000, "lost": 0}) for number in range(40)]
    # Thirteen of a thousand are one chance in four thousand: enough alone, and too little among forty-one.
    alone = compare([of(lost(0))], [of(lost(13))])
    among = compare([of(lost(0), *others)], [of(lost(13), *others)])
    assert (len(alone.counts), alone.counts_compared) == (1, 1)
    assert (len(among.counts), among.counts_compared) == (0, 41)


def test_counts_of_several_reports_are_added_up() -> None:
    (change,) = compare([of(lost(0))] * 3, [of(lost(10))] * 3).counts
    assert (change.before_of, change.after, change.after_of) == (3000, 30, 3000)


def test_a_count_that_varies_within_one_side_is_named_and_not_compared() -> None:
    found = compare([of(lost(0)), of(lost(100))], [of(lost(300)), of(lost(300))])
    assert not found.counts
    assert found.counts_varying == (f"test_losses ({ROUTE}): lost",)


def test_behaviours_that_came_and_went_have_the_reason_of_the_other_side() -> None:
    left = of(lost(0), split(500, 500))
    skipped = NotClaimed("test_losses", "of profile extended, which was not asked for", Unclaimed.NOT_ASKED_FOR)
    right = replace(of(split(500, 500), proved("test_new", {})), not_claimed=(skipped,))
    gone, new = compare([left], [right]).presence
    assert (gone.behaviour, gone.state, gone.reason) == ("test_losses", Presence.GONE, skipped.reason)
    assert (new.behaviour, new.state, new.reason) == ("test_new", Presence.NEW, "")


def test_versions_shapes_options_conditions_and_causes_that_differ_are_named() -> None:
    one = replace(
        of(lost(0)),
        options={"requests": 1000, "reports": "/a", "hub": None, "old": False},
        clusters=(Cluster("primary", "n1"),),
        conditions=(Condition("clock skew", "1 s"), Condition("load", "low")),
    )
    other = replace(
        of(refuted(lost(0)), istio="1.29.1"),
        options={"requests": 500, "reports": "/b", "baseline": "x", "new": False},
        clusters=(Cluster("primary", "n1"), Cluster("remote", "n2", runs_istiod=False, control_plane="primary")),
        conditions=(Condition("clock skew", "9 s"), Condition("load", "low"), Condition("clock skew", "2 s")),
        diagnosis=Diagnosis("remote-secret-missing", "It is missing."),
    )
    found = compare([one], [other])
    assert found.versions == (Change("Istio in primary", "1.28.3", "1.29.1"),)
    assert found.conditions == (
        Change(
            "clusters",
            "primary on n1, own istiod",
            "primary on n1, own istiod; remote on n2, istiod of primary",
        ),
        Change("option requests", "1000", "500"),
        Change("clock skew", "1 s", "2 s; 9 s"),
    )
    assert Change("root cause", "none", "remote-secret-missing") in found.run


def test_facts_that_differ_are_named_and_bytes_and_seconds_are_not() -> None:
    one = of(proved("test_endpoints", {"endpoints": 2, "passed_bytes": 5, "seconds": 0.1}))
    other = of(proved("test_endpoints", {"endpoints": 3, "passed_bytes": 6, "seconds": 0.2}))
    found = compare([one], [other])
    assert found.facts == (Change(f"test_endpoints ({ROUTE}): endpoints", "2", "3"),)
    assert (found.differences, found.regressions) == (1, 0)


def test_recovery_times_stand_side_by_side_and_are_judged_with_five_a_side() -> None:
    quick, slow = [of(recovery(3.0 + step / 10)) for step in range(5)], [of(recovery(9.0 + step)) for step in range(5)]
    (few,) = compare(quick[:4], slow).recovery
    assert (few.state, len(few.before), few.p_value, few.regression) == ("both answer", 4, None, False)
    (enough,) = compare(quick, slow).recovery
    assert enough.regression
    assert enough.p_value == pytest.approx(1 / 252)
    (better,) = compare(slow, quick).recovery
    assert not better.regression


def test_a_delay_below_a_second_or_a_fifth_is_no_regression() -> None:
    before = [of(recovery(3.0 + step / 100)) for step in range(5)]
    after = [of(recovery(3.9 + step / 100)) for step in range(5)]
    (change,) = compare(before, after).recovery
    assert change.p_value == pytest.approx(1 / 252)
    assert not change.regression


def test_counts_that_occur_twice_in_one_result_are_numbered() -> None:
    one = proved("test_weights", {"v1": 10, "v2": 20})
    one = replace(one, evidence=(*one.evidence, Evidence("more", {"answers": 40, "v2": 30}, (20, 36))))
    assert dict(measured.shares(of(one))) == {
        Key("test_weights", ROUTE, "v1"): Share(10, 30, is_loss=False),
        Key("test_weights", ROUTE, "v2"): Share(30, 40, is_loss=False, expected=0.7),
    }


def test_numbers_that_are_none_are_no_counts() -> None:
    odd = proved(
        "test_odd", {"v1": "many", "requests": True, "lost": 3, "answers": 0, "strayed": 0, "recovered_after": ""}
    )
    assert not list(measured.shares(of(odd)))
    assert not list(measured.recovery_times(of(odd)))


def test_a_side_is_a_file_a_run_a_folder_of_runs_or_a_pattern(tmp_path: Path) -> None:
    for name in ("one", "two", "other"):
        report_file.write(of(lost(0), run_id=name), tmp_path / name)
    report_file.point_latest(tmp_path, tmp_path / "two")

    def ids(where: Path) -> list[str]:
        return [one.run_id for one in comparing.read(str(where))]

    assert ids(tmp_path / "one" / "report.json") == ids(tmp_path / "one") == ["one"]
    assert ids(tmp_path) == ["one", "other", "two"], "latest is one of them"
    assert ids(tmp_path / "latest") == ["two"]
    assert ids(tmp_path / "o*") == ["one", "other"]
    assert ids(tmp_path / "t*" / "report.json") == ["two"]


@pytest.mark.parametrize(
    "content",
    [None, b"", b"{}", b'{"schema_version": 3}', b"[1]", b"\xff"],
    ids=["missing", "empty", "an empty object", "another version", "a list", "not UTF-8"],
)
def test_a_side_that_cannot_be_read_is_bad_input(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "report.json").write_bytes(content)
    with pytest.raises(UsageProblem, match=str(tmp_path)):
        comparing.read(str(tmp_path))


def everything() -> Comparison:
    """A comparison in which every part has something."""
    varied = proved("test_varied", {"requests": 1000, "lost": 0})
    before = [replace(of(split(500, 500), lost(0), recovery(3.0), varied, proved("test_old", {"pods": 1})), run_id="b")]
    before.append(of(split(500, 500), lost(0), recovery(3.0), proved("test_varied", {"requests": 1000, "lost": 500})))
    after = [of(refuted(split(1, 1)), lost(300), recovery(9.0), varied, istio="1.29.1")]
    return compare(before, after)


def test_text_names_every_part_and_the_json_has_the_same() -> None:
    found = everything()
    text = "\n".join(comparison_text.lines(found))
    for part in ("run\n", "versions\n", "verdicts\n", "behaviours\n", "recovery times (", "within one side"):
        assert part in text
    assert f"  REGRESSION test_losses ({ROUTE}): lost: 0 of 2,000 (0.0%) → 300 of 1,000 (30.0%), p = " in text
    assert "  test_istiod_returns: both answer: 3.0 s (3.0 to 3.0, 2 runs) → 9.0 s" in text
    assert text.splitlines()[-1] == f"2 regressions, {found.differences - 2} other differences"
    content = json.loads(comparison.as_json(found))
    assert content["regressions"] == 2
    assert content["counts"][0]["after"] == 300


def test_a_report_keeps_its_comparison(tmp_path: Path) -> None:
    found = everything()
    written = report_file.write(replace(of(lost(0)), comparison=found), tmp_path)
    assert report_file.load(written).comparison == found
