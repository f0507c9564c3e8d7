"""``python -m lab.images.supported``: the Istio releases that are supported, of the tags on standard input.

It prints two outputs of a workflow's step: ``versions`` and the neighbouring ``pairs`` to upgrade between.
https://istio.io/latest/docs/releases/supported-releases
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable
from itertools import pairwise

_RELEASE = re.compile(r"1\.(\d+)\.(\d+)")
# A minor version is supported until six weeks after the second one that follows it: mostly there are three.
_MINORS = 3


def supported(tags: Iterable[str]) -> list[str]:
    """The newest patch of each of the three newest minor versions, newest first; other tags count for nothing.

    Raises ValueError where there is no release among the tags.
    """
    newest: dict[int, int] = {}
    for match in filter(None, (_RELEASE.fullmatch(tag.strip()) for tag in tags)):
        minor, patch = int(match[1]), int(match[2])
        newest[minor] = max(newest.get(minor, 0), patch)
    if not newest:
        raise ValueError("no release of Istio among the tags")
    return [f"1.{minor}.{newest[minor]}" for minor in sorted(newest, reverse=True)[:_MINORS]]


def pairs(releases: list[str]) -> list[dict[str, str]]:
    """The neighbouring pairs, as a matrix of a workflow takes them."""
    return [{"before": before, "after": after} for after, before in pairwise(releases)]


def main(tags: Iterable[str]) -> None:
    """Print what a workflow sets as outputs."""
    found = supported(tags)
    print(f"versions={json.dumps(found)}")
    print(f"pairs={json.dumps(pairs(found))}")


if __name__ == "__main__":
    main(sys.stdin)
