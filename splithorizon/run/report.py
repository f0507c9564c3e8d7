"""What a run leaves behind: ``report.json``, whole or not at all, strict, and without a secret.

The classes below are the form, version 2; ``reports/report.schema.json`` is generated from them by ``python -m
docs.schema``. A report of version 1 can be read, by ``splithorizon.run.report_v1``.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable, Mapping
from dataclasses import field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from annotated_types import Ge, MinLen
from pydantic import ConfigDict, Strict, TypeAdapter, ValidationError, model_validator
from pydantic.dataclasses import dataclass
from pydantic.json_schema import GenerateJsonSchema
from pydantic.types import StringConstraints

from splithorizon.base import private_file
from splithorizon.run import redaction, report_v1
from splithorizon.run.progress import StepTime
from splithorizon.run.verdict import Verdict
from splithorizon.undo.not_restored import NotRestored

SCHEMA = Path(__file__).resolve().parents[2] / "reports" / "report.schema.json"
SCHEMA_VERSION = 2
NAME = "report.json"
LATEST = "latest"

_TIMES = ("seconds", "started_after")
_PROBLEMS_SHOWN = 5

Redact = Callable[[str], str]

Text = Annotated[str, MinLen(1)]
Moment = Annotated[str, StringConstraints(pattern=r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$")]
Seconds = Annotated[float, Ge(0)]
Count = Annotated[int, Ge(0)]
# Each kept as what it is: no number becomes a text, and no text a number.
Number = Annotated[int, Strict()] | Annotated[float, Strict()]
Scalar = Annotated[bool, Strict()] | Number | str | None


class InvalidReport(ValueError):
    """A report that is not what the schema promises its readers."""


def _config(**rules: Any) -> ConfigDict:
    """Fields are described by the texts below them; ``rules`` are what a JSON schema says beyond the fields' types."""
    return ConfigDict(
        extra="forbid",
        use_attribute_docstrings=True,
        ser_json_inf_nan="constants",
        allow_inf_nan=False,
        json_schema_serialization_defaults_required=True,
        json_schema_extra=rules,
    )


def _where(name: str, *values: str) -> dict[str, Any]:
    return {"properties": {name: {"enum": list(values)}}}


def _then(**properties: Any) -> dict[str, Any]:
    return {"properties": properties}


_SAYS_SOMETHING = {"minLength": 1}
_IS_EMPTY = {"const": ""}


@dataclass(frozen=True, config=_config())
class Evidence:
    """What one check looked at when it found its claim true."""

    claim: Text
    """What the check holds, in one sentence."""
    numbers: Mapping[str, Scalar] = field(default_factory=dict)
    """What was counted or measured, by name."""
    expected_interval: tuple[Number, Number] | None = None
    """Lowest and highest count that would have been taken; null where the check is no matter of chance."""
    sample_lines: tuple[str, ...] = ()
    """A few access-log lines, as Envoy wrote them."""
    addresses: tuple[str, ...] = ()
    """Endpoint addresses that were seen."""


@dataclass(
    frozen=True,
    config=_config(
        allOf=[
            {
                "description": "Whatever is not as it should be says what it was.",
                "if": _where("verdict", Verdict.NOT_CONFORMANT, Verdict.INCONCLUSIVE),
                "then": _then(failure=_SAYS_SOMETHING),
            },
            {
                "description": "A mesh that is accused is given a reason, and a command that looks further.",
                "if": _where("verdict", Verdict.NOT_CONFORMANT),
                "then": _then(likely_cause=_SAYS_SOMETHING, next_command=_SAYS_SOMETHING),
            },
        ]
    ),
)
class BehaviourResult:
    """What one test found of its claim, on one route where the claim has routes."""

    area: Text
    """Folder below suites/."""
    behaviour: Text
    """Stem of the test's module."""
    claim: Text
    """What is promised, in one sentence."""
    nodeid: Text
    """pytest's name of the test, which runs it again."""
    verdict: Verdict
    """What the test found."""
    seconds: Seconds
    """How long the test took."""
    route: str = ""
    """From which cluster to which, as primary→remote; or the one cluster that is meant; or empty."""
    profile: str = ""
    """Part of the catalogue that it belongs to."""
    key_number: str = ""
    """The one number to read first, with its unit."""
    evidence: tuple[Evidence, ...] = ()
    """What the verdict rests on, one entry per check that passed."""
    failure: str = ""
    """What was expected, what was seen, over how many samples; empty where conformant."""
    cause_ids: tuple[str, ...] = ()
    """The causes that the failed check cannot tell apart, by id; empty where it names none."""
    likely_cause: str = ""
    """The likeliest reason of the failure, as a sentence."""
    next_command: str = ""
    """One command that looks further."""
    numbers: Mapping[str, Scalar] = field(default_factory=dict)
    """What the check that refuted the claim had counted, by name; empty for every other verdict."""

    @model_validator(mode="after")
    def _says_why(self) -> Self:
        if self.verdict in (Verdict.NOT_CONFORMANT, Verdict.INCONCLUSIVE):
            _require(self.failure, "failure: a verdict other than conformant says what was seen")
        if self.verdict is Verdict.NOT_CONFORMANT:
            _require(self.likely_cause, "likely_cause: a mesh that is accused is given a reason")
            _require(self.next_command, "next_command: a mesh that is accused is given a command that looks further")
        return self


