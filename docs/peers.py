"""Puts the totals of a proof with ``--peers`` into the README: ``python -m docs.peers reports/<proof>/peers.json``.

Given several files, in the order of their runs, it joins them: of a fault that is in more than one, the first counts.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

README = Path(__file__).resolve().parents[1] / "README.md"

_SUITE = "splithorizon"
_BETWEEN_MARKS = re.compile(r"(<!-- made by docs/peers\.py -->\n).*?(<!-- end -->)", re.DOTALL)
_COMMANDS = {
    "analyze": "`istioctl analyze`",
    "remote-clusters": "`istioctl remote-clusters`",
    "proxy-status": "`istioctl proxy-status`",
    "curls": "ten curls from each side",
}
_CODE = re.compile(r"IST\d{4}")


def main(arguments: list[str]) -> int:
    """Write the part of the README; 4 where no file is named, or files of different versions."""
    if not arguments:
        print("python -m docs.peers PEERS.JSON...", file=sys.stderr)
        return 4
    try:
        content = joined([json.loads(Path(one).read_text()) for one in arguments])
    except ValueError as problem:
        print(problem, file=sys.stderr)
        return 4
    README.write_text(filled(README.read_text(), content))
    return 0


def joined(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One proof's answers from those of its parts: each fault's first, and all that was said of the sound mesh.

    Raises ValueError where the parts are of different versions.
    """
    first = parts[0]
    if any(one["versions"] != first["versions"] for one in parts):
        raise ValueError("the files are of different versions: they are no parts of one proof")
    by_fault: dict[str, Any] = {}
    for one in parts:
        by_fault = {**one["by_fault"], **by_fault}
    accused = {
        who: [*dict.fromkeys(said for one in parts for said in _total(one, who)["accused_the_sound_mesh"])]
        for who in (_SUITE, *first["totals"])
    }
    totals = {
        who: {
            "noticed": sum(_noticed(answers[who]) for answers in by_fault.values()),
            "named": sum(answers[who]["named"] for answers in by_fault.values()),
            "accused_the_sound_mesh": said,
        }
        for who, said in accused.items()
    }
    return {
        "date": max(one["date"] for one in parts),
        "versions": first["versions"],
        "faults": len(by_fault),
        _SUITE: totals.pop(_SUITE),
        "totals": totals,
        "by_fault": by_fault,
    }


def _total(part: Mapping[str, Any], who: str) -> Mapping[str, Any]:
    total: Mapping[str, Any] = part[who] if who == _SUITE else part["totals"][who]
    return total


def _noticed(answer: Mapping[str, Any]) -> bool:
    return bool(answer.get("news") or answer.get("noticed"))


def filled(page: str, content: Mapping[str, Any]) -> str:
    """The page with the totals between its marks; raises ValueError where it has none."""
    text, times = _BETWEEN_MARKS.subn(lambda marks: f"{marks[1]}{rendered(content)}{marks[2]}", page)
    if times != 1:
        raise ValueError("the page has not one part that docs/peers.py makes")
    return text


def rendered(content: Mapping[str, Any]) -> str:
    """The totals as a table, with the date and the versions below it."""
    rows = [(_SUITE, content[_SUITE])]
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
