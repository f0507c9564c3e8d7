"""Renders the pages in ``docs/examples`` from the stored reports of real runs, which lie beside them.

``python -m docs.examples`` writes them. With ``--check`` it names those that are not current and exits with 1.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from splithorizon.run import conformance, report_file
from splithorizon.run.page import page

FOLDER = Path(__file__).parent / "examples"


def rendered() -> Iterator[tuple[Path, str]]:
    """Each file that follows from a stored report, and its content."""
    for stored in sorted(FOLDER.glob(f"*/{report_file.NAME}")):
        run = report_file.load(stored)
        yield stored.with_name(conformance.NAME), conformance.text(run)
        yield stored.with_name(page.NAME), page.render(run, beside=[report_file.NAME, conformance.NAME])


def main(arguments: list[str]) -> int:
    """Write the files, or with ``--check`` compare them. Return the exit status."""
    stale = [(path, text) for path, text in rendered() if not path.exists() or path.read_text("utf-8") != text]
    for path, text in stale:
        if "--check" in arguments:
            print(f"{path.relative_to(FOLDER.parent)} is not current: run python -m docs.examples")
        else:
            path.write_text(text, encoding="utf-8")
    return int(bool(stale) and "--check" in arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
