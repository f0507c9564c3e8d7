"""What the report of a run consists of: the classes define version 2 of the schema of ``report.json``.

``python -m docs.schema`` generates ``reports/report.schema.json`` from them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from annotated_types import Ge, MinLen
from pydantic import TypeAdapter, model_validator
from pydantic.dataclasses import dataclass
from pydantic.json_schema import GenerateJsonSchema
from pydantic.types import StringConstraints

from splithorizon.base import paths
from splithorizon.istio.topology import Way
from splithorizon.run.comparison import Comparison
from splithorizon.run.progress import StepTime
from splithorizon.run.report_types import Count, Number, Scalar, Seconds, Text
from splithorizon.run.report_types import config as _config
from splithorizon.run.verdict import Verdict
from splithorizon.run.watch_report import WatchReport
from splithorizon.undo.not_restored import NotRestored

SCHEMA = paths.SCHEMA
SCHEMA_VERSION = 2

Moment = Annotated[str, StringConstraints(pattern=r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$")]


def _is_one_of(name: str, *values: str) -> dict[str, Any]:
    return {"properties": {name: {"enum": list(values)}}}


def _has(**properties: Any) -> dict[str, Any]:
    return {"properties": properties}


_NOT_EMPTY = {"minLength": 1}
_EMPTY = {"const": ""}


@dataclass(frozen=True, config=_config())
class PathCount:
    """How many replies of a route took one way."""

    way: Way
    """Where the client's sidecar sent the requests."""
    version: str
    """The version that answered; empty if none did."""
    address: str
    """The upstream host in the log of the client's sidecar; empty if it had none."""
    flags: str
    """Envoy's response flags; empty if it set none."""
    count: Annotated[int, Ge(1)]
    """The number of replies."""
    expected: bool
    """Whether replies of this version take this way in a sound mesh."""


@dataclass(frozen=True, config=_config())
class Evidence:
    """The evidence of a check that passed."""

    claim: Text
    """The claim of the check, in one sentence."""
    numbers: Mapping[str, Scalar] = field(default_factory=dict)
    """What was counted or measured, by name."""
    expected_interval: tuple[Number, Number] | None = None
    """The lowest and highest count that would have been accepted; null unless the check is statistical."""
    sample_lines: tuple[str, ...] = ()
    """A few lines of the access log, as Envoy wrote them."""
    addresses: tuple[str, ...] = ()
    """Addresses of endpoints that were seen."""
    paths: tuple[PathCount, ...] = ()
    """The ways of the replies, where the check is about them."""


@dataclass(
    frozen=True,
    config=_config(
        allOf=[
            {
                "description": "A result that is not conformant or inconclusive has a failure.",
                "if": _is_one_of("verdict", Verdict.NOT_CONFORMANT, Verdict.INCONCLUSIVE),
                "then": _has(failure=_NOT_EMPTY),
            },
            {
                "description": "A result that is not conformant has a likely cause and a command.",
                "if": _is_one_of("verdict", Verdict.NOT_CONFORMANT),
                "then": _has(likely_cause=_NOT_EMPTY, next_command=_NOT_EMPTY),
            },
        ]
    ),
)
class BehaviourResult:
    """The result of one test, on one route if its claim is about routes."""

    area: Text
    """The folder in suites/."""
    behaviour: Text
    """The name of the test's module, without its suffix."""
    claim: Text
    """The claim, in one sentence."""
    nodeid: Text
    """pytest's node id of the test, by which it can be run again."""
    verdict: Verdict
    """The verdict of the test."""
    seconds: Seconds
    """The duration of the test."""
    route: str = ""
    """The route, as primary→remote; or the name of the cluster that the test is about; or empty."""
    profile: str = ""
    """The profile of the behaviour."""
    latent: bool = False
    """Whether traffic does not need what is claimed: where it fails, traffic is whole, and the next pod, proxy or
    token fails."""
    key_number: str = ""
    """The most important number, with its unit."""
    evidence: tuple[Evidence, ...] = ()
    """The evidence, one entry per check that passed."""
    failure: str = ""
    """What was expected, what was seen, and over how many samples; empty if conformant."""
    cause_ids: tuple[str, ...] = ()
    """The ids of the causes between which the failed check cannot decide; empty if it names none."""
    likely_cause: str = ""
    """The most likely cause of the failure, as a sentence."""
    next_command: str = ""
    """A command that shows more about the failure."""
    numbers: Mapping[str, Scalar] = field(default_factory=dict)
    """What the check that refuted the claim has counted, by name; empty for every other verdict."""
    expected_interval: tuple[Number, Number] | None = None
    """The interval of the check that refuted the claim; null unless it is statistical."""
    paths: tuple[PathCount, ...] = ()
    """The ways of the replies that the check refuted; empty if it is not about them."""

    @model_validator(mode="after")
    def _has_failure_cause_and_command(self) -> Self:
        if self.verdict in (Verdict.NOT_CONFORMANT, Verdict.INCONCLUSIVE):
            _require(self.failure, "failure: a verdict that is not conformant or inconclusive needs a failure")
        if self.verdict is Verdict.NOT_CONFORMANT:
            _require(self.likely_cause, "likely_cause: a verdict that is not conformant needs a likely cause")
            _require(self.next_command, "next_command: a verdict that is not conformant needs a command")
        return self


