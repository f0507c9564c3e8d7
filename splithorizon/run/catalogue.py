"""What the suites say of themselves: each behaviour's claim, from its docstring, and its data, from its decorator."""

from __future__ import annotations

import ast
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Profile(StrEnum):
    """A part of the catalogue that is claimed, or not, as a whole."""

    CORE = "core"
    EXTENDED = "extended"
    SECURITY = "security"
    DISRUPTIVE = "disruptive"
    CLEANUP = "cleanup"


EVERYDAY = (Profile.CORE, Profile.EXTENDED, Profile.SECURITY)


@dataclass(frozen=True)
class Behaviour:
    """One module of the suites: what it claims, the faults that must break it, and the profile that it belongs to."""

    path: Path
    claim: str
    breaks_when: tuple[str, ...]
    profile: Profile

    @property
    def name(self) -> str:
        """The module's stem, by which reports, faults and exemptions know the behaviour."""
        return self.path.stem

    @property
    def area(self) -> str:
        """The folder that it lies in."""
        return self.path.parent.name


def behaviours(suites: Path) -> list[Behaviour]:
    """Every behaviour, by area and name; raises ValueError for a module that does not say what it is."""
    return [behaviour(path) for path in sorted(suites.glob("*/test_*.py"))]


def behaviour(path: Path) -> Behaviour:
    """One behaviour, by its docstring and the decorator ``@behaviour`` of its first test; nothing is imported.

    Raises ValueError where there is no such decorator, or where it names no profile or no fault.
    """
    module = ast.parse(path.read_text())
    claim = " ".join((ast.get_docstring(module) or "").partition("\n\n")[0].split()).rstrip(".")
    data = _decorator(module, path)
    try:
        profile, breaks_when = checked(data.get("profile"), data.get("breaks_when"))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return Behaviour(path, claim, breaks_when, profile)


def checked(profile: object, breaks_when: object) -> tuple[Profile, tuple[str, ...]]:
    """The data of ``@behaviour``, with one fault as a tuple of one; raises ValueError for what it may not be."""
    if not isinstance(profile, str) or profile not in set(Profile):
        raise ValueError(_no_profile(profile))
    faults = (breaks_when,) if isinstance(breaks_when, str) else breaks_when
    if not isinstance(faults, tuple) or not faults or not all(isinstance(one, str) and one for one in faults):
        raise ValueError(f"breaks_when is {breaks_when!r}: the name of a registered fault is needed, or several")
    return Profile(profile), faults


def parse_profiles(text: str) -> tuple[Profile, ...]:
    """Read ``core,security``, or ``all``; raises ValueError for a name that is none."""
    names = [name.strip() for name in text.split(",")]
    if names == ["all"]:
        return tuple(Profile)
    if unknown := [name for name in names if name not in set(Profile)]:
        raise ValueError(f"{_no_profile(unknown[0])}, or all")
    return tuple(profile for profile in Profile if profile in names)


def selected_by(expression: str) -> tuple[Profile, ...]:
    """The profiles that an expression of ``-m`` asks for; ``security`` asks for one, and ``not disruptive`` for none.

    None for an expression with more in it than names, ``and``, ``or``, ``not`` and brackets.
    """
    try:
        parsed = ast.parse(expression.strip(), mode="eval").body
        if _holds(parsed, ""):
            return ()
        return tuple(profile for profile in Profile if _holds(parsed, profile))
    except (SyntaxError, ValueError):
        return ()


def unclaimed(
    known: Collection[Behaviour],
    profiles: Collection[Profile],
    *,
    named: Collection[Path],
    refused: Mapping[Profile, str],
) -> dict[str, str]:
    """The behaviours that a run makes no claim about, each with the reason; those in ``named`` were asked for.

    What is ``refused``, each profile with the reason, nobody gets, not even who asks for it by name.
    """
    reasons = {}
    for one in known:
        if one.profile in refused:
            reasons[one.name] = refused[one.profile]
        elif one.profile not in profiles and one.path not in named:
            reasons[one.name] = f"of profile {one.profile}, which was not asked for"
    return reasons


def _holds(expression: ast.expr, mark: str) -> bool:
    """Whether an expression selects a test with this mark alone; raises ValueError for other kinds of expression."""
    match expression:
        case ast.Name(id=name):
            return name == mark
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return not _holds(operand, mark)
        case ast.BoolOp(op=ast.And(), values=values):
            return all(_holds(value, mark) for value in values)
        case ast.BoolOp(values=values):
            return any(_holds(value, mark) for value in values)
        case _:
            raise ValueError(f"{ast.unparse(expression)} is no expression of marks")


def _no_profile(name: object) -> str:
    return f"there is no profile {name!r}: {', '.join(Profile)}"


def _decorator(module: ast.Module, path: Path) -> dict[str, object]:
    """The arguments of the first ``@behaviour(…)``, which have to be literals."""
    tests = [node for node in module.body if isinstance(node, ast.FunctionDef)]
    for call in (one for test in tests for one in test.decorator_list):
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "behaviour":
            try:
                return {str(given.arg): ast.literal_eval(given.value) for given in call.keywords}
            except ValueError:
                raise ValueError(f"{path}: the arguments of @behaviour are not literals") from None
    raise ValueError(f"{path}: no test has a decorator @behaviour")
