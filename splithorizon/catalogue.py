"""What the suites say of themselves: each behaviour's claim, its fault and its profile, from its module's docstring."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

_SECTION = r"^{}\s+(.*?)(?=\n\S|\Z)"


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
    """One module of the suites: what it claims, what must break it, and the profile that it belongs to."""

    path: Path
    claim: str
    fault: str
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
    """One behaviour; raises ValueError where its docstring lacks its fault or names no profile."""
    text = ast.get_docstring(ast.parse(path.read_text())) or ""
    claim = " ".join(text.partition("\n\n")[0].split()).rstrip(".")
    profile = _section("Profile", text, path)
    if profile not in set(Profile):
        raise ValueError(f"{path}: {_no_profile(profile)}")
    return Behaviour(path, claim, _section("Breaks when", text, path), Profile(profile))


def parse_profiles(text: str) -> tuple[Profile, ...]:
    """Read ``core,security``, or ``all``; raises ValueError for a name that is none."""
    names = [name.strip() for name in text.split(",")]
    if names == ["all"]:
        return tuple(Profile)
    if unknown := [name for name in names if name not in set(Profile)]:
        raise ValueError(f"{_no_profile(unknown[0])}, or all")
    return tuple(profile for profile in Profile if profile in names)


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


def _no_profile(name: str) -> str:
    return f"there is no profile {name!r}: {', '.join(Profile)}"


def _section(name: str, text: str, path: Path) -> str:
    found = re.search(_SECTION.format(name), text, re.MULTILINE | re.DOTALL)
    if found is None:
        raise ValueError(f"{path}: the docstring has no {name!r}")
    return " ".join(found[1].split())
