"""The summary of a CI job says what the terminal does, and lets no markup through."""

from __future__ import annotations

from dataclasses import replace

from splithorizon.run.markdown import markdown
from splithorizon.run.verdict import Verdict
from tests.support.run_reports import GREEN, RED, RESULTS, WRONG


def test_markdown_shows_the_same_and_lets_nothing_through() -> None:
    sly = replace(
        WRONG,
        claim="a | b <script>alert(1)</script>",
        failure="seen:\n```\nfenced\n```",
        key_number="1\n2",
        likely_cause="x",
    )
    text = markdown(replace(RED, behaviours=(sly, *RESULTS[1:])))
    assert text.startswith("## splithorizon: ✗ NOT CONFORMANT\n")
    assert "<script>" not in text
    assert "a \\| b &lt;script&gt;" in text
    assert "| 1<br>2 |" in text
    assert "\n````text\nseen:\n```\nfenced\n```\nlikely: x\n" in text
    assert f"\n```sh\n{WRONG.next_command}\n```\n" in text
    rows = [line for line in text.splitlines() if line.startswith("| routing")]
    assert len(rows) == 2
    assert all(line.replace("\\|", "").count("|") == 7 for line in rows)
    assert text.count("<details") == text.count("</details>") == 2
    assert "set-up 86.0 s" in text
    assert "| [remote] kind cluster | 2.0 | 48.0 |" in text
    assert f"  '{WRONG.nodeid}'" in text


def test_markdown_of_a_run_that_broke() -> None:
    broken = replace(
        GREEN,
        verdict=Verdict.INCONCLUSIVE,
        inconclusive_reason="node <gone>",
        behaviours=(),
        steps=(),
        clusters=(),
    )
    text = markdown(broken)
    assert "## splithorizon: ? INCONCLUSIVE" in text
    assert "Because: node &lt;gone&gt;" in text
    assert "| area |" not in text
    assert "```sh\npytest suites/ --istio-version=1.29.1\n```" in text
