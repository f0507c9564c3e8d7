"""Writes ``reports/report.schema.json`` from the classes of ``splithorizon.run.report``.

``python -m docs.schema`` rewrites it; with ``--check`` it shows what would change, and ends with 1 if anything would.
"""

from __future__ import annotations

import difflib
import json
import sys

from splithorizon.run import report


def text() -> str:
    """The schema as the file holds it."""
    return json.dumps(report.schema(), indent=2, ensure_ascii=False) + "\n"


def main(arguments: list[str]) -> int:
    """Rewrite the file, or with ``--check`` compare it; return the exit status."""
    now = report.SCHEMA.read_text(encoding="utf-8") if report.SCHEMA.exists() else ""
    if now == text():
        return 0
    if "--check" not in arguments:
        report.SCHEMA.write_text(text(), encoding="utf-8")
        return 0
    sys.stdout.writelines(difflib.unified_diff(now.splitlines(True), text().splitlines(True), "now", "generated"))
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
