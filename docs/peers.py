"""Puts the totals of a proof with ``--peers`` into the README: ``python -m docs.peers reports/<proof>/peers.json``."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

README = Path(__file__).resolve().parents[1] / "README.md"

_BETWEEN_MARKS = re.compile(r"(<!-- made by docs/peers\.py -->\n).*?(<!-- end -->)", re.DOTALL)
_COMMANDS = {
    "analyze": "`istioctl analyze`",
    "remote-clusters": "`istioctl remote-clusters`",
    "proxy-status": "`istioctl proxy-status`",
    "curls": "ten curls from each side",
}
_CODE = re.compile(r"IST\d{4}")


def main(arguments: list[str]) -> int:
    """Write the part of the README; 4 where no file is named."""
    if len(arguments) != 1:
        print("python -m docs.peers PEERS.JSON", file=sys.stderr)
        return 4
    content = json.loads(Path(arguments[0]).read_text())
    README.write_text(filled(README.read_text(), content))
    return 0


def filled(page: str, content: Mapping[str, Any]) -> str:
    """The page with the totals between its marks; raises ValueError where it has none."""
    text, times = _BETWEEN_MARKS.subn(lambda marks: f"{marks[1]}{rendered(content)}{marks[2]}", page)
    if times != 1:
        raise ValueError("the page has not one part that docs/peers.py makes")
    return text


def rendered(content: Mapping[str, Any]) -> str:
    """The totals as a table, with the date and the versions below it."""
    rows = [("splithorizon", content["splithorizon"])]
    rows += [(_COMMANDS.get(name, name), total) for name, total in content["totals"].items()]
    versions = ", ".join(f"{name} {version}" for name, version in content["versions"].items())
    return "\n".join(
        [
            f"| asked | noticed, of {content['faults']} faults | named the cause | said against the sound mesh |",
            "|---|---:|---:|---|",
            *(
                f"| {name} | {total['noticed']} | {total['named']} | {_against(total['accused_the_sound_mesh'])} |"
                for name, total in rows
            ),
            "",
            f"Measured on {content['date']} with {versions}.",
            "",
        ]
    )


def _against(statements: list[str]) -> str:
    codes = sorted({code for one in statements for code in _CODE.findall(one)[:1]})
    others = sum(not _CODE.match(one) for one in statements)
    return (
        ", ".join([*codes, *([f"{others} more" if codes else f"{others} statements"] if others else [])]) or "nothing"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