class Unclaimed(StrEnum):
    """The kinds of reasons for which a behaviour is not claimed."""

    NOT_ASKED_FOR = "not asked for"
    NOT_ALLOWED = "not allowed"
    NOT_OFFERED = "not offered"
    EXEMPT = "exempt"
    NOT_RUN = "not run"


@dataclass(frozen=True, config=_config())
class NotClaimed:
    """A behaviour that the run did not claim."""

    behaviour: Text
    """The name of the test's module, without its suffix."""
    reason: Text
    """Why the behaviour is not claimed."""
    kind: Unclaimed = Unclaimed.NOT_OFFERED
    """The kind of the reason."""
    profile: str = ""
    """The profile of the behaviour; empty if it is not known."""


@dataclass(frozen=True, config=_config())
class Totals:
    """The numbers of requests, over all traffic samples."""

    requests: Count = 0
    """Requests that were sent. The client sent none twice."""
    joined: Count = 0
    """Replies that were matched to their access-log line."""
    unjoined: Count = 0
    """Replies that were not matched to a line."""


@dataclass(
    frozen=True,
    config=_config(
        oneOf=[
            _has(runs_istiod={"const": True}, control_plane={"const": None}),
            _has(runs_istiod={"const": False}, control_plane={"type": "string"}),
        ]
    ),
)
class Cluster:
    """A cluster of the mesh. It runs istiod, or the istiod of another cluster manages it."""

    name: Text
    """The name in routes, steps and versions."""
    network: str
    """The name of its network in the mesh."""
    id: str = ""
    """The cluster id that istiod uses for it; empty if no istiod knows it."""
    runs_istiod: bool = True
    """Whether istiod runs in it."""
    control_plane: str | None = None
    """The name of the cluster whose istiod manages it; null if its own istiod does."""
    context: str = ""
    """The context in the kubeconfig, or the name of the kind cluster."""
    node_address: str = ""
    """The IP address of its single node; empty in an existing mesh."""
    pod_subnet: str = ""
    """The subnet of its pods' addresses."""
    service_subnet: str = ""
    """The subnet of its services' addresses; empty in an existing mesh."""
    gateway_addresses: tuple[str, ...] = ()
    """The addresses of its east-west gateway for other networks, as address:port."""

    @model_validator(mode="after")
    def _has_one_control_plane(self) -> Self:
        if self.runs_istiod is not (self.control_plane is None):
            raise ValueError("control_plane: a cluster runs istiod, or names the cluster whose istiod manages it")
        return self


