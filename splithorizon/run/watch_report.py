"""The part of a report that tells of a watch; moments are in seconds after the watch began."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Annotated

from annotated_types import Ge
from pydantic.dataclasses import dataclass

from splithorizon.run.report_types import Count, Seconds, Text
from splithorizon.run.report_types import config as _config
from splithorizon.watch.route_requests import Kind


@dataclass(frozen=True, config=_config())
class WatchEvent:
    """Changes of one subject in one cluster, as long as one followed another."""

    cluster: Text
    """The cluster."""
    subject: Text
    """What changed, such as gateway pods."""
    began: Seconds
    """When the last reading before the first change began: the change came later."""
    ended: Seconds
    """When the last change was seen."""
    settled: bool
    """Whether nothing of it was under way any more when the watch ended."""
    changes: tuple[str, ...]
    """The changes, in their order; of many the first."""
    more: Count = 0
    """How many changes there are beside these."""
    lost: Count = 0
    """The requests that were lost in losses that it is the first to bracket, on all routes."""
    longest: Seconds = 0.0
    """The longest time in these losses in which nothing was answered."""


@dataclass(frozen=True, config=_config())
class WatchLoss:
    """Lost requests that followed each other within five seconds."""

    began: Seconds
    """When the first lost request began."""
    ended: Seconds
    """When the first one began that was answered after the last lost one."""
    kind: Kind
    """An outage: nothing was answered between three lost requests or more. A stall: a request got no answer in time
    while others were answered. A reset: requests failed at once while others were answered."""
    lost: Annotated[int, Ge(1)]
    """How many requests were lost."""
    answered: Count
    """How many requests were answered in between."""
    longest: Seconds
    """The longest time in which nothing was answered."""
    reasons: Mapping[str, int]
    """How many were lost for which reason."""
    events: tuple[int, ...] = ()
    """The events that bracket it in time, by their place in the list, the one that began last first; empty: not
    explained."""


@dataclass(frozen=True, config=_config())
class WatchCut:
    """An interruption of a connection that was kept."""

    at: Seconds
    """When."""
    kind: Kind
    """A reset: closed, or a request failed, and the next one was answered. A stall: a request got no answer in time,
    and the next one did. An outage: the next request failed as well."""
    reason: str
    """What the client saw."""
    seconds: Seconds
    """How long no request was answered."""
    events: tuple[int, ...] = ()
    """As of losses."""


@dataclass(frozen=True, config=_config())
class WatchKept:
    """What became of the connections of one protocol that were kept on a route."""

    stream: Text
    """The protocol."""
    connections: Count
    """How many connections were kept, one of each sender that there was."""
    sent: Count
    """Requests."""
    lost: Count
    """Those that were not answered."""
    cuts: Count
    """How often one of them was interrupted."""
    most: Count
    """The most interruptions of a single one, which the budget is about."""
    first: tuple[WatchCut, ...] = ()
    """The interruptions, at most fifty of a connection."""


@dataclass(frozen=True, config=_config())
class WatchTimeline:
    """Requests by the time of their beginning, in pieces of equal length."""

    width: Seconds
    """The seconds of each piece."""
    sent: tuple[int, ...]
    """Requests."""
    lost: tuple[int, ...]
    """Lost ones."""
    wrong: tuple[int, ...]
    """Answered ones that took a wrong path."""
    paths: Mapping[str, tuple[int, ...]]
    """Requests by the address to which the sidecar sent them."""


@dataclass(frozen=True, config=_config())
class WatchedRoute:
    """What became of the requests of one route."""

    route: Text
    """The route, as primary→remote."""
    sent: Count
    """Requests on new connections."""
    answered: Count
    """Answered ones."""
    lost: Count
    """Lost ones."""
    reasons: Mapping[str, int]
    """How many were lost for which reason, with Envoy's response flags where the sidecar logged the request."""
    paths: Mapping[str, int]
    """How many were sent to which address, by the access log's line of each."""
    wrong_paths: Mapping[str, int]
    """Answered ones that were not sent to a gateway of the far network, by address."""
    wrong_seconds: Seconds
    """For how long answers came by a wrong path."""
    longest_outage: Seconds
    """The longest time from the beginning of a lost request to that of the next answered one."""
    longest_outage_began: Seconds
    """When it began."""
    resolution: Seconds
    """The time between two requests: no outage is known more exactly."""
    unseen_seconds: Seconds
    """For how long no request was seen."""
    losses: tuple[WatchLoss, ...]
    """The losses."""
    kept: tuple[WatchKept, ...]
    """Connections that were kept."""
    timeline: WatchTimeline
    """The requests by time."""
    exceeded: tuple[str, ...] = ()
    """What is over the budget."""
    unjudged: str = ""
    """Why the route is not judged; empty where it is."""


@dataclass(frozen=True, config=_config())
class PhaseRoute:
    """The requests of one route that began in a phase."""

    route: Text
    """The route, as primary→remote."""
    sent: Count
    """Requests on new connections."""
    lost: Count
    """Those that were not answered."""
    longest_outage: Seconds
    """The longest time without an answer that began in the phase."""
    wrong_seconds: Seconds
    """For how long answers came by a wrong path."""
    reasons: Mapping[str, int]
    """How many were lost for which reason."""
    exceeded: tuple[str, ...] = ()
    """What is over the budget."""


@dataclass(frozen=True, config=_config())
class WatchPhase:
    """A phase of a change that the run made under the watch, such as a new control plane."""

    name: Text
    """What is changed in it."""
    began: Seconds
    """When it began."""
    ended: Seconds
    """When it ended, with the core checks at its end."""
    versions: tuple[str, ...]
    """The versions of Istio at its end: those of each cluster's istiod, and of the proxies that are connected to it."""
    core: str
    """The verdict of the core checks at its end; empty where they were not run."""
    refuted: tuple[str, ...]
    """The behaviours that these refuted."""
    broke: str
    """Why it could not be carried out; empty where it was."""
    routes: tuple[PhaseRoute, ...]
    """The requests that began in it."""


@dataclass(frozen=True, config=_config())
class WatchReport:
    """A watch: steady traffic on every route while the mesh is changed, and what changed meanwhile."""

    began: Text
    """When it began, ISO 8601."""
    seconds: Seconds
    """How long it lasted."""
    rate: Seconds
    """Requests a second on each route."""
    budget: Text
    """What was allowed."""
    claimed: tuple[str, ...]
    """What was sent, in words: requests on new connections, and the protocols of connections that were kept."""
    routes: tuple[WatchedRoute, ...]
    """The routes."""
    events: tuple[WatchEvent, ...] = ()
    """What changed, in the order of the beginnings."""
    not_seen: tuple[str, ...] = field(default=())
    """What the watch did not see."""
    phases: tuple[WatchPhase, ...] = ()
    """The phases of the change, where the run made one itself."""
