"""The table of options, as argparse reads it."""

from __future__ import annotations

import argparse
from pathlib import Path

from splithorizon.run.option_table import KEEP_CLUSTER, OPTIONS

DECLARED = (*OPTIONS, KEEP_CLUSTER)


def parsed(*words: str, **defaults: object) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    for option in DECLARED:
        parser.add_argument(option.flag, **option.arguments(**defaults))
    return parser.parse_args(words)


def test_every_option_has_a_default_and_a_help() -> None:
    found = parsed()
    assert (found.requests, found.timeout_scale, found.revision, found.exempt) == (1000, 1.0, "", [])
    assert (found.contexts, found.allow_disruption, found.keep_cluster, found.sweep) == (None, False, False, False)
    assert [option.name for option in DECLARED if len(option.help) < 20] == []


def test_what_is_typed_replaces_a_files_default_and_exemptions_are_added_to() -> None:
    defaults = {"requests": 500, "report-dir": Path("there"), "keep-cluster": True, "exempt": ["test_a=why"]}
    found = parsed("--requests", "200", "--exempt", "test_b=because", **defaults)
    assert (found.requests, found.report_dir, found.keep_cluster) == (200, Path("there"), True)
    assert found.exempt == ["test_a=why", "test_b=because"]
    assert defaults["exempt"] == ["test_a=why"]