class Unclaimed(StrEnum):
    """Why a behaviour is not claimed, for a reader that counts."""

    NOT_ASKED_FOR = "not asked for"
    NOT_ALLOWED = "not allowed"
    NOT_OFFERED = "not offered"
    EXEMPT = "exempt"
    NOT_RUN = "not run"


@dataclass(frozen=True, config=_config())
class NotClaimed:
    """A behaviour that this run made no claim about."""

    behaviour: Text
    """Stem of the test's module."""
    reason: Text
    """Why nothing is claimed."""
    kind: Unclaimed = Unclaimed.NOT_OFFERED
    """The sort of reason."""
    profile: str = ""
    """Part of the catalogue that it belongs to; empty where that is not known."""


@dataclass(frozen=True, config=_config())
class Totals:
    """Requests of all traffic samples."""

    requests: Count = 0
    """Requests sent, none of them twice."""
    joined: Count = 0
    """Replies joined to their own access-log line."""
    unjoined: Count = 0
    """Replies without a line of their own."""


@dataclass(
    frozen=True,
    config=_config(
        oneOf=[
            _then(runs_istiod={"const": True}, control_plane={"const": None}),
            _then(runs_istiod={"const": False}, control_plane={"type": "string"}),
        ]
    ),
)
class Cluster:
    """One cluster of the mesh. It runs an istiod, or the istiod of another cluster manages it."""

    name: Text
    """What routes, steps and versions call it."""
    network: str
    """Name of its network in the mesh."""
    id: str = ""
    """The id by which istiod knows it; empty where no istiod does."""
    runs_istiod: bool = True
    """Whether an istiod runs in it."""
    control_plane: str | None = None
    """Name of the cluster whose istiod manages it; null where its own does."""
    context: str = ""
    """The kubeconfig's context, or the name of the kind cluster."""
    node_address: str = ""
    """IP address of its one node; empty in a mesh that this suite did not make."""
    pod_subnet: str = ""
    """Where its pods' addresses come from."""
    service_subnet: str = ""
    """Where its services' addresses come from; empty in a mesh that this suite did not make."""
    gateway_addresses: tuple[str, ...] = ()
    """Where its east-west gateway is reached from other networks, as address:port."""

    @model_validator(mode="after")
    def _has_one_control_plane(self) -> Self:
        if self.runs_istiod is not (self.control_plane is None):
            raise ValueError("control_plane: a cluster runs istiod, or names the cluster whose istiod manages it")
        return self


@dataclass(frozen=True, config=_config())
class Versions:
    """What the run was made of; what is not known is absent."""

    splithorizon: str
    """This suite."""
    python: str
    """The interpreter that ran it."""
    provider: str = ""
    """What kind made its nodes with: podman or docker; empty in a mesh that this suite did not make."""
    engine: str = ""
    """Version of that container engine."""
    kind: str = ""
    """kind."""
    kubernetes: str = ""
    """The API servers."""
    istio: Mapping[str, str] = field(default_factory=dict)
    """Istio, by cluster."""
    envoy: str = ""
    """Envoy of the sidecars and gateways."""
    coredns: str = ""
    """The clusters' DNS server."""
    etcd: str = ""
    """The clusters' store."""
    images: str = ""
    """Where the images came from: built or published; empty in a mesh that this suite did not make."""


@dataclass(frozen=True, config=_config())
class Fact:
    """One field of one object that a diagnosis rests on."""

    object: Text
    """The object, as cluster, kind, namespace and name."""
    field: Text
    """The field, as a path within the object."""
    value: str
    """What it holds."""


@dataclass(frozen=True, config=_config())
class Diagnosis:
    """The one cause that explains the failures of the run."""

    cause_id: Text
    """The cause, by id."""
    text: Text
    """The cause, as a sentence."""
    evidence: tuple[Fact, ...] = ()
    """What was read to decide on it."""
    fix: str = ""
    """The command or change that mends it."""
    consequences: tuple[str, ...] = ()
    """The behaviours that failed because of it, by the stems of their modules."""
    witness: str = ""
    """What shows that it has an effect: a proxy's state, traffic, or a failed check."""


