"""Writes the tables of the suites' README files, and that of the causes, from what the code says of itself.

The claim comes from a test's docstring, profile and faults from its decorator, the likely causes from the checks that
it calls, and what they mean from the catalogue of causes. ``python -m docs.tables`` rewrites the tables; with
``--check`` it shows what would change, and ends with 1 if anything would.
"""

from __future__ import annotations

import ast
import difflib
import inspect
import os
import re
import sys
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from pathlib import Path

from proof.faults import every_fault
from proof.faults.registry import Fault
from splithorizon.diagnosis import causes as catalogue_of_causes
from splithorizon.diagnosis.causes import Cause
from splithorizon.run.catalogue import behaviour

REPOSITORY = Path(__file__).resolve().parents[1]
SUITES = REPOSITORY / "suites"
CHECKS = REPOSITORY / "splithorizon" / "checks"
CAUSES = REPOSITORY / "docs" / "causes.md"

_MARKED = re.compile(r"(<!-- made by docs/tables\.py -->\n).*?(<!-- end -->)", re.DOTALL)
# By which name the checks know the catalogue of causes.
_CAUSES = "causes"


def main(arguments: list[str]) -> int:
    """Rewrite the tables, or with ``--check`` compare them; return the exit status."""
    stale = [(page, text) for page, text in pages() if page.read_text() != text]
    for page, text in stale:
        if "--check" not in arguments:
            page.write_text(text)
            continue
        name = os.path.relpath(page, REPOSITORY)
        now, then = page.read_text().splitlines(True), text.splitlines(True)
        sys.stdout.writelines(difflib.unified_diff(now, then, name, name))
    return int(bool(stale) and "--check" in arguments)


def pages() -> Iterator[tuple[Path, str]]:
    """Each page with the text that it should have; raises ValueError where marks are missing."""
    areas = sorted({path.parent for path in SUITES.glob("*/test_*.py")})
    tables = {SUITES / "README.md": overview(areas), CAUSES: all_causes()}
    tables |= {area / "README.md": table(area) for area in areas}
    for page, made in tables.items():
        parts = _MARKED.split(page.read_text())
        if len(parts) != 4:
            raise ValueError(f"{page}: one pair of marks is needed around the table")
        before, begin, end, after = parts
        yield page, f"{before}{begin}{made}{end}{after}"


def overview(areas: list[Path]) -> str:
    """All claims, by area."""
    rows = [
        f"| [{one.area}]({one.area}/README.md) | {one.claim} | {one.profile} |"
        for area in areas
        for one in map(behaviour, sorted(area.glob("test_*.py")))
    ]
    return "\n".join(["| area | claim | profile |", "|---|---|---|", *rows, ""])


def table(area: Path) -> str:
    """One area's behaviours: what is claimed, which faults must break it, and the causes that a failure can name."""
    rows = []
    for path in sorted(area.glob("test_*.py")):
        one = behaviour(path)
        faults = "<br>".join(_shown(_fault(name, path), area) for name in one.breaks_when)
        likely = ", ".join(f"`{cause.id}`" for cause in causes_of(path))
        rows.append(f"| [{one.claim}]({path.name}) | {one.profile} | {faults} | {likely} |")
    meaning = os.path.relpath(CAUSES, area)
    head = [
        f"| claim | profile | fault that must break it | [causes]({meaning}) that a failure can name |",
        "|---|---|---|---|",
    ]
    return "\n".join([*head, *rows, ""])


def all_causes() -> str:
    """Every cause, what it means, and the faults whose failures must carry it."""
    rows = []
    for cause in catalogue_of_causes.REGISTRY:
        faults = [_linked(fault, CAUSES.parent) for fault in every_fault() if cause.id in fault.causes.values()]
        rows.append(f"| `{cause.id}` | {cause.text} | {', '.join(faults)} |")
    return "\n".join(["| cause | meaning | faults that make it |", "|---|---|---|", *rows, ""])


def causes_of(path: Path) -> list[Cause]:
    """Every cause that the checks of a test may name, in the order of the source."""
    named = [node.attr for node in _attributes(path)]
    checks = [node.attr for node in _attributes(path) if ast.unparse(node.value) == "checks"]
    return list(dict.fromkeys(cause for check in checks for cause in _named_by(check, named, set())))


@cache
def _attributes(path: Path) -> list[ast.Attribute]:
    return [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)]


def _named_by(name: str, members: Collection[str], seen: set[str]) -> Iterator[Cause]:
    """The causes in a definition of the checks, and in whatever else of the checks that uses."""
    seen.add(name)
    for node in _inside(_defined()[name], members):
        match node:
            case ast.Attribute(value=ast.Name(id=module), attr=constant) if module == _CAUSES:
                yield getattr(catalogue_of_causes, constant)
            case ast.Name(id=used) if used in _defined() and used not in seen:
                yield from _named_by(used, members, seen)


def _inside(node: ast.AST, members: Collection[str]) -> Iterator[ast.AST]:
    """All that a definition is made of, in the order of the source; of a table by members of an enumeration that a
    test names, their entries alone.
    """  # noqa: D205  # one sentence
    yield node
    if isinstance(node, ast.Dict):
        entries = list(zip(node.keys, node.values, strict=True))
        chosen = [value for key, value in entries if isinstance(key, ast.Attribute) and key.attr in members]
        for value in chosen or node.values:
            yield from _inside(value, members)
        return
    for child in ast.iter_child_nodes(node):
        yield from _inside(child, members)


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


def _fault(name: str, path: Path) -> Fault:
    for fault in every_fault():
        if fault.name == name:
            return fault
    raise ValueError(f"{path}: there is no fault {name!r}")


def _shown(fault: Fault, area: Path) -> str:
    """A fault with a link to its source and what it does."""
    return f"{_linked(fault, area)}: {fault.story.rstrip('.')}"


def _linked(fault: Fault, folder: Path) -> str:
    source = os.path.relpath(inspect.getsourcefile(fault.inject) or "", folder)
    return f"[{fault.name}]({source})"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