@dataclass(frozen=True, config=_config())
class Versions:
    """The versions of everything in the run; an unknown version is empty."""

    splithorizon: str
    """The version of this suite."""
    python: str
    """The version of Python."""
    provider: str = ""
    """The container engine, podman or docker; empty in an existing mesh."""
    engine: str = ""
    """The version of the container engine."""
    kind: str = ""
    """The version of kind."""
    kubernetes: str = ""
    """The version of the API servers."""
    istio: Mapping[str, str] = field(default_factory=dict)
    """The version of Istio, by cluster."""
    envoy: str = ""
    """The version of Envoy in sidecars and gateways."""
    coredns: str = ""
    """The version of CoreDNS."""
    etcd: str = ""
    """The version of etcd."""
    images: str = ""
    """The origin of the images, built or published; empty in an existing mesh."""


@dataclass(frozen=True, config=_config())
class Fact:
    """A field of an object that supports a diagnosis."""

    object: Text
    """The object, as cluster, kind, namespace and name."""
    field: Text
    """The field, as a path within the object."""
    value: str
    """Its value."""


@dataclass(frozen=True, config=_config())
class Diagnosis:
    """The cause that explains the failures of the run."""

    cause_id: Text
    """The id of the cause."""
    text: Text
    """The cause, as a sentence."""
    evidence: tuple[Fact, ...] = ()
    """The fields by which it was decided."""
    fix: str = ""
    """The command or change that fixes it."""
    consequences: tuple[str, ...] = ()
    """The behaviours that failed because of it, by the stems of their modules."""
    witness: str = ""
    """What shows that it has an effect: a proxy's state, traffic, or a failed check."""
    latent: bool = False
    """Whether traffic is whole in spite of it, and only the next pod, proxy or token fails."""


@dataclass(frozen=True, config=_config())
class Note:
    """Something in the configuration that would be a cause, and that nothing shows to have an effect."""

    cause_id: Text
    """The cause that it would be, by id."""
    evidence: tuple[Fact, ...] = ()
    """What was read of it."""


@dataclass(frozen=True, config=_config())
class Condition:
    """A condition of the mesh or the machine under which the verdict was reached."""

    name: Text
    """What was measured or read."""
    value: str
    """The result."""
    consequence: str = ""
    """What it means for the verdict."""


