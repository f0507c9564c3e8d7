"""What a rule finds: a cause with literal evidence, and what bears witness that it has an effect."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from splithorizon.diagnosis.causes import Cause
from splithorizon.diagnosis.reading.model import Cluster, Reading, name_of, namespace_of


@dataclass(frozen=True)
class Fact:
    """One field of one object, with what it holds: as ``Service remote/sample/helloworld``, ``spec.selector``."""

    object: str
    field: str
    value: str

    def __str__(self) -> str:
        """As a sentence has it."""
        return f"{self.object}: {self.field} {self.value}"


@dataclass(frozen=True)
class Symptom:
    """A check that failed, as its report has it."""

    behaviour: str
    route: str = ""
    failure: str = ""
    cause_ids: tuple[str, ...] = ()
    numbers: Mapping[str, float | str | None] = field(default_factory=dict)
    """What the check counted."""


class Layer(IntEnum):
    """Where in the mesh a cause is; what is lower makes what is higher follow, and is named first."""

    CONTROL_PLANE = 1
    MESH_CONFIG = 2
    NETWORK = 3
    GATEWAY = 4
    SERVICE = 5
    POD = 6
    TRUST = 7
    RULE = 8
    POLICY = 9
    PATH = 10
    LOG = 11
    LATENT = 12


@dataclass(frozen=True)
class Finding:
    """A cause that holds by its evidence. Without a ``witness`` it is a note: nothing shows that it has an effect.

    ``explains`` has the ids of the causes that checks name for what follows from it.
    """

    cause: Cause
    layer: Layer
    evidence: tuple[Fact, ...]
    fix: str = ""
    witness: str = ""
    explains: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Case:
    """What there is to decide by: a reading, and the checks that failed; none where no run asked."""

    reading: Reading
    symptoms: tuple[Symptom, ...] = ()

    def suspected(self, *causes: Cause) -> str:
        """A sentence on the first failed check that leaves one of these causes open; empty where none does."""
        wanted = {cause.id for cause in causes}
        for symptom in self.symptoms:
            if wanted & {*symptom.cause_ids}:
                where = f" ({symptom.route})" if symptom.route else ""
                return f"{symptom.behaviour}{where} failed"
        return ""

    def failed(self, *words: str) -> str:
        """A sentence on the first failed check whose name holds one of the words; empty where none does."""
        for symptom in self.symptoms:
            if any(word in symptom.behaviour for word in words):
                return f"{symptom.behaviour} failed"
        return ""


Rule = Callable[[Case], Iterable[Finding]]
RULES: list[Rule] = []


def rule(decide: Rule) -> Rule:
    """Register a function that yields findings of a case."""
    RULES.append(decide)
    return decide


def of(cluster: Cluster | str, one: Mapping[str, Any], kind: str = "") -> str:
    """An object as evidence names it: kind, cluster, namespace and name."""
    where = cluster if isinstance(cluster, str) else cluster.name
    parts = [where, *([space] if (space := namespace_of(one)) else []), name_of(one)]
    return f"{kind or one.get('kind', 'object')} {'/'.join(parts)}"


def shown(value: Any) -> str:
    """A value as evidence shows it: short, in one line, as a person types it."""
    match value:
        case bool():
            return str(value).lower()
        case None:
            return "not set"
        case dict() if not value:
            return "{}"
        case dict():
            text = ", ".join(
                f"{key}={shown(one) if not isinstance(one, dict) else '{' + shown(one) + '}'}"
                for key, one in value.items()
            )
        case list() | tuple():
            text = "[" + ", ".join(map(shown, value)) + "]"
        case _:
            text = str(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


_LONGEST = 200


def paths(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every field within a value, by its path, the deepest too."""
    if isinstance(value, Mapping):
        for key, one in value.items():
            path = f"{prefix}.{key}" if prefix else str(key)
            yield path, one
            yield from paths(one, path)
    elif isinstance(value, list | tuple):
        for number, one in enumerate(value):
            path = f"{prefix}[{number}]"
            yield path, one
            yield from paths(one, path)
