"""The behaviours of the suites, read from their source without importing it.

This module is the only reader of a behaviour's source: its claim is the first sentence of the docstring, its profile
and its faults are the arguments of ``@behaviour``, and its test names the checks that it calls.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Profile(StrEnum):
    """A group of behaviours that a run claims or does not claim as a whole."""

    CORE = "core"
    EXTENDED = "extended"
    SECURITY = "security"
    DISRUPTIVE = "disruptive"
    CLEANUP = "cleanup"


EVERYDAY = (Profile.CORE, Profile.EXTENDED, Profile.SECURITY)


@dataclass(frozen=True)
class Behaviour:
    """A module of the suites, with its single test."""

    path: Path
    claim: str
    """One sentence, without its full stop."""
    breaks_when: tuple[str, ...]
    """The registered faults that must refute the claim, the primary one first."""
    profile: Profile
    checks: tuple[str, ...] = ()
    """The names of the functions of ``splithorizon.checks`` that the module calls, without repetitions."""
    attributes: tuple[str, ...] = ()
    """The name of every attribute in the module; members of enumerations are among them."""
    latent: bool = False
    """Whether traffic does not need what it claims: where it is refuted, the next pod, proxy or token fails."""

    @property
    def name(self) -> str:
        """The name of the module, which reports, faults and exemptions use for the behaviour."""
        return self.path.stem

    @property
    def area(self) -> str:
        """The name of its folder."""
        return self.path.parent.name


def behaviours(suites: Path) -> list[Behaviour]:
    """Every behaviour, sorted by area and name. Raises ValueError as ``behaviour`` does."""
    return [behaviour(path) for path in sorted(suites.glob("*/test_*.py"))]


def behaviour(path: Path) -> Behaviour:
    """Read a behaviour. Raises ValueError if no test has a decorator ``@behaviour`` or its arguments are invalid."""
    module = ast.parse(path.read_text())
    attributes = [node for node in ast.walk(module) if isinstance(node, ast.Attribute)]
    checks = dict.fromkeys(node.attr for node in attributes if ast.unparse(node.value) == "checks")
    claim = " ".join((ast.get_docstring(module) or "").partition("\n\n")[0].split()).rstrip(".")
    data = _decorator(module, path)
    try:
        profile, breaks_when = checked(data.get("profile"), data.get("breaks_when"))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return Behaviour(
        path, claim, breaks_when, profile, tuple(dict.fromkeys(checks)), tuple(node.attr for node in attributes),
        latent=data.get("latent") is True,
    )  # fmt: skip


def checked(profile: object, breaks_when: object) -> tuple[Profile, tuple[str, ...]]:
    """Validate the arguments of ``@behaviour``; a single fault becomes a tuple. Raises ValueError if one is invalid."""
    if not isinstance(profile, str) or profile not in set(Profile):
        raise ValueError(_unknown_profile(profile))
    faults = (breaks_when,) if isinstance(breaks_when, str) else breaks_when
    if not isinstance(faults, tuple) or not faults or not all(isinstance(fault, str) and fault for fault in faults):
        raise ValueError(f"breaks_when is {breaks_when!r}: the name of a registered fault is needed, or several")
    return Profile(profile), faults


def parse_profiles(text: str) -> tuple[Profile, ...]:
    """Parse a list such as ``core,security``, or ``all``. Raises ValueError for an unknown profile."""
    names = [name.strip() for name in text.split(",")]
    if names == ["all"]:
        return tuple(Profile)
    if unknown := [name for name in names if name not in set(Profile)]:
        raise ValueError(f"{_unknown_profile(unknown[0])}, or all")
    return tuple(profile for profile in Profile if profile in names)


def selected_by(expression: str) -> tuple[Profile, ...]:
    """The profiles that an expression of ``-m`` names: ``security`` names one, and ``not disruptive`` none.

    Empty if the expression contains anything but names, ``and``, ``or``, ``not`` and parentheses.
    """
    try:
        parsed = ast.parse(expression.strip(), mode="eval").body
        if _selects(parsed, ""):
            return ()
        return tuple(profile for profile in Profile if _selects(parsed, profile))
    except (SyntaxError, ValueError):
        return ()


def unclaimed(
    known: Collection[Behaviour],
    profiles: Collection[Profile],
    *,
    named: Collection[Path],
    refused: Mapping[Profile, str],
) -> dict[str, str]:
    """The behaviours that a run does not claim, each with the reason.

    A behaviour is claimed if its profile is in ``profiles`` or its module in ``named``, but never if its profile is in
    ``refused``, which maps profiles to reasons.
    """
    reasons = {}
    for behaviour in known:
        if behaviour.profile in refused:
            reasons[behaviour.name] = refused[behaviour.profile]
        elif behaviour.profile not in profiles and behaviour.path not in named:
            reasons[behaviour.name] = f"of profile {behaviour.profile}, which was not asked for"
    return reasons


def _selects(expression: ast.expr, mark: str) -> bool:
    """Whether an expression selects a test that has only this mark. Raises ValueError for other expressions."""
    match expression:
        case ast.Name(id=name):
            return name == mark
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return not _selects(operand, mark)
        case ast.BoolOp(op=ast.And(), values=values):
            return all(_selects(value, mark) for value in values)
        case ast.BoolOp(values=values):
            return any(_selects(value, mark) for value in values)
        case _:
            raise ValueError(f"{ast.unparse(expression)} is not an expression of marks")


def _unknown_profile(name: object) -> str:
    return f"there is no profile {name!r}: {', '.join(Profile)}"


def _decorator(module: ast.Module, path: Path) -> dict[str, object]:
    """The arguments of the first ``@behaviour(…)``. Raises ValueError if it is missing, or if they are not literals."""
    tests = [node for node in module.body if isinstance(node, ast.FunctionDef)]
    for decorator in (decorator for test in tests for decorator in test.decorator_list):
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "behaviour":
            try:
                return {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in decorator.keywords}
            except ValueError:
                raise ValueError(f"{path}: the arguments of @behaviour are not literals") from None
    raise ValueError(f"{path}: no test has a decorator @behaviour")
