"""``splithorizon.toml`` in the current folder: options that need not be typed, and exemptions with a last day."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from splithorizon.base.errors import UsageProblem
from splithorizon.run.option_table import EXEMPT, Option

NAME = "splithorizon.toml"
_REASON, _UNTIL = "reason", "until"


@dataclass(frozen=True)
class Exemption:
    """A behaviour that is left out, with the reason, and the last day of that where there is one."""

    behaviour: str
    reason: str
    until: date | None = None

    def __str__(self) -> str:
        """As ``--exempt`` takes it."""
        return f"{self.behaviour}={self.reason}" + (f" (until {self.until})" if self.until else "")


@dataclass(frozen=True)
class ConfigFile:
    """What the file holds, by the options' names; empty where there is no file."""

    path: Path
    values: Mapping[str, Any] = field(default_factory=dict)
    exemptions: tuple[Exemption, ...] = ()

    @property
    def defaults(self) -> dict[str, Any]:
        """The options' defaults: what is typed replaces them, and exemptions are added to."""
        return {**self.values, **({EXEMPT: list(map(str, self.exemptions))} if self.exemptions else {})}

    def require_current(self, today: date) -> None:
        """Raise UsageProblem where an exemption's last day is over."""
        for exemption in self.exemptions:
            if exemption.until and today > exemption.until:
                raise UsageProblem(
                    f"{self.path}: the exemption of {exemption.behaviour} ended with {exemption.until} "
                    f"({exemption.reason}): remove it, or decide on another date. Nothing was created."
                )


def read(folder: Path, options: Iterable[Option]) -> ConfigFile:
    """Read the file in a folder. Raises UsageProblem, with the file and the key, for what is no option or no value."""
    path = folder / NAME
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return ConfigFile(path)
    except (OSError, ValueError) as error:
        raise UsageProblem(f"{path}: {error}. Nothing was created.") from None
    known = {option.name: option for option in options if option.in_file}
    values: dict[str, Any] = {}
    exemptions: tuple[Exemption, ...] = ()
    for key, value in content.items():
        try:
            if key not in known:
                raise ValueError(f"there is no such option; known are {', '.join(sorted(known))}")
            if key == EXEMPT:
                exemptions = tuple(_exemption(name, entry) for name, entry in _table(value).items())
            else:
                values[key] = known[key].parse(value)
        except ValueError as error:
            raise UsageProblem(f"{path}: {key}: {error}. Nothing was created.") from None
    return ConfigFile(path, values, exemptions)


def _exemption(behaviour: str, entry: Any) -> Exemption:
    found = _table(entry)
    if unknown := sorted(found.keys() - {_REASON, _UNTIL}):
        raise ValueError(f"{behaviour}: {', '.join(unknown)} is neither {_REASON} nor {_UNTIL}")
    reason, until = found.get(_REASON), found.get(_UNTIL)
    if not isinstance(reason, str) or not reason.strip():
        raise ValueError(f"{behaviour}: a {_REASON} is needed")
    # A moment is a date too, to Python.
    if until is not None and type(until) is not date:
        raise ValueError(f"{behaviour}: {_UNTIL} is a date, such as 2027-03-31, and not {until!r}")
    return Exemption(behaviour, reason.strip(), until)


def _table(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f'{value!r} is no table: write [exempt.NAME] with {_REASON} = "…" below it')
    return value