@dataclass(frozen=True, config=_config())
class Note:
    """Something in the configuration that would be a cause, and that nothing shows to have an effect."""

    cause_id: Text
    """The cause that it would be, by id."""
    evidence: tuple[Fact, ...] = ()
    """What was read of it."""


@dataclass(frozen=True, config=_config())
class Condition:
    """Something about the mesh or the machine under which the verdict was reached."""

    name: Text
    """What was measured or read."""
    value: str
    """What it was."""
    consequence: str = ""
    """What it means for the verdict."""


@dataclass(
    frozen=True,
    config=_config(
        **{
            "$id": f"urn:splithorizon:report:{SCHEMA_VERSION}",
            "allOf": [
                {
                    "description": "Conformant means that something was checked and nothing else was found.",
                    "if": _where("verdict", Verdict.CONFORMANT),
                    "then": _then(
                        behaviours={"minItems": 1, "items": _where("verdict", Verdict.CONFORMANT)},
                        totals=_then(unjoined={"const": 0}),
                    ),
                },
                {
                    "description": "Not conformant means that at least one check found so.",
                    "if": _where("verdict", Verdict.NOT_CONFORMANT),
                    "then": _then(behaviours={"contains": _where("verdict", Verdict.NOT_CONFORMANT)}),
                },
                {
                    "description": "Inconclusive, and only inconclusive, has a reason.",
                    "if": _where("verdict", Verdict.INCONCLUSIVE),
                    "then": _then(inconclusive_reason=_SAYS_SOMETHING),
                    "else": _then(inconclusive_reason=_IS_EMPTY),
                },
            ],
        }
    ),
)
class RunReport:
    """One run of the suite: what was tested, how, what each check found, and the verdict. Times are in seconds."""

    run_id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    """The run's name, which is also the name of its folder below reports/."""
    started: Moment
    """When the run began."""
    finished: Moment
    """When the verdict stood, after everything created was removed."""
    command: Annotated[tuple[str, ...], MinLen(1)]
    """The command line that began the run, as separate arguments; the same line reproduces it."""
    versions: Versions
    """What the run was made of."""
    verdict: Verdict
    """The verdict on the mesh."""
    exit_status: Literal[0, 1, 2, 3, 4, 5, 6, 10]
    """How pytest ended: 0 conformant or partial, 1 not conformant, 2 interrupted, 3 internal error, 4 bad input,
    5 nothing collected, 6 too many warnings, 10 inconclusive."""
    options: Mapping[str, Scalar] = field(default_factory=dict)
    """Every option of the suite with the value it had, defaults included."""
    namespace: str = ""
    """Where the run's own workloads were; empty where it ended before there was a mesh."""
    clusters: tuple[Cluster, ...] = ()
    """The mesh as it stood; empty where the run ended before there was one."""
    steps: tuple[StepTime, ...] = ()
    """Every step of set-up and removal, in the order in which they ended; they overlap."""
    behaviours: tuple[BehaviourResult, ...] = ()
    """What each test found of its claim, one entry per route."""
    totals: Totals = Totals()
    """Requests over all traffic samples."""
    inconclusive_reason: str = ""
    """What broke before a judgement was possible; empty for every other verdict."""
    next_command: str = ""
    """One command that looks further into what broke; empty where the behaviours have theirs."""
    diagnosis: Diagnosis | None = None
    """The one cause that explains the failures; null where none was found."""
    other_causes: tuple[Diagnosis, ...] = ()
    """Causes that stand beside it and do not follow from it."""
    undiagnosed: str = ""
    """Why failures have no diagnosis: no known cause fits, or the mesh could not be read; empty where they have one."""
    notes: tuple[Note, ...] = ()
    """What the diagnosis found in the configuration and nothing shows to have an effect."""
    conditions: tuple[Condition, ...] = ()
    """Circumstances under which the verdict was reached."""
    not_restored: tuple[NotRestored, ...] = ()
    """What the run changed in the mesh and did not put back."""
    not_claimed: tuple[NotClaimed, ...] = ()
    """Behaviours that this run made no claim about."""
    schema_version: Literal[2] = 2
    """Version of this form; it grows with every change that a reader would notice."""

    @model_validator(mode="after")
    def _is_honest(self) -> Self:
        found = [result.verdict for result in self.behaviours]
        if self.verdict is Verdict.CONFORMANT:
            _require(found, "behaviours: a conformant run has checked something")
            _require(set(found) <= {Verdict.CONFORMANT}, "behaviours: a conformant run has no other verdict")
            _require(not self.totals.unjoined, "totals.unjoined: a conformant run has joined every reply")
        if self.verdict is Verdict.NOT_CONFORMANT:
            _require(Verdict.NOT_CONFORMANT in found, "behaviours: no check found that the mesh is not conformant")
        if bool(self.inconclusive_reason) is not (self.verdict is Verdict.INCONCLUSIVE):
            raise ValueError("inconclusive_reason: inconclusive runs, and only those, have a reason")
        names = {cluster.name for cluster in self.clusters}
        for cluster in self.clusters:
            known = cluster.control_plane is None or cluster.control_plane in names
            _require(known, f"clusters: there is no cluster {cluster.control_plane!r} that manages {cluster.name!r}")
        return self


