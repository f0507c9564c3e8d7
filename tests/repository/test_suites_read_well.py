"""Each test of a suite is read as its claim: a docstring that argues, a body that fits a glance."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

SUITES = Path(__file__).resolve().parents[2] / "suites"
MODULES = sorted(SUITES.rglob("*.py"))
SECTIONS = ["Given", "When", "Then", "Why"]


def name_of(path: Path) -> str:
    return str(path.relative_to(SUITES))


every_module = pytest.mark.parametrize("path", MODULES, ids=name_of)


def docstring(path: Path) -> str:
    return ast.get_docstring(ast.parse(path.read_text())) or ""


def test_there_are_suites() -> None:
    assert len(MODULES) >= 7
    assert [path for path in MODULES if not path.name.startswith("test_")] == []


@every_module
def test_it_begins_with_one_sentence_that_is_the_claim(path: Path) -> None:
    claim, _, argument = docstring(path).partition("\n\n")
    assert re.fullmatch(r"[^\n]{20,120}\.", claim), claim
    assert argument


@every_module
def test_it_argues_in_four_sections(path: Path) -> None:
    _, _, argument = docstring(path).partition("\n\n")
    found = re.findall(r"^(\S.*?) {2,}\S.{3}", argument, re.MULTILINE)
    assert found == SECTIONS
    beginnings = [line for line in argument.splitlines() if not line.startswith("  ")]
    assert len(beginnings) == len(found), "each section begins with its name, and goes on indented"


@every_module
def test_it_holds_one_test_named_like_its_file(path: Path) -> None:
    body = ast.parse(path.read_text()).body[1:]
    functions = [node for node in body if not isinstance(node, ast.Import | ast.ImportFrom)]
    assert [getattr(node, "name", node) for node in functions] == [path.stem]


@every_module
def test_its_body_fits_a_glance(path: Path) -> None:
    (test,) = (node for node in ast.parse(path.read_text()).body if type(node) is ast.FunctionDef)
    assert test.end_lineno is not None
    assert test.end_lineno - test.body[0].lineno + 1 <= 15
    branches = (ast.If, ast.For, ast.While, ast.Try, ast.With, ast.Assert)
    assert [type(n).__name__ for n in ast.walk(test) if isinstance(n, branches)] == []


@every_module
def test_it_proves_and_leaves_the_judging_to_checks(path: Path) -> None:
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    called = [ast.unparse(call.func) for call in calls]
    assert "record_evidence" in called
    assert any(name.startswith("checks.") for name in called)


@every_module
def test_it_imports_its_decorator_nouns_and_checks_only(path: Path) -> None:
    imported = [
        node.names[0].name if isinstance(node, ast.Import) else node.module
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    assert set(imported) <= {"__future__", "fixtures.behaviours", "fixtures.types", "splithorizon"}


def test_no_two_modules_claim_the_same() -> None:
    claims = [docstring(path).partition("\n")[0] for path in MODULES]
    assert len(set(claims)) == len(claims)
    stems = [path.stem for path in MODULES]
    assert len(set(stems)) == len(stems)
