"""Generates the tables in the suites' README files and the table of causes.

Behaviours come from ``splithorizon.run.catalogue``, faults from ``proof.faults``, and causes from
``splithorizon.diagnosis.causes``. The causes that a behaviour's failure can name are read from the source of the checks
that its test calls. ``python -m docs.tables`` writes the tables. With ``--check`` it prints the differences and exits
with 1 if there are any.
"""

from __future__ import annotations

import ast
import difflib
import inspect
import os
import re
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cache
from itertools import groupby
from pathlib import Path

from proof.faults import every_fault
from proof.faults.registry import Fault
from splithorizon.diagnosis import causes
from splithorizon.diagnosis.causes import Cause
from splithorizon.run import catalogue
from splithorizon.run.catalogue import Behaviour

REPOSITORY = Path(__file__).resolve().parents[1]
SUITES = REPOSITORY / "suites"
CHECKS = REPOSITORY / "splithorizon" / "checks"
CAUSES = REPOSITORY / "docs" / "causes.md"

_BETWEEN_MARKS = re.compile(r"(<!-- made by docs/tables\.py -->\n).*?(<!-- end -->)", re.DOTALL)
# The name under which checks import the module of causes.
_CAUSES_MODULE = "causes"


def main(arguments: list[str]) -> int:
    """Write the tables, or with ``--check`` compare them. Return the exit status."""
    stale = [(page, text) for page, text in pages() if page.read_text() != text]
    for page, text in stale:
        if "--check" not in arguments:
            page.write_text(text)
            continue
        name = os.path.relpath(page, REPOSITORY)
        current, generated = page.read_text().splitlines(True), text.splitlines(True)
        sys.stdout.writelines(difflib.unified_diff(current, generated, name, name))
    return int(bool(stale) and "--check" in arguments)


def pages() -> Iterator[tuple[Path, str]]:
    """Each page with its generated text. Raises ValueError for a page without a pair of marks around its table."""
    behaviours = catalogue.behaviours(SUITES)
    tables = {SUITES / "README.md": overview(behaviours), CAUSES: all_causes()}
    for folder, members in groupby(behaviours, key=lambda behaviour: behaviour.path.parent):
        tables[folder / "README.md"] = area_table(folder, list(members))
    for page, generated in tables.items():
        parts = _BETWEEN_MARKS.split(page.read_text())
        if len(parts) != 4:
            raise ValueError(f"{page}: one pair of marks is needed around the table")
        before, begin, end, after = parts
        yield page, f"{before}{begin}{generated}{end}{after}"


def overview(behaviours: Sequence[Behaviour]) -> str:
    """The table of all claims, by area."""
    rows = [
        f"| [{behaviour.area}]({behaviour.area}/README.md) | {behaviour.claim} | {behaviour.profile} |"
        for behaviour in behaviours
    ]
    return "\n".join(["| area | claim | profile |", "|---|---|---|", *rows, ""])


def area_table(area: Path, behaviours: Sequence[Behaviour]) -> str:
    """The table of an area: claims, the faults that must refute them, and the causes that a failure can name."""
    rows = []
    for behaviour in behaviours:
        faults = "<br>".join(_described(_fault(name, behaviour.path), area) for name in behaviour.breaks_when)
        named = ", ".join(f"`{cause.id}`" for cause in causes_of(behaviour))
        rows.append(f"| [{behaviour.claim}]({behaviour.path.name}) | {behaviour.profile} | {faults} | {named} |")
    meaning = os.path.relpath(CAUSES, area)
    head = [
        f"| claim | profile | fault that must break it | [causes]({meaning}) that a failure can name |",
        "|---|---|---|---|",
    ]
    return "\n".join([*head, *rows, ""])


def all_causes() -> str:
    """The table of all causes: their meanings, and the faults whose failures must carry them."""
    rows = []
    for cause in causes.REGISTRY:
        faults = [_linked(fault, CAUSES.parent) for fault in every_fault() if cause.id in fault.causes.values()]
        rows.append(f"| `{cause.id}` | {cause.text} | {', '.join(faults)} |")
    return "\n".join(["| cause | meaning | faults that make it |", "|---|---|---|", *rows, ""])


def causes_of(behaviour: Behaviour) -> list[Cause]:
    """Every cause that a failure of the behaviour can name, in the order of the checks' source."""
    used = behaviour.attributes
    return list(dict.fromkeys(cause for check in behaviour.checks for cause in _causes_in(check, used, set())))


def _causes_in(name: str, members: Collection[str], visited: set[str]) -> Iterator[Cause]:
    """The causes in a definition of the checks, and in the definitions that it uses."""
    visited.add(name)
    for node in _nodes(_definitions()[name], members):
        match node:
            case ast.Attribute(value=ast.Name(id=module), attr=constant) if module == _CAUSES_MODULE:
                yield getattr(causes, constant)
            case ast.Name(id=used) if used in _definitions() and used not in visited:
                yield from _causes_in(used, members, visited)


def _nodes(node: ast.AST, members: Collection[str]) -> Iterator[ast.AST]:
    """All nodes of a definition, in the order of the source.

    Of a dictionary whose keys are members of an enumeration, only the values of ``members`` count, if there are any.
    """
    yield node
    if isinstance(node, ast.Dict):
        entries = list(zip(node.keys, node.values, strict=True))
        chosen = [value for key, value in entries if isinstance(key, ast.Attribute) and key.attr in members]
        for value in chosen or node.values:
            yield from _nodes(value, members)
        return
    for child in ast.iter_child_nodes(node):
        yield from _nodes(child, members)


@cache
def _definitions() -> Mapping[str, ast.AST]:
    """The functions and the values of constants in all modules of checks, by name."""
    definitions: dict[str, ast.AST] = {}
    for path in sorted(CHECKS.glob("*.py")):
        for node in ast.parse(path.read_text()).body:
            match node:
                case ast.FunctionDef(name=name):
                    definitions[name] = node
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    definitions[name] = value
    return definitions


def _fault(name: str, path: Path) -> Fault:
    for fault in every_fault():
        if fault.name == name:
            return fault
    raise ValueError(f"{path}: there is no fault {name!r}")


def _described(fault: Fault, area: Path) -> str:
    """A fault, with a link to its source, and what it does."""
    return f"{_linked(fault, area)}: {fault.story.rstrip('.')}"


def _linked(fault: Fault, folder: Path) -> str:
    source = os.path.relpath(inspect.getsourcefile(fault.inject) or "", folder)
    return f"[{fault.name}]({source})"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
