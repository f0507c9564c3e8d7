"""Writes the tables of the suites' README files from what the tests say of themselves.

The claim and the fault come from a test's docstring, the likely causes from the checks that it
calls: the very words of a failure. ``python -m docs.tables`` rewrites the tables; with ``--check``
it shows what would change, and ends with 1 if anything would.
"""

from __future__ import annotations

import ast
import difflib
import re
import sys
from collections.abc import Container, Iterator, Mapping
from functools import cache
from pathlib import Path

from splithorizon.catalogue import behaviour

REPOSITORY = Path(__file__).resolve().parents[1]
SUITES = REPOSITORY / "suites"
CHECKS = REPOSITORY / "splithorizon" / "checks"

_MARKED = re.compile(r"(<!-- made by docs/tables\.py -->\n).*?(<!-- end -->)", re.DOTALL)


def main(arguments: list[str]) -> int:
    """Rewrite the tables, or with ``--check`` compare them; return the exit status."""
    stale = [(readme, text) for readme, text in readmes() if readme.read_text() != text]
    for readme, text in stale:
        if "--check" not in arguments:
            readme.write_text(text)
            continue
        name = str(readme.relative_to(REPOSITORY))
        now, then = readme.read_text().splitlines(True), text.splitlines(True)
        sys.stdout.writelines(difflib.unified_diff(now, then, name, name))
    return int(bool(stale) and "--check" in arguments)


def readmes() -> Iterator[tuple[Path, str]]:
    """Each README with the text that it should have; raises ValueError where marks are missing."""
    areas = sorted({path.parent for path in SUITES.glob("*/test_*.py")})
    tables = {SUITES: overview(areas)} | {area: table(area) for area in areas}
    for folder, made in tables.items():
        readme = folder / "README.md"
        parts = _MARKED.split(readme.read_text())
        if len(parts) != 4:
            raise ValueError(f"{readme}: one pair of marks is needed around the table")
        before, begin, end, after = parts
        yield readme, f"{before}{begin}{made}{end}{after}"


def overview(areas: list[Path]) -> str:
    """All claims, by area."""
    rows = [
        f"| [{one.area}]({one.area}/README.md) | {one.claim} | {one.profile} |"
        for area in areas
        for one in map(behaviour, sorted(area.glob("test_*.py")))
    ]
    return "\n".join(["| area | claim | profile |", "|---|---|---|", *rows, ""])


def table(area: Path) -> str:
    """One area's behaviours: what is claimed, what must break it, and what a failure points at."""
    rows = []
    for path in sorted(area.glob("test_*.py")):
        likely = [cause for check in checks_of(path) for cause in causes(check, members_of(path))]
        one = behaviour(path)
        cells = [f"[{one.claim}]({path.name})", one.profile, one.fault, "<br>".join(dict.fromkeys(likely))]
        rows.append(f"| {' | '.join(cells)} |")
    head = [
        "| claim | profile | fault that must break it | likely causes, as a failure names them |",
        "|---|---|---|---|",
    ]
    return "\n".join([*head, *rows, ""])


def checks_of(path: Path) -> list[str]:
    """The checks that a test calls, in its order."""
    return [node.attr for node in _attributes(path) if isinstance(node.value, ast.Name) and node.value.id == "checks"]


def members_of(path: Path) -> frozenset[str]:
    """The attributes that a test names, members of enumerations among them."""
    return frozenset(node.attr for node in _attributes(path))


@cache
def _attributes(path: Path) -> list[ast.Attribute]:
    return [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)]


def causes(check: str, members: Container[str]) -> Iterator[str]:
    """Every likely cause that a check may name to a test with these; raises ValueError where it cannot be read off."""
    for node in ast.walk(_defined()[check]):
        if isinstance(node, ast.keyword) and node.arg == "likely_cause":
            yield from _texts(node.value, members)


@cache
def _defined() -> Mapping[str, ast.AST]:
    """The functions of all checks, and the values of their constants, by name."""
    found: dict[str, ast.AST] = {}
    for path in sorted(CHECKS.glob("*.py")):
        for node in ast.parse(path.read_text()).body:
            match node:
                case ast.FunctionDef(name=name):
                    found[name] = node
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    found[name] = value
    return found


def _texts(value: ast.AST, members: Container[str]) -> Iterator[str]:
    """The texts that an expression may come to, by any branch and any return, and of a table by those members."""
    match value:
        case ast.Name(id=name):
            yield from _texts(_defined()[name], members)
        case ast.Subscript(value=ast.Name(id=name)):
            chosen = _defined()[name]
            for key, text in zip(chosen.keys, chosen.values, strict=True) if isinstance(chosen, ast.Dict) else ():
                if isinstance(key, ast.Attribute) and key.attr in members:
                    yield from _texts(text, members)
        case ast.Constant(value=str(text)):
            yield text
        case ast.JoinedStr(values=parts):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else _name(part) for part in parts)
        case ast.IfExp(body=one, orelse=other):
            yield from _texts(one, members)
            yield from _texts(other, members)
        case ast.Call(func=ast.Name(id=name)):
            for node in ast.walk(_defined()[name]):
                if isinstance(node, ast.Return) and node.value is not None:
                    yield from _texts(node.value, members)
        case _:
            raise ValueError(f"a check's likely cause, {ast.unparse(value)}: not a text that can be read off")


def _name(part: ast.expr) -> str:
    """What stands for a value in a text: its variable's name, or dots for more than a name."""
    match part:
        case ast.FormattedValue(value=ast.Name(id=name)):
            return f"*{name}*"
        case _:
            return "…"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
