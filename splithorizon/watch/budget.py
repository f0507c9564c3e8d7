"""What a watch may lose, and the verdict that follows."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from splithorizon.base.errors import UsageProblem

if TYPE_CHECKING:
    from splithorizon.watch.route_requests import Counts, RouteRequests

UNSEEN_SHARE = 0.1
"""Where more than this share of the time was not watched, a route without a loss is not judged."""
_NUMBER = r"\d+(?:\.\d+)?"
_ENTRY = re.compile(rf"(?P<name>lost|outage|wrong|cuts)=(?P<number>{_NUMBER})(?P<unit>%|s)?")
_FORM = "lost=N or lost=N%, outage=Ns, wrong=Ns, cuts=N, with commas between"


@dataclass(frozen=True)
class Budget:
    """What each route may lose.

    ``lost`` requests, or that ``share`` of them; an ``outage`` of so many seconds, None for what ``lost`` allows;
    ``wrong`` seconds on a wrong path; ``cuts`` of a connection that is kept, beside one for each restarted proxy.
    """

    lost: int = 0
    share: float = 0.0
    outage: float | None = None
    wrong: float = 0.0
    cuts: int = 0

    @classmethod
    def parse(cls, text: str) -> Budget:
        """Read ``--budget``; raises UsageProblem for anything else. An empty text is the default: nothing lost."""
        found: dict[str, float] = {}
        for entry in filter(None, (part.strip() for part in text.split(","))):
            match = _ENTRY.fullmatch(entry)
            if match is None or not _fits(match["name"], match["unit"], match["number"]):
                raise UsageProblem(f"--budget {entry}: {_FORM}. Nothing was created.")
            name = "share" if match["unit"] == "%" else match["name"]
            if name in found:
                raise UsageProblem(f"--budget {text}: {name} stands there twice. Nothing was created.")
            found[name] = float(match["number"])
        if found.get("share", 0) > 100:
            raise UsageProblem(f"--budget {text}: more than 100 %. Nothing was created.")
        return cls(
            lost=int(found.get("lost", 0)), share=found.get("share", 0.0) / 100, outage=found.get("outage"),
            wrong=found.get("wrong", 0.0), cuts=int(found.get("cuts", 0)),
        )  # fmt: skip

    def __str__(self) -> str:
        """As it is printed beside the numbers."""
        lost = f"{self.share:.3%} lost" if self.share else f"{self.lost} lost" if self.lost else "nothing lost"
        parts = [lost]
        parts += [f"no outage over {self.outage:g} s"] if self.outage is not None else []
        parts.append(f"{self.wrong:g} s on a wrong path")
        more = f" and {self.cuts} more" if self.cuts else ""
        parts.append(f"a kept connection cut once per restarted proxy{more}")
        return ", ".join(parts)

    def exceeded(self, requests: Counts) -> list[str]:
        """What of a route, or of a phase of it, is over the budget, with number and limit; empty where nothing is."""
        allowed = max(self.lost, int(self.share * requests.sent))
        found = []
        if requests.lost > allowed:
            found.append(f"{requests.lost} of {requests.sent} lost, allowed are {allowed}")
        if self.outage is not None and requests.longest > self.outage:
            found.append(f"an outage of {requests.longest:.2f} s, allowed are {self.outage:g} s")
        if requests.wrong_seconds > self.wrong:
            paths = ", ".join(sorted(requests.wrong_paths.counts))
            found.append(f"{requests.wrong_seconds:.1f} s by a wrong path ({paths}), allowed are {self.wrong:g} s")
        return found

    def exceeded_by_cuts(self, what: str, cuts: int, restarted: int) -> str:
        """The same of connections that are kept; empty where the cuts are within the budget."""
        allowed = restarted + self.cuts
        return f"{what} cut {cuts} times, allowed are {allowed}" if cuts > allowed else ""


def unjudged(requests: RouteRequests, watched: float) -> str:
    """Why a route without a loss cannot be judged; empty where it can. ``watched`` are the seconds of the watch."""
    if not requests.sent:
        return "no request was seen"
    if watched and requests.unseen_seconds > UNSEEN_SHARE * watched:
        return f"for {requests.unseen_seconds:.0f} of {watched:.0f} s no request was seen"
    if requests.not_attributed > requests.lost + UNSEEN_SHARE * requests.sent:
        return f"of {requests.sent} requests {requests.not_attributed} have no line in the access log, so no path"
    return ""


def _fits(name: str, unit: str | None, number: str) -> bool:
    whole = "." not in number
    match name:
        case "lost":
            return unit == "%" or (unit is None and whole)
        case "cuts":
            return unit is None and whole
        case _:
            return unit in (None, "s")