@dataclass(
    frozen=True,
    config=_config(
        **{
            "$id": f"urn:splithorizon:report:{SCHEMA_VERSION}",
            "allOf": [
                {
                    "description": "A conformant run has at least one result, and all of them are conformant.",
                    "if": _is_one_of("verdict", Verdict.CONFORMANT),
                    "then": _has(
                        behaviours={"minItems": 1, "items": _is_one_of("verdict", Verdict.CONFORMANT)},
                        totals=_has(unjoined={"const": 0}),
                    ),
                },
                {
                    "description": "A run that is not conformant has at least one such result.",
                    "if": _is_one_of("verdict", Verdict.NOT_CONFORMANT),
                    "then": _has(behaviours={"contains": _is_one_of("verdict", Verdict.NOT_CONFORMANT)}),
                },
                {
                    "description": "An inconclusive run has a reason, and no other run has one.",
                    "if": _is_one_of("verdict", Verdict.INCONCLUSIVE),
                    "then": _has(inconclusive_reason=_NOT_EMPTY),
                    "else": _has(inconclusive_reason=_EMPTY),
                },
            ],
        }
    ),
)
class RunReport:
    """A run of the suite: what was tested, how, the results, and the verdict. Durations are in seconds."""

    run_id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    """The id of the run, which is also the name of its folder in reports/."""
    started: Moment
    """When the run began."""
    finished: Moment
    """When the verdict was known, after everything that the run created was removed."""
    command: Annotated[tuple[str, ...], MinLen(1)]
    """The command line of the run, as separate arguments. The same command line repeats the run."""
    versions: Versions
    """The versions of everything in the run."""
    verdict: Verdict
    """The verdict on the mesh."""
    exit_status: Literal[0, 1, 2, 3, 4, 5, 6, 10]
    """The exit status of pytest: 0 conformant or partial, 1 not conformant, 2 interrupted, 3 internal error,
    4 bad input, 5 nothing collected, 6 too many warnings, 10 inconclusive."""
    options: Mapping[str, Scalar] = field(default_factory=dict)
    """Every option of the suite with its value, including defaults."""
    namespace: str = ""
    """The namespace of the run's workloads; empty if the run ended before there was a mesh."""
    clusters: tuple[Cluster, ...] = ()
    """The clusters of the mesh; empty if the run ended before there was a mesh."""
    steps: tuple[StepTime, ...] = ()
    """Every step of set-up and removal, in the order in which they ended. Steps overlap."""
    behaviours: tuple[BehaviourResult, ...] = ()
    """The results of the tests, one entry per route."""
    totals: Totals = Totals()
    """The numbers of requests that the run sent."""
    inconclusive_reason: str = ""
    """Why the run is inconclusive; empty for every other verdict."""
    next_command: str = ""
    """A command that shows more about the reason; empty if the results have commands."""
    diagnosis: Diagnosis | None = None
    """The cause that explains the failures; null if there is none."""
    other_causes: tuple[Diagnosis, ...] = ()
    """Causes that stand beside it and do not follow from it."""
    undiagnosed: str = ""
    """Why failures have no diagnosis: no known cause fits, or the mesh could not be read; empty where they have one."""
    notes: tuple[Note, ...] = ()
    """What the diagnosis found in the configuration and nothing shows to have an effect."""
    conditions: tuple[Condition, ...] = ()
    """The conditions under which the verdict was reached."""
    comparison: Comparison | None = None
    """What differs from the reports of --baseline; null if the run had none."""
    watch: WatchReport | None = None
    """What was seen before the checks, while the mesh was changed; null if the run had no --watch."""
    repeated_reads: Mapping[str, int] = field(default_factory=dict)
    """By cluster, how many requests that only read were repeated because its API server had not answered them."""
    not_restored: tuple[NotRestored, ...] = ()
    """Changes to the mesh that the run did not undo."""
    not_claimed: tuple[NotClaimed, ...] = ()
    """The behaviours that the run did not claim."""
    schema_version: Literal[2] = 2
    """The version of the schema. It increases with every incompatible change."""

    @model_validator(mode="after")
    def _verdict_follows_from_results(self) -> Self:
        verdicts = [result.verdict for result in self.behaviours]
        if self.verdict is Verdict.CONFORMANT:
            _require(verdicts, "behaviours: a conformant run has checked something")
            _require(set(verdicts) <= {Verdict.CONFORMANT}, "behaviours: a conformant run has no other verdict")
            _require(not self.totals.unjoined, "totals.unjoined: a conformant run has matched every reply")
        if self.verdict is Verdict.NOT_CONFORMANT:
            _require(Verdict.NOT_CONFORMANT in verdicts, "behaviours: no check has this verdict of the run")
        if bool(self.inconclusive_reason) is not (self.verdict is Verdict.INCONCLUSIVE):
            raise ValueError("inconclusive_reason: an inconclusive run has a reason, and no other run has one")
        names = {cluster.name for cluster in self.clusters}
        for cluster in self.clusters:
            known = cluster.control_plane is None or cluster.control_plane in names
            _require(known, f"clusters: there is no cluster {cluster.control_plane!r} that manages {cluster.name!r}")
        return self


class _WithoutTitles(GenerateJsonSchema):
    """Omits titles, which repeat each field's name."""

    def field_title_should_be_set(self, schema: object) -> bool:  # noqa: ARG002  # pydantic's signature
        return False


ADAPTER: TypeAdapter[RunReport] = TypeAdapter(RunReport)


def schema() -> dict[str, Any]:
    """The JSON schema of ``report.json``, draft 2020-12, generated from the classes in this module."""
    generated = ADAPTER.json_schema(mode="serialization", schema_generator=_WithoutTitles)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **generated}


def utc(moment: datetime | None = None) -> str:
    """Format a time, by default the current time, for a report: ISO 8601, UTC, milliseconds."""
    moment = (moment or datetime.now(UTC)).astimezone(UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def utc_of(seconds: float) -> str:
    """Format a time in seconds since 1970 for a report."""
    return utc(datetime.fromtimestamp(seconds, UTC))


def _require(condition: object, message: str) -> None:
    if not condition:
        raise ValueError(message)
