"""The diagnosis of a user's own Service in a mesh that is there: it creates nothing and sends nothing in the mesh."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from splithorizon.base.errors import EnvironmentBroke, UsageProblem
from splithorizon.diagnosis import access, endpoints, prevailing, root_cause, state
from splithorizon.diagnosis.access import Target
from splithorizon.diagnosis.endpoints import View
from splithorizon.diagnosis.reading import read
from splithorizon.diagnosis.reading.model import Reading
from splithorizon.diagnosis.root_cause import Diagnosis
from splithorizon.istio.info import MeshInfo
from splithorizon.mesh.mesh import Mesh
from splithorizon.run import arguments, existing_mesh, known_secrets
from splithorizon.run.journal import Journal
from splithorizon.run.options import Options
from splithorizon.run.outcome import ExitStatus
from splithorizon.run.redaction import Redactor

# Without either nothing can be said of a cluster.
_NEEDED = ("Service", "Pod")


@dataclass(frozen=True)
class Question:
    """Whose diagnosis is asked: a Service, the client whose Envoy is looked at, and how much of the access logs."""

    namespace: str
    service: str
    client_namespace: str = ""
    client: str = ""
    minutes: int = 10


@dataclass(frozen=True)
class Found:
    """The answer: the mesh, what was read of it, what each cluster's clients hold, and what explains it."""

    mesh: MeshInfo
    reading: Reading
    views: tuple[View, ...]
    diagnosis: Diagnosis
    failing: tuple[str, ...] = ()
    """How requests for the Service fail as a rule, by its clients' logs and counters."""
    exceptions: tuple[str, ...] = ()
    """Failures in the access logs that are too few to bear witness."""

    @property
    def wrong(self) -> bool:
        """Whether something is wrong, by whatever cause: endpoints, or requests that fail as a rule."""
        return bool(self.diagnosis.root_causes or self.failing or any(one.wrong for one in self.views))

    @property
    def unjudged(self) -> str:
        """Why nothing can be said; empty where something can."""
        lacking = [one.name for one in self.reading.clusters if not all(map(one.read, _NEEDED))]
        if lacking:
            return f"the Services and pods of {' and '.join(lacking)} could not be read"
        blind = [one.cluster for one in self.views if one.proxy is None]
        if len(blind) == len(self.views):
            return "in no cluster an Envoy could be read that shows the endpoints of the Service"
        # Where a pod with a proxy is there, it could have been seen.
        silent = [name for name in blind if self.reading[name].proxies]
        return f"no Envoy of {' and '.join(silent)} could be read" if silent else ""

    @property
    def exit_status(self) -> ExitStatus:
        """1 where something is wrong, 10 where too little could be read to say so, else 0."""
        if self.wrong:
            return ExitStatus.NOT_CONFORMANT
        return ExitStatus.INCONCLUSIVE if self.unjudged else ExitStatus.CONFORMANT


def named(text: str, option: str) -> tuple[str, str]:
    """Namespace and name of ``NS/NAME``; raises UsageProblem for anything else."""
    found = arguments.namespaced_name(text)
    if found is None:
        raise UsageProblem(f"{option} {text}: a namespace and a name are needed, NS/NAME")
    return found


def diagnose(options: Options, question: Question) -> tuple[Found, Redactor]:
    """Read the mesh that the contexts lead to and find what is wrong with the Service.

    Returns what was found, and what blanks every credential that was used. Raises UsageProblem for contexts that are
    none of one mesh, for a Service or client that no cluster has, and EnvironmentBroke where an API server does not
    answer.
    """
    with _folder() as folder:
        kubes = existing_mesh.connect(existing_mesh.named_contexts(options), folder)
        runs_istiod = existing_mesh.connect_istiod(options, folder)
        mesh, _ = existing_mesh.read(options, kubes, namespace=question.namespace, runs_istiod=runs_istiod)
        found = of_mesh(mesh, question)
        return found, Redactor(known_secrets.of_run(folder))


def of_mesh(mesh: MeshInfo, question: Question) -> Found:
    """Find what is wrong with the Service in a mesh that is known; raises UsageProblem as ``diagnose`` does."""
    found = _read(mesh, question)
    # Pods come and go while the mesh is read: what no cause explains has to be there twice.
    if not found.diagnosis.root_causes and any(one.wrong for one in found.views):
        found = _read(mesh, question)
    return found


def _read(mesh: MeshInfo, question: Question) -> Found:
    clusters = access.clusters_of(Mesh(mesh))
    target = Target(
        question.namespace, question.service, client_name=question.client, client_namespace=question.client_namespace
    )
    since = datetime.now(UTC) - timedelta(minutes=question.minutes)
    reading = read.read(clusters, target, mesh.revision, since=since)
    _require_service(reading)
    _require_client(reading, target)
    whole = replace(mesh, namespace=question.namespace)
    return Found(
        whole, reading, endpoints.views(reading, target), root_cause.of_reading(reading),
        tuple(prevailing.failing(reading)), tuple(prevailing.exceptions(reading)),
    )  # fmt: skip


def _require_service(reading: Reading) -> None:
    unread = [one.name for one in reading.clusters if not one.read("Service")]
    if len(unread) == len(reading.clusters):
        reason = next((str(one) for one in reading.unread if one.what.startswith("Service")), "no answer")
        raise EnvironmentBroke("the Services of no cluster could be read", seen=reason)
    if not unread and not any(state.service_of(reading, one) for one in reading.clusters):
        raise UsageProblem(f"--service {reading.namespace}/{reading.service}: no cluster has this Service")


def _require_client(reading: Reading, target: Target) -> None:
    if not target.client_name or not all(one.read("Pod") for one in reading.clusters):
        return
    for cluster in reading.clusters:
        if any(read.named(dict(cluster.objects), target, cluster.all("Pod", target.senders_in))):
            return
    raise UsageProblem(
        f"--client {target.senders_in}/{target.client_name}: no cluster has a pod of this name, or one of such a "
        "Deployment"
    )


@contextmanager
def _folder() -> Iterator[Path]:
    """A folder of a run, private and recorded, for copies of the contexts: a sweep removes it if this is killed."""
    journal = Journal.open(f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}")
    try:
        yield journal.folder
    finally:
        journal.close()