class _Untitled(GenerateJsonSchema):
    """Without the titles that repeat each field's name."""

    def field_title_should_be_set(self, schema: object) -> bool:  # noqa: ARG002  # pydantic asks about each
        return False


_FORM: TypeAdapter[RunReport] = TypeAdapter(RunReport)


def schema() -> dict[str, Any]:
    """The JSON schema of ``report.json``, draft 2020-12, as the classes here have it."""
    form = _FORM.json_schema(mode="serialization", schema_generator=_Untitled)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **form}


def utc(moment: datetime | None = None) -> str:
    """Give a moment, by default now, as a report takes it: ISO 8601, UTC, milliseconds."""
    moment = (moment or datetime.now(UTC)).astimezone(UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def write(report: RunReport, folder: Path, redact: Redact = redaction.redact) -> Path:
    """Write ``report.json`` into ``folder`` and return its path; a reader never sees half of it.

    Raises InvalidReport, and writes nothing, where the redacted report breaks the schema.
    """
    content = _plain(_FORM.dump_python(report, mode="json"), redact)
    text = json.dumps(content, indent=2, ensure_ascii=False)
    _read(text, f"the report of run {report.run_id}")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / NAME
    private_file.write(path, text + "\n", mode=private_file.SHARED)
    return path


def load(path: Path) -> RunReport:
    """Read a report, one of version 1 too; raises InvalidReport for anything else."""
    text = path.read_text(encoding="utf-8")
    try:
        content = json.loads(text)
    except ValueError as error:
        raise InvalidReport(f"{path} is not JSON: {error}") from None
    if isinstance(content, dict) and content.get("schema_version") == report_v1.SCHEMA_VERSION:
        try:
            text = json.dumps(report_v1.converted(content))
        except (KeyError, TypeError, AttributeError) as error:
            raise InvalidReport(f"{path} is no report of version 1: {type(error).__name__}: {error}") from None
    return _read(text, str(path))


def point_latest(reports: Path, run_folder: Path) -> Path:
    """Let ``reports/latest`` point to the run's folder; at every moment it points to some run.

    The link is relative, so that the reports can be moved. Raises FileExistsError where a file or
    folder that is not ours has that name.
    """
    latest = reports / LATEST
    if latest.exists() and not latest.is_symlink():
        raise FileExistsError(f"{latest} is no link of this suite's: move it away, then run again")
    beside = reports / f".{LATEST}.{uuid.uuid4().hex}"
    try:
        beside.symlink_to(os.path.relpath(run_folder, reports), target_is_directory=True)
        beside.replace(latest)
    finally:
        beside.unlink(missing_ok=True)
    return latest


def _read(text: str, what: str) -> RunReport:
    """Take JSON as it stands: a number in quotes is no number."""
    try:
        return _FORM.validate_json(text, strict=True)
    except ValidationError as broken:
        errors = broken.errors(include_url=False, include_input=False)
        places = "; ".join(f"{_place(error['loc'])}: {error['msg']}" for error in errors[:_PROBLEMS_SHOWN])
        raise InvalidReport(f"{what} breaks {SCHEMA.name} in {len(errors)} place(s): {places}"[:2000]) from None


def _place(location: tuple[int | str, ...]) -> str:
    return "$" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)


def _require(holds: object, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)


def _plain(value: Any, redact: Redact, name: str = "") -> Any:
    """Make it JSON data without secrets; a text is judged with the name that it stands under."""
    if isinstance(value, str):
        label = f"{name}: " if name else ""
        return redact(label + value).removeprefix(label)
    if isinstance(value, Mapping):
        return {redact(str(key)): _plain(entry, redact, str(key)) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry, redact, name) for entry in value]
    # Only times: a probability of a millionth must not become none.
    return round(value, 3) if name in _TIMES else value
