"""Writes the generated parts of the suites' README files and of ``docs/causes.md``.

Behaviours, with the checks that they call, come from ``splithorizon.run.catalogue``. Causes come from the source of the
checks, manifests from the line ``# Used by:`` in their heads, and a fault's manifests from its source.
``python -m docs.tables`` rewrites the pages. With ``--check`` it writes nothing, prints the differences, and exits
with 1 if there are any.
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
from splithorizon.diagnosis import causes, root_causes
from splithorizon.diagnosis.causes import Cause
from splithorizon.run import catalogue
from splithorizon.run.catalogue import Behaviour

REPOSITORY = Path(__file__).resolve().parents[1]
SUITES = REPOSITORY / "suites"
MANIFESTS = REPOSITORY / "manifests"
FAULTS = REPOSITORY / "proof" / "faults"
CHECKS = REPOSITORY / "splithorizon" / "checks"
CAUSES = REPOSITORY / "docs" / "causes.md"

_BETWEEN_MARKS = re.compile(r"(<!-- made by docs/tables\.py -->\n).*?(<!-- end -->)", re.DOTALL)
# The name under which checks import the module of causes.
_CAUSES_MODULE = "causes"
_WIDTH = 120
# One word, or one link with the punctuation that follows it: a line is broken between two of them.
_UNBREAKABLE = re.compile(r"\[[^\]]*\]\([^)]*\)\S*|\S+")
_USED_BY = re.compile(r"^# Used by: (.*)$", re.MULTILINE)


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
    """Each page with its generated text. Raises ValueError for a page without the marks."""
    behaviours = catalogue.behaviours(SUITES)
    areas = dict.fromkeys(behaviour.path.parent for behaviour in behaviours)
    generated = {SUITES / "README.md": overview(behaviours), CAUSES: all_causes()}
    generated |= {area / "README.md": behaviours_of(area) for area in areas}
    for page, text in generated.items():
        parts = _BETWEEN_MARKS.split(page.read_text())
        if len(parts) != 4:
            raise ValueError(f"{page}: one pair of marks is needed around the generated part")
        before, begin, end, after = parts
        yield page, f"{before}{begin}{text}{end}{after}"


def overview(behaviours: Collection[Behaviour]) -> str:
    """All claims, by area, each linked to its test."""
    rows = [
        f"| [{each.area}]({each.area}/README.md) | [{each.claim}]({each.area}/{each.path.name}) | {each.profile} |"
        for each in behaviours
    ]
    return "\n".join(["| area | claim | profile |", "|---|---|---|", *rows, ""])


def behaviours_of(area: Path) -> str:
    """One section for each behaviour of an area: test, checks, manifests, faults, and causes."""
    meaning = os.path.relpath(CAUSES, area)
    sections = []
    for behaviour in catalogue.behaviours(area.parent):
        if behaviour.area != area.name:
            continue
        name, demanded, file = behaviour.name, behaviour.breaks_when, behaviour.path.name
        faults = [_fault_line(_fault(fault, behaviour.path), name, area) for fault in demanded]
        others = [fault for fault in every_fault() if name in fault.breaks and fault.name not in demanded]
        named = ", ".join(f"`{cause.id}`" for cause in causes_of(behaviour))
        lines = [
            f"- test: [{file}]({file}), profile `{behaviour.profile}`",
            f"- checks: {', '.join(_check_link(check, area) for check in behaviour.checks)}",
            f"- manifests: {_manifest_links(manifests_of(name), area) or _common(area)}",
            *(f"- fault that must break it: {line}" for line in faults),
            *([f"- also broken by: {', '.join(_linked(fault, area) for fault in others)}"] if others else []),
            f"- [causes]({meaning}) that a failure can name: {named}",
        ]
        sections.append("\n".join([f"### {behaviour.claim}", "", *(_wrapped(line) for line in lines), ""]))
    return "\n" + "\n".join(sections) + "\n"


def all_causes() -> str:
    """Every cause, what it means, the command that confirms it, and the faults whose failures must carry it.

    Then those that no check names, with the faults whose root cause they are.
    """
    rows = []
    for cause in causes.REGISTRY:
        faults = [_linked(fault, CAUSES.parent) for fault in every_fault() if cause.id in fault.causes.values()]
        command = f"`{cause.next_step.format(near='near', far='far')}`".replace("|", "\\|") if cause.next_step else ""
        rows.append(f"| `{cause.id}` | {cause.text} | {command} | {', '.join(faults)} |")
    read = []
    for cause in root_causes.READ:
        faults = [_linked(fault, CAUSES.parent) for fault in every_fault() if cause.id == fault.root_cause]
        read.append(f"| `{cause.id}` | {cause.text} | {', '.join(faults)} |")
    return "\n".join(
        [
            "| cause | meaning | next step | faults that make it |", "|---|---|---|---|", *rows, "",
            "### What only a reading of the mesh names", "",
            "| root cause | meaning | faults that make it |", "|---|---|---|", *read, "",
        ]
    )  # fmt: skip


def causes_of(behaviour: Behaviour) -> list[Cause]:
    """Every cause that a failure of the behaviour can name, in the order of the checks' source."""
    used = behaviour.attributes
    return list(dict.fromkeys(cause for check in behaviour.checks for cause in _causes_in(check, used, set())))


