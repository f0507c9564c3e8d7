"""The totals of what others noticed, as the README has them."""

from __future__ import annotations

import json
from pathlib import Path

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


def test_the_command_writes_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "README.md").write_text("<!-- made by docs/peers.py -->\nold\n<!-- end -->\n")
    (tmp_path / "peers.json").write_text(json.dumps(CONTENT))
    monkeypatch.setattr(peers, "README", tmp_path / "README.md")
    assert peers.main([str(tmp_path / "peers.json")]) == 0
    assert "old" not in (tmp_path / "README.md").read_text()
    assert peers.main([]) == 4
