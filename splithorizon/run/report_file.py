"""The file ``report.json``. It is written completely or not at all, and contains no secret.

Reports of version 1 can be read as well, by ``splithorizon.run.report_v1``.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from splithorizon.base import private_file
from splithorizon.run import redaction, report_v1
from splithorizon.run.report import ADAPTER, SCHEMA, RunReport

NAME = "report.json"
LATEST = "latest"

_TIMES = ("seconds", "started_after")
_PROBLEMS_SHOWN = 5

Redact = Callable[[str], str]


class InvalidReport(ValueError):
    """A report that does not match the schema."""


def write(report: RunReport, folder: Path, redact: Redact = redaction.redact) -> Path:
    """Write ``report.json`` into ``folder`` atomically, and return its path.

    Raises InvalidReport, and writes nothing, if the redacted report does not match the schema.
    """
    content = _redacted(ADAPTER.dump_python(report, mode="json"), redact)
    text = json.dumps(content, indent=2, ensure_ascii=False)
    _read(text, f"the report of run {report.run_id}")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / NAME
    private_file.write(path, text + "\n", mode=private_file.SHARED)
    return path


def in_one_line(path: Path) -> str:
    """A report as one line of ASCII, for a log that is read line by line."""
    return json.dumps(json.loads(path.read_text(encoding="utf-8")), separators=(",", ":"))


def load(path: Path) -> RunReport:
    """Read a report of version 2 or 1. Raises InvalidReport for anything else."""
    text = path.read_text(encoding="utf-8")
    try:
        content = json.loads(text)
    except ValueError as error:
        raise InvalidReport(f"{path} is not JSON: {error}") from None
    if isinstance(content, dict) and content.get("schema_version") == report_v1.SCHEMA_VERSION:
        try:
            text = json.dumps(report_v1.converted(content))
        except (KeyError, TypeError, AttributeError) as error:
            raise InvalidReport(f"{path} is no report of version 1: {type(error).__name__}: {error}") from None
    return _read(text, str(path))


def point_latest(reports: Path, run_folder: Path) -> Path:
    """Make ``reports/latest`` a symbolic link to the run's folder, by an atomic replacement.

    The link is relative, so that the reports can be moved. Raises FileExistsError if a file or folder has that name.
    """
    latest = reports / LATEST
    if latest.exists() and not latest.is_symlink():
        raise FileExistsError(f"{latest} is not a link that this suite created: move it away, then run again")
    temporary = reports / f".{LATEST}.{uuid.uuid4().hex}"
    try:
        temporary.symlink_to(os.path.relpath(run_folder, reports), target_is_directory=True)
        temporary.replace(latest)
    finally:
        temporary.unlink(missing_ok=True)
    return latest


def _read(text: str, what: str) -> RunReport:
    """Validate JSON without conversions: a number in quotes is not a number."""
    try:
        return ADAPTER.validate_json(text, strict=True)
    except ValidationError as invalid:
        errors = invalid.errors(include_url=False, include_input=False)
        places = "; ".join(f"{_json_path(error['loc'])}: {error['msg']}" for error in errors[:_PROBLEMS_SHOWN])
        raise InvalidReport(f"{what} breaks {SCHEMA.name} in {len(errors)} place(s): {places}"[:2000]) from None


def _json_path(location: tuple[int | str, ...]) -> str:
    return "$" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)


def _redacted(value: Any, redact: Redact, name: str = "") -> Any:
    """Convert a value to JSON data without secrets. A text is redacted together with the name of its field."""
    if isinstance(value, str):
        label = f"{name}: " if name else ""
        return redact(label + value).removeprefix(label)
    if isinstance(value, Mapping):
        return {redact(str(key)): _redacted(entry, redact, str(key)) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_redacted(entry, redact, name) for entry in value]
    # Only times are rounded: a probability of one millionth must not become zero.
    return round(value, 3) if name in _TIMES else value