def manifests_of(name: str) -> list[Path]:
    """The manifests that name a behaviour in their head."""
    return [
        path
        for path in sorted(MANIFESTS.rglob("*.yaml"))
        if name in ", ".join(_USED_BY.findall(path.read_text())).split(", ")
    ]


def manifests_in(fault: Fault) -> list[Path]:
    """The manifests of ``manifests/faults`` that a fault applies, as far as its source names them."""
    names = sorted(set(_files_in(fault.inject.__name__, set())))
    return [path for name in names if (path := MANIFESTS / "faults" / name).is_file()]


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
    """Every node of a definition, in the order of the source.

    Where a dictionary is keyed by members of an enumeration, only the entries count whose member the test names.
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
    """The functions and constants of all checks, by name."""
    return _top_level(CHECKS)


@cache
def _home(name: str) -> Path:
    """The module that defines a check."""
    return next(path for path in sorted(CHECKS.glob("*.py")) if name in _top_level(path))


@cache
def _top_level(place: Path) -> Mapping[str, ast.AST]:
    """The functions of a module, or of all modules in a folder, and the values of their constants, by name."""
    defined: dict[str, ast.AST] = {}
    for path in sorted(place.glob("*.py")) if place.is_dir() else [place]:
        for node in ast.parse(path.read_text()).body:
            match node:
                case ast.FunctionDef(name=name):
                    defined[name] = node
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    defined[name] = value
    return defined


def _files_in(name: str, seen: set[str]) -> Iterator[str]:
    """The YAML files that a definition of the faults names, and that the definitions name which it uses."""
    seen.add(name)
    faults = _top_level(FAULTS)
    for node in ast.walk(faults[name]):
        match node:
            case ast.Constant(value=str(text)) if text.endswith(".yaml"):
                yield text
            case ast.Name(id=used) if used in faults and used not in seen:
                yield from _files_in(used, seen)


def _fault(name: str, path: Path) -> Fault:
    for fault in every_fault():
        if fault.name == name:
            return fault
    raise ValueError(f"{path}: there is no fault {name!r}")


def _fault_line(fault: Fault, name: str, area: Path) -> str:
    """A fault with links to its source and manifests, what it does, and the causes of the check and of the run."""
    source = os.path.relpath(inspect.getsourcefile(fault.inject) or "", area)
    function = f"[{fault.inject.__name__}]({source})"
    files = _manifest_links(manifests_in(fault), area)
    cause = f" Cause on the check: `{fault.causes[name]}`." if fault.causes.get(name) else ""
    if fault.root_cause and fault.root_cause != fault.causes.get(name):
        cause += f" Root cause of the run: `{fault.root_cause}`."
    manifest = f"with {files}" if files else "without a manifest"
    return f"`{fault.name}`, function {function} {manifest}. {fault.story.rstrip('.')}.{cause}"


def _linked(fault: Fault, folder: Path) -> str:
    source = os.path.relpath(inspect.getsourcefile(fault.inject) or "", folder)
    return f"[{fault.name}]({source})"


def _check_link(check: str, folder: Path) -> str:
    home = _home(check)
    return f"[{home.stem}.{check}]({os.path.relpath(home, folder)})"


def _manifest_links(files: Collection[Path], folder: Path) -> str:
    return ", ".join(f"[{path.name}]({os.path.relpath(path, folder)})" for path in files)


def _common(folder: Path) -> str:
    """What a behaviour without manifests of its own stands on."""
    links = (f"[{name}]({os.path.relpath(MANIFESTS / name, folder)})" for name in ("workloads", "istio"))
    return f"only the common ones, {' and '.join(links)}"


def _wrapped(item: str) -> str:
    """An item of a list as lines of readable width; of a link its text counts, and its target does not."""
    lines: list[str] = []
    room = 0
    for part in _UNBREAKABLE.findall(item):
        shown = len(re.sub(r"\]\([^)]*\)", "]", part))
        if lines and shown < room:
            lines[-1] += f" {part}"
            room -= shown + 1
        else:
            lines.append(f"  {part}" if lines else part)
            room = _WIDTH - shown - 2
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
