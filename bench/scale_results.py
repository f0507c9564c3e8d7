"""What ``bench.scale`` measured, as a table, as JSON and as a page with plots."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from splithorizon.run.page import templates

GOAL = 1.3
"""What ``core`` costs in the largest mesh stays below this multiple of what it costs in the smallest."""
NOTE = (
    "In each cluster all Services select one pod, and each has an EndpointSlice. A change's seconds have the "
    "EndpointSlice controller's work in them; at its end a Service selects no pod any more, while the pod runs on."
)

WIDTH, HEIGHT = 420, 180
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 404, 26, 150
_FOLDER = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Core:
    """What one run of ``core`` cost: seconds, bytes that it read, and what istiod pushed meanwhile."""

    seconds: float
    """All of it: the mesh is looked at, namespaces are made, checks run, namespaces are removed."""
    check_seconds: float
    processor_seconds: float
    """The processor time of the run itself, which other work on the machine does not change much."""
    bytes_of_api_servers: int
    bytes_of_proxies: int
    bytes_of_istiods: int
    full_pushes: int
    """How often an istiod computed its configuration as a whole."""
    sent: int
    """Configurations sent to proxies, of any type but endpoints."""
    endpoints_sent: int


@dataclass(frozen=True)
class Size:
    """A mesh with this many Services of ours in each cluster, and all that was measured there; times in seconds."""

    services: int
    created: tuple[float, ...]
    """From the request to create a Service in one cluster to the end of the first answer to a client of the other."""
    ended: tuple[float, ...]
    """From the request to end its endpoint to the begin of the last request that reached it."""
    core: tuple[Core, ...]
    load: float
    """The machine's load average over a minute, when the last run of ``core`` was over."""


@dataclass(frozen=True)
class Measure:
    """A number that was measured at each size: its name, the unit in which it is shown, and every sample of it."""

    name: str
    unit: str
    samples: tuple[float, ...]
    bounded: bool = False
    """Whether the goal holds for it."""

    @property
    def median(self) -> float:
        """The median of the samples."""
        return statistics.median(self.samples)

    @property
    def label(self) -> str:
        """Name and unit."""
        return f"{self.name} ({self.unit})" if self.unit else self.name

    @property
    def shown(self) -> str:
        """The median, as tables show it."""
        return f"{self.median:,.2f}" if self.unit == "s" else f"{self.median:,.0f}"


@dataclass(frozen=True)
class Point:
    """A size in a plot: its place, the places of its samples, and its number of Services where there is room."""

    x: float
    y: float
    samples: tuple[float, ...]
    text: str


@dataclass(frozen=True)
class Plot:
    """One measure by the number of Services, from zero to ``most``; ``text`` says the same in a sentence."""

    label: str
    text: str
    most: str
    points: tuple[Point, ...]

    @property
    def line(self) -> str:
        """The medians, as the points of a polyline."""
        return " ".join(f"{point.x:.1f},{point.y:.1f}" for point in self.points)


def measures(size: Size) -> tuple[Measure, ...]:
    """Everything that was measured at a size, in the order of the table."""
    runs = size.core
    return (
        Measure("Service created, until the first answer", "s", size.created),
        Measure("endpoint ended, until the last request to it", "s", size.ended),
        Measure("core, all of it", "s", tuple(run.seconds for run in runs), bounded=True),
        Measure("core, its checks", "s", tuple(run.check_seconds for run in runs), bounded=True),
        Measure("core, processor time", "s", tuple(run.processor_seconds for run in runs), bounded=True),
        Measure("read from API servers", "kB", tuple(run.bytes_of_api_servers / 1000 for run in runs), bounded=True),
        Measure("read from proxies", "kB", tuple(run.bytes_of_proxies / 1000 for run in runs), bounded=True),
        Measure("read from istiods", "kB", tuple(run.bytes_of_istiods / 1000 for run in runs), bounded=True),
        Measure("full pushes", "", tuple(run.full_pushes for run in runs), bounded=True),
        Measure("configurations sent, without endpoints", "", tuple(run.sent for run in runs), bounded=True),
        Measure("endpoints sent", "", tuple(run.endpoints_sent for run in runs), bounded=True),
    )


