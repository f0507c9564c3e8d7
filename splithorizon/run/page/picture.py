"""The picture of a route: who asks, which ways the requests took, and how many took each, as data for the template.

Each route has a picture by itself, with the near cluster above the far one. So the picture is as wide as a telephone,
and it is the same for two clusters and for more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from splithorizon.istio.topology import Way
from splithorizon.run.report import BehaviourResult, Cluster, PathCount, RunReport

WIDTH, HEIGHT = 420, 330
# Arrows that lead to one place are so far apart.
_APART = 17
_ARROW = "→"


@dataclass(frozen=True)
class Box:
    """A rectangle with a title and further lines, in units of the picture."""

    x: int
    y: int
    width: int
    height: int
    title: str
    lines: tuple[str, ...] = ()
    kind: str = "part"


@dataclass(frozen=True)
class Arrow:
    """A line between two boxes, with the number of replies that took it."""

    start: tuple[int, int]
    end: tuple[int, int]
    label: str
    at: tuple[int, int]
    anchor: str = "middle"
    wrong: bool = False
    empty: bool = False


@dataclass(frozen=True)
class Row:
    """A way and its number, for readers of text."""

    way: str
    version: str
    address: str
    flags: str
    count: int
    share: float
    expected: bool


@dataclass(frozen=True)
class Picture:
    """A route: boxes, arrows, and the same as text. ``total`` is the number of replies, zero if none was measured."""

    route: str
    near: str
    far: str
    total: int
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]
    rows: tuple[Row, ...]
    text: str
    """One sentence that says the same as the picture."""


_WAYS = {
    Way.NEAR_POD: "to a pod of the same cluster",
    Way.FAR_GATEWAY: "through the far network's gateway",
    Way.FAR_POD: "straight to a pod of the far network",
    Way.ELSEWHERE: "to another address",
    Way.NOWHERE: "to no upstream",
}


def pictures(report: RunReport) -> tuple[Picture, ...]:
    """A picture for each route with measured paths; without any, one for each route between two clusters."""
    measured = {result.route: paths for result in report.behaviours if (paths := _paths(result))}
    clusters = {cluster.name: cluster for cluster in report.clusters}
    routes = measured or {
        f"{near}{_ARROW}{far}": () for near in clusters for far in clusters if _cross(clusters[near], clusters[far])
    }
    known = []
    for route, paths in routes.items():
        near, _, far = route.partition(_ARROW)
        if near in clusters and far in clusters:
            known.append(_picture(route, clusters[near], clusters[far], paths))
    return tuple(known)


def _cross(near: Cluster, far: Cluster) -> bool:
    return near is not far and near.network != far.network


def _paths(result: BehaviourResult) -> tuple[PathCount, ...]:
    """The paths of a result; those of the check that refuted it, if it was refuted."""
    if result.paths:
        return result.paths
    return next((evidence.paths for evidence in result.evidence if evidence.paths), ())


def _picture(route: str, near: Cluster, far: Cluster, paths: Sequence[PathCount]) -> Picture:
    total = sum(path.count for path in paths)
    ways = _WAYS if _cross(near, far) else {**_WAYS, Way.FAR_POD: "straight to a pod of the other cluster"}
    rows = tuple(
        Row(ways[path.way], path.version, path.address, path.flags, path.count, path.count / total, path.expected)
        for path in sorted(paths, key=lambda path: (not path.expected, -path.count))
    )
    return Picture(
        route,
        near.name,
        far.name,
        total,
        tuple(_boxes(near, far, paths)),
        tuple(_arrows(paths, total, across=_cross(near, far))),
        rows,
        _sentence(route, rows),
    )


def _boxes(near: Cluster, far: Cluster, paths: Sequence[PathCount]) -> Iterator[Box]:
    yield Box(4, 4, 412, 104, f"cluster {near.name}", (near.network or "no network",), "cluster")
    yield Box(4, 222, 412, 104, f"cluster {far.name}", (far.network or "no network",), "cluster")
    yield Box(16, 46, 108, 46, "client", ("and its sidecar",))
    yield _pods(paths, Way.NEAR_POD, 46)
    if _cross(near, far):
        gateways = far.gateway_addresses or tuple(_addresses(paths, Way.FAR_GATEWAY))
        yield Box(16, 264, 136, 46, "east-west gateway", _shortened(gateways) or ("address not known",))
    yield _pods(paths, Way.FAR_POD, 264)
    if any(path.way in (Way.ELSEWHERE, Way.NOWHERE) for path in paths):
        others = _shortened(tuple(_addresses(paths, Way.ELSEWHERE)))
        yield Box(290, 146, 122, 42, "elsewhere" if others else "no upstream", others, "elsewhere")


def _pods(paths: Sequence[PathCount], way: Way, y: int) -> Box:
    """The pods of a cluster, with the version that answers from them as it should."""
    answered_by = {Way.NEAR_POD} if way is Way.NEAR_POD else {Way.FAR_GATEWAY, Way.FAR_POD}
    version = next((path.version for path in paths if path.way in answered_by and path.expected), "")
    return Box(284, y, 128, 46, f"helloworld {version}".strip(), _shortened(tuple(_addresses(paths, way))))


def _addresses(paths: Iterable[PathCount], way: Way) -> Iterator[str]:
    yield from sorted({path.address for path in paths if path.way is way and path.address})


def _shortened(addresses: tuple[str, ...]) -> tuple[str, ...]:
    """At most one address fits below a title."""
    return addresses if len(addresses) <= 1 else (f"{addresses[0]} +{len(addresses) - 1}",)


def _arrows(paths: Sequence[PathCount], total: int, *, across: bool) -> Iterator[Arrow]:
    right = {way: [path for path in paths if path.way is way and path.expected] for way in Way}
    wrong = {way: [path for path in paths if path.way is way and not path.expected] for way in Way}
    near, far = right[Way.NEAR_POD], right[Way.FAR_GATEWAY]
    yield Arrow((124, 62), (284, 62), _label(near, total), (204, 56), empty=not near)
    if across:
        yield Arrow((58, 92), (58, 264), _label(far, total), (66, 150), anchor="start", empty=not far)
        yield Arrow((152, 280), (284, 280), _label(far, total, short=True), (218, 274), empty=not far)
    if found := wrong[Way.NEAR_POD]:
        y = 62 + _APART
        yield Arrow((124, y), (284, y), _label(found, total), (204, y + 15), wrong=True)
    if found := wrong[Way.FAR_GATEWAY]:
        x = 40
        yield Arrow((x, 92), (x, 264), _label(found, total), (66, 208), anchor="start", wrong=True)
        if answered := [path for path in found if path.version]:
            y = 280 + _APART
            yield Arrow((152, y), (284, y), _label(answered, total, short=True), (218, y + 15), wrong=True)
    if found := right[Way.FAR_POD]:
        yield Arrow((110, 92), (300, 264), _label(found, total), (214, 174), anchor="start")
    if found := wrong[Way.FAR_POD]:
        yield Arrow((110, 92), (300, 264), _label(found, total), (214, 174), anchor="start", wrong=True)
    if found := [*wrong[Way.ELSEWHERE], *wrong[Way.NOWHERE]]:
        yield Arrow((124, 92), (290, 162), _label(found, total), (204, 122), anchor="start", wrong=True)


def _label(paths: Sequence[PathCount], total: int, *, short: bool = False) -> str:
    count = sum(path.count for path in paths)
    if not total:
        return "not measured"
    if short:
        return f"{count:,}"
    unanswered = sum(path.count for path in paths if not path.version)
    said = " without answer" if unanswered == count and count else ""
    return f"{count:,} ({count / total:.1%}){said}"


def _sentence(route: str, rows: Sequence[Row]) -> str:
    if not rows:
        return f"{route}: no traffic was measured"
    parts = (
        f"{row.count:,} {'from ' + row.version if row.version else 'without answer'} {row.way}"
        f"{'' if row.expected else ', which is wrong'}"
        for row in rows
    )
    return f"{route}: {'; '.join(parts)}"
