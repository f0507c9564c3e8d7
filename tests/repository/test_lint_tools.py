"""tox and pre-commit call the same tools; the README's test command runs them before the tests."""

from __future__ import annotations

import configparser

import yaml

from tests.support.repository import REPOSITORY


def commands(environment: str) -> list[str]:
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(REPOSITORY / "tox.ini")
    return tox[f"testenv:{environment}"]["commands"].strip().splitlines()


def test_pre_commit_calls_what_tox_calls() -> None:
    (local,) = yaml.safe_load((REPOSITORY / ".pre-commit-config.yaml").read_text())["repos"]
    assert {hook["language"] for hook in local["hooks"]} == {"system"}
    # pre-commit names the files, tox all of them.
    hooks = {hook["entry"].replace(" --force-exclude", " .") for hook in local["hooks"]}
    assert hooks == set(commands("lint"))
    assert {command.split()[0] for command in hooks} == {"ruff", "lint-imports", "mypy"}


def test_the_tests_come_after_lint_and_are_not_left_out_where_it_fails() -> None:
    first, *tests = commands("unit")
    assert first == "{[testenv:lint]commands}"
    assert [command.split()[0] for command in tests] == ["pytest"]
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(REPOSITORY / "tox.ini")
    assert tox["testenv:unit"]["ignore_errors"] == "true"