def growth(sizes: Sequence[Size]) -> Mapping[str, float]:
    """By the name of each bounded measure, the median at the last size as a multiple of that at the first.

    A measure that is zero at the first size grows from one unit. Raises ValueError without two sizes.
    """
    if len(sizes) < 2:
        raise ValueError("growth is between two sizes")
    pairs = zip(measures(sizes[0]), measures(sizes[-1]), strict=True)
    return {last.name: last.median / (first.median or 1.0) for first, last in pairs if first.bounded}


def table(sizes: Sequence[Size]) -> list[str]:
    """The lines of a table in Markdown, a column for each size, and what they mean."""
    grown = growth(sizes) if len(sizes) > 1 else {}
    head = ["median, by Services in each cluster", *(str(size.services) for size in sizes), "last to first"]
    lines = [_row(head), "|---|" + "---:|" * (len(sizes) + 1)]
    for row in zip(*(measures(size) for size in sizes), strict=True):
        ratio = f"{grown[row[0].name]:.2f}" if row[0].name in grown else ""
        lines.append(_row([row[0].label, *(measure.shown for measure in row), ratio]))
    lines.append(_row(["load average", *(f"{size.load:.1f}" for size in sizes), ""]))
    return [*lines, "", NOTE, *_against_goal(grown)]


def as_json(sizes: Sequence[Size], **facts: Any) -> str:
    """Every sample, and the growth where there are two sizes."""
    grown = growth(sizes) if len(sizes) > 1 else {}
    content = {**facts, "goal": GOAL, "note": NOTE, "growth": grown, "sizes": [asdict(size) for size in sizes]}
    return json.dumps(content, indent=2) + "\n"


def page(sizes: Sequence[Size], started: str) -> str:
    """One file with the plots and the table, without a script and without anything from the network."""
    rows = list(zip(*(measures(size) for size in sizes), strict=True))
    grown = growth(sizes) if len(sizes) > 1 else {}
    return templates.render(
        "scale.html.j2",
        folder=_FOLDER,
        started=started,
        sizes=sizes,
        rows=rows,
        grown=grown,
        notes=[NOTE, *_against_goal(grown)],
        plots=[_plot(row, [size.services for size in sizes]) for row in rows],
        width=WIDTH,
        height=HEIGHT,
        left=_LEFT,
        right=_RIGHT,
        top=_TOP,
        bottom=_BOTTOM,
    )


def _plot(row: Sequence[Measure], services: Sequence[int]) -> Plot:
    most = max(sample for measure in row for sample in measure.samples) or 1.0
    points = tuple(
        Point(
            _LEFT + (_RIGHT - _LEFT) * count / max(services),
            _height(measure.median, most),
            tuple(_height(sample, most) for sample in measure.samples),
            # Small sizes lie at one place: the first of them is named.
            str(count) if number in (0, len(services) - 1) or count * 8 > max(services) else "",
        )
        for number, (count, measure) in enumerate(zip(services, row, strict=True))
    )
    values = ", ".join(f"{count}: {measure.shown}" for count, measure in zip(services, row, strict=True))
    return Plot(row[0].label, f"{row[0].label} by Services in each cluster, medians: {values}", f"{most:,.3g}", points)


def _height(value: float, most: float) -> float:
    return _BOTTOM - (_BOTTOM - _TOP) * value / most


def _against_goal(grown: Mapping[str, float]) -> Iterator[str]:
    if not grown:
        return
    above = [f"{name} {ratio:.2f}" for name, ratio in grown.items() if ratio >= GOAL]
    found = f"not below it: {', '.join(above)}" if above else "everything is below it"
    yield f"Goal: what core costs at the last size is below {GOAL} times that at the first; {found}."


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
