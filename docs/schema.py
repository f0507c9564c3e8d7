"""Generates ``reports/report.schema.json`` from the classes of ``splithorizon.run.report``.

``python -m docs.schema`` writes the file. With ``--check`` it prints the differences and exits with 1 if there are any.
"""

from __future__ import annotations

import difflib
import json
import sys

from splithorizon.run import report


def text() -> str:
    """The content of the file."""
    return json.dumps(report.schema(), indent=2, ensure_ascii=False) + "\n"


def main(arguments: list[str]) -> int:
    """Write the file, or with ``--check`` compare it. Return the exit status."""
    current = report.SCHEMA.read_text(encoding="utf-8") if report.SCHEMA.exists() else ""
    if current == text():
        return 0
    if "--check" not in arguments:
        report.SCHEMA.write_text(text(), encoding="utf-8")
        return 0
    sys.stdout.writelines(
        difflib.unified_diff(current.splitlines(True), text().splitlines(True), "current", "generated")
    )
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
