"""What a run leaves behind: ``report.json``, whole or not at all, strict, and without a secret."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from splithorizon import private, redaction
from splithorizon.not_restored import NotRestored
from splithorizon.progress import StepTime
from splithorizon.verdict import Verdict

SCHEMA = Path(__file__).resolve().parents[1] / "reports" / "report.schema.json"
SCHEMA_VERSION = 1
NAME = "report.json"
LATEST = "latest"

_TIMES = ("seconds", "started_after")

Redact = Callable[[str], str]


class InvalidReport(ValueError):
    """A report that is not what the schema promises its readers."""


@dataclass(frozen=True)
class BehaviourResult:
    """What one test found of one claim, on one route where the claim has routes.

    ``behaviour`` is the stem of the test's module; ``evidence`` holds each check's, as a dict.
    The three texts after it say what was expected and seen, why that may be, and how to look further;
    ``numbers`` is what the check that refuted the claim had counted, by name.
    """

    area: str
    behaviour: str
    claim: str
    nodeid: str
    verdict: Verdict
    seconds: float
    route: str = ""
    profile: str = ""
    key_number: str = ""
    evidence: tuple[Mapping[str, Any], ...] = ()
    failure: str = ""
    likely_cause: str = ""
    next_command: str = ""
    numbers: Mapping[str, float | str] = field(default_factory=dict)


@dataclass(frozen=True)
class NotClaimed:
    """A behaviour that this run made no claim about, and why."""

    behaviour: str
    reason: str


@dataclass(frozen=True)
class Totals:
    """Requests of all traffic samples, and the replies that were joined to their own log line."""

    requests: int = 0
    joined: int = 0
    unjoined: int = 0


@dataclass(frozen=True)
class RunReport:
    """One run, from its command line to its verdict; ``SCHEMA`` describes each field."""

    run_id: str
    started: str
    finished: str
    command: tuple[str, ...]
    versions: Mapping[str, Any]
    verdict: Verdict
    exit_status: int
    seed: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    topology: Mapping[str, Any] = field(default_factory=dict)
    steps: tuple[StepTime, ...] = ()
    behaviours: tuple[BehaviourResult, ...] = ()
    totals: Totals = Totals()
    inconclusive_reason: str = ""
    not_claimed: tuple[NotClaimed, ...] = ()
    not_restored: tuple[NotRestored, ...] = ()
    schema_version: int = SCHEMA_VERSION


def utc(moment: datetime | None = None) -> str:
    """Give a moment, by default now, as a report takes it: ISO 8601, UTC, milliseconds."""
    moment = (moment or datetime.now(UTC)).astimezone(UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def write(report: RunReport, folder: Path, redact: Redact = redaction.redact) -> Path:
    """Write ``report.json`` into ``folder`` and return its path; a reader never sees half of it.

    Raises InvalidReport, and writes nothing, where the schema does not take it.
    """
    content = _plain(asdict(report), redact)
    _require_valid(content)
    try:
        text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        raise InvalidReport(f"the report is not JSON: {error}") from None
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / NAME
    private.write(path, text + "\n", mode=private.SHARED)
    return path


def load(path: Path) -> RunReport:
    """Read a report that ``write`` left; raises InvalidReport for anything else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InvalidReport(f"{path} is not JSON: {error}") from None
    _require_valid(content)
    return RunReport(
        **content
        | {
            "command": tuple(content["command"]),
            "verdict": Verdict(content["verdict"]),
            "steps": tuple(StepTime(**step) for step in content["steps"]),
            "behaviours": tuple(_behaviour(result) for result in content["behaviours"]),
            "totals": Totals(**content["totals"]),
            "not_claimed": tuple(NotClaimed(**entry) for entry in content["not_claimed"]),
            "not_restored": tuple(NotRestored(**entry) for entry in content.get("not_restored", [])),
        }
    )


def point_latest(reports: Path, run_folder: Path) -> Path:
    """Let ``reports/latest`` point to the run's folder; at every moment it points to some run.

    The link is relative, so that the reports can be moved. Raises FileExistsError where a file or
    folder that is not ours has that name.
    """
    latest = reports / LATEST
    if latest.exists() and not latest.is_symlink():
        raise FileExistsError(f"{latest} is no link of this suite's: move it away, then run again")
    beside = reports / f".{LATEST}.{uuid.uuid4().hex}"
    try:
        beside.symlink_to(os.path.relpath(run_folder, reports), target_is_directory=True)
        beside.replace(latest)
    finally:
        beside.unlink(missing_ok=True)
    return latest


def _behaviour(content: dict[str, Any]) -> BehaviourResult:
    result = BehaviourResult(**content)
    return replace(result, verdict=Verdict(result.verdict), evidence=tuple(result.evidence))


def _plain(value: Any, redact: Redact, name: str = "") -> Any:
    """Make it JSON data without secrets; a text is judged with the name that it stands under."""
    if isinstance(value, str):
        label = f"{name}: " if name else ""
        return redact(label + value).removeprefix(label)
    if isinstance(value, Mapping):
        return {redact(str(key)): _plain(entry, redact, str(key)) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry, redact, name) for entry in value]
    # Only times: a probability of a millionth must not become none.
    return round(value, 3) if name in _TIMES else value


def _require_valid(content: Any) -> None:
    # Imported late: collecting tests must stay fast, and most runs of pytest write no report.
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import relevance

    validator = Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))
    errors = sorted(validator.iter_errors(content), key=relevance)
    if errors:
        said = "; ".join(f"{error.json_path}: {error.message}" for error in errors[:5])
        raise InvalidReport(f"the report breaks {SCHEMA.name} in {len(errors)} place(s): {said}"[:2000])
