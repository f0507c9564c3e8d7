"""The totals of what others noticed, as the README has them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from docs import peers

CONTENT = {
    "date": "2026-11-27",
    "versions": {"istio": "1.29.1", "kubernetes": "1.34.4", "splithorizon": "0.1.0"},
    "faults": 60,
    "splithorizon": {"noticed": 60, "named": 58, "accused_the_sound_mesh": []},
    "totals": {
        "analyze": {"noticed": 9, "named": 5, "accused_the_sound_mesh": ["IST0170 Warning: a", "IST0170 Warning: b"]},
        "curls": {"noticed": 20, "named": 1, "accused_the_sound_mesh": ["primary gets 503"]},
    },
}


def part(by_fault: dict[str, tuple[bool, str]], accused: list[str]) -> dict[str, Any]:
    """A run's file, as the proof writes it: for each fault whether the suite named it, and what analyze says."""
    return {
        "date": "2026-11-27",
        "versions": {"istio": "1.29.1"},
        "faults": len(by_fault),
        "splithorizon": {
            "noticed": len(by_fault),
            "named": sum(named for named, _ in by_fault.values()),
            "accused_the_sound_mesh": [],
        },
        "totals": {
            "analyze": {
                "noticed": sum(bool(news) for _, news in by_fault.values()),
                "named": 0,
                "accused_the_sound_mesh": accused,
            }
        },
        "by_fault": {
            name: {
                "splithorizon": {"noticed": True, "named": named},
                "analyze": {"named": False, "news": [news] if news else []},
            }
            for name, (named, news) in by_fault.items()
        },
    }


def test_each_has_a_row_and_the_date_and_versions_stand_below() -> None:
    assert peers.rendered(CONTENT).splitlines() == [
        "| asked | noticed, of 60 faults | named the cause | said against the sound mesh |",
        "|---|---:|---:|---|",
        "| splithorizon | 60 | 58 | nothing |",
        "| `istioctl analyze` | 9 | 5 | IST0170 |",
        "| ten curls from each side | 20 | 1 | 1 statements |",
        "",
        "Measured on 2026-11-27 with istio 1.29.1, kubernetes 1.34.4, splithorizon 0.1.0.",
    ]


def test_the_readme_has_one_part_for_it_which_can_be_written_again() -> None:
    page = peers.README.read_text()
    once = peers.filled(page, CONTENT)
    assert "| `istioctl analyze` | 9 | 5 | IST0170 |" in once
    assert peers.filled(once, CONTENT) == once
    with pytest.raises(ValueError, match="not one part"):
        peers.filled("no marks", CONTENT)


def test_parts_are_joined_and_the_first_answer_to_a_fault_counts() -> None:
    first = part({"a": (True, "IST0101"), "b": (False, "")}, ["IST0170 x"])
    second = part({"b": (True, "IST0102"), "c": (True, "")}, ["IST0170 x", "IST0118 y"])
    both = peers.joined([first, second])
    assert both["faults"] == 3
    assert both["splithorizon"] == {"noticed": 3, "named": 2, "accused_the_sound_mesh": []}
    assert both["totals"]["analyze"] == {"noticed": 1, "named": 0, "accused_the_sound_mesh": ["IST0170 x", "IST0118 y"]}
    assert peers.joined([first]) == first, "one part is as its proof wrote it"


def test_parts_of_different_versions_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = []
    for version in ("1.28.3", "1.29.1"):
        names.append(str(tmp_path / version))
        Path(names[-1]).write_text(json.dumps({**part({}, []), "versions": {"istio": version}}))
    before = peers.README.read_text()
    assert peers.main(names) == 4
    assert "different versions" in capsys.readouterr().err
    assert peers.README.read_text() == before


def test_the_command_writes_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "README.md").write_text("<!-- made by docs/peers.py -->\nold\n<!-- end -->\n")
    (tmp_path / "peers.json").write_text(json.dumps(part({"a": (True, "")}, [])))
    monkeypatch.setattr(peers, "README", tmp_path / "README.md")
    assert peers.main([str(tmp_path / "peers.json")]) == 0
    assert "old" not in (tmp_path / "README.md").read_text()
    assert peers.main([]) == 4
