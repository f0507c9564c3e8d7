"""``python -m bench scale``: what more Services in a mesh cost istiod, and what they cost a run of ``core``."""

from __future__ import annotations

import argparse
import json
import os
import re
import secrets
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from bench import convergence, counted_reads, scale_results
from bench.convergence import Until
from bench.counted_reads import Source
from bench.scale_results import Core, Size
from lab import ending
from lab.session import LabSession
from splithorizon.base import parallel, process
from splithorizon.base.errors import EnvironmentBroke
from splithorizon.base.timeouts import current as timeouts
from splithorizon.base.waiting import NotYet, eventually
from splithorizon.istio.topology import Route
from splithorizon.kube import pod_http
from splithorizon.kube.client import Kube, Object
from splithorizon.kube.rollout import await_rollout
from splithorizon.mesh.cluster import Cluster
from splithorizon.mesh.mesh import Mesh
from splithorizon.run import report, report_file, report_text
from splithorizon.run.options import Options
from splithorizon.run.progress import Progress
from splithorizon.run.verdict import Verdict
from splithorizon.traffic import workloads

_REPOSITORY = Path(__file__).resolve().parents[1]
_SIZES = (10, 50, 100, 200, 500)
_NAMESPACE = "scale"
_NOBODY = {"app": "nobody"}
# istiod's own port for what is asked of it as a program.
_METRICS_PORT, _METRICS_BYTES = 15014, 8_000_000
_METRIC = re.compile(
    r'^(?:(?P<full>pilot_pushcontext_init_seconds_count)|pilot_xds_pushes\{.*?type="(?P<type>\w+)".*\})'
    r" (?P<value>\S+)$",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Pushes:
    """What istiods have pushed since they started; as in ``Core``."""

    full: int = 0
    sent: int = 0
    endpoints_sent: int = 0

    @classmethod
    def read(cls, metrics: str) -> Pushes:
        """Those of one istiod, from its metrics in Prometheus's format."""
        found = [(one["full"], one["type"], int(float(one["value"]))) for one in _METRIC.finditer(metrics)]
        return cls(
            full=sum(value for full, _, value in found if full),
            # An error is counted beside what it is an error of.
            sent=sum(value for _, kind, value in found if kind and kind != "eds" and not kind.endswith("err")),
            endpoints_sent=sum(value for _, kind, value in found if kind == "eds"),
        )

    def __add__(self, other: Pushes) -> Pushes:
        """Those of two istiods."""
        return Pushes(
            self.full + other.full, self.sent + other.sent, self.endpoints_sent + other.endpoints_sent
        )  # fmt: skip

    def __sub__(self, before: Pushes) -> Pushes:
        """Those since then."""
        return Pushes(
            self.full - before.full, self.sent - before.sent, self.endpoints_sent - before.endpoints_sent
        )  # fmt: skip


def service(name: str, selector: Object) -> Object:
    """One of our Services; by default all of a cluster select its one pod in our namespace."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": _NAMESPACE},
        "spec": {"ports": [{"name": "http", "port": workloads.PORT}], "selector": selector},
    }


class Scale:
    """One mesh that grows, and what is measured at each size."""

    def __init__(self, mesh: Mesh, reports: Path, progress: Progress) -> None:
        """Take the mesh, and the folder for the reports of ``core``; nothing is made yet."""
        self._mesh = mesh
        self._reports = reports
        self._progress = progress
        self._services = 0

    def make_workloads(self) -> None:
        """Make our namespace in every cluster, with one pod that answers as the cluster's helloworld does."""
        with self._progress.step("a pod for the Services of each cluster"):
            parallel.for_each(self._mesh.names, lambda name: _make_workload(self._mesh[name]))

    def measure(self, services: int, *, times: int, runs: int) -> Size:
        """Let the mesh grow to that many Services in each cluster, and measure.

        Convergence is measured ``times`` times on each route, and ``core`` is run ``runs`` times.
        """
        self._grow(services)
        rounds = [
            (route, f"probe-{services}-{number}") for number in range(times) for route in self._mesh.client_routes
        ]
        with self._progress.step(f"convergence with {services} services"):
            created, ended = zip(*(self._converge(route, name) for route, name in rounds), strict=True)
        core = []
        for number in range(runs):
            with self._progress.step(f"core with {services} services, run {number + 1}"):
                core.append(self.run_core(f"core-{services}-{number + 1}"))
        return Size(services, created, ended, tuple(core), load=os.getloadavg()[0])

    def run_core(self, name: str) -> Core:
        """Run ``core`` as a user does, on an existing mesh; raises EnvironmentBroke unless it is conformant."""
        folder, counts, log = (self._reports / part for part in (name, f"{name}-reads.json", f"{name}.log"))
        before, worked = self._pushes(), _processor_seconds_of_children()
        done = process.run(
            [*_core_command(self._mesh), f"--report-dir={folder}"], within=timeouts().suite_run,
            env={counted_reads.FILE: str(counts)}, cwd=_REPOSITORY, log=log, check=False,
        )  # fmt: skip
        worked = _processor_seconds_of_children() - worked
        pushed = self._pushes() - before
        written = folder / report_file.LATEST / report_file.NAME
        result = report_file.load(written) if written.exists() else None
        if result is None or result.verdict is not Verdict.CONFORMANT:
            seen = "no report" if result is None else str(result.verdict)
            raise EnvironmentBroke("core is not conformant", seen=seen, next_command=f"cat {log}")
        read = json.loads(counts.read_text())
        return Core(
            seconds=round(done.seconds, 2),
            check_seconds=round(report_text.phases_of(result).checks, 2),
            processor_seconds=round(worked, 2),
            bytes_of_api_servers=read[Source.API_SERVERS],
            bytes_of_proxies=read[Source.PROXIES],
            bytes_of_istiods=read[Source.ISTIODS],
            full_pushes=pushed.full,
            sent=pushed.sent,
            endpoints_sent=pushed.endpoints_sent,
        )

    def _grow(self, services: int) -> None:
        names = [f"scale-{number:04}" for number in range(self._services, services)]
        if not names:
            return
        with self._progress.step(f"{len(names)} more services in each cluster"):
            documents = [service(name, {"app": workloads.SERVICE}) for name in names]
            parallel.for_each(self._mesh.names, lambda name: self._mesh[name].kube.apply(documents))
            for cluster in self._mesh:
                known = partial(self._require_known, cluster, names[-1])
                eventually(f"{cluster}'s client knows {names[-1]}", known, within=timeouts().endpoints_pushed)
        self._services = services

    def _require_known(self, cluster: Cluster, name: str) -> None:
        found = cluster.client.proxy.endpoints(f"outbound|{workloads.PORT}||{self._host(name)}")
        if len(found) < len(self._mesh.names):
            raise NotYet(f"{len(found)} endpoints")

    def _converge(self, route: Route, name: str) -> tuple[float, float]:
        """The seconds until a new Service of the far cluster answers, and until its endpoint's end is known."""
        far, client = self._mesh[route.far], self._mesh[route.near].client
        version = self._mesh.info.workload_versions[route.far]
        measure = partial(convergence.measure, client, self._host(name), version)
        created = measure(Until.REACHED, lambda: far.kube.apply(service(name, {"app": workloads.SERVICE})))
        ended = measure(Until.MISSED, lambda: far.kube.apply(service(name, _NOBODY)))
        far.kube.delete("Service", name, _NAMESPACE)
        return created, ended

    def _host(self, service_name: str) -> str:
        return f"{service_name}.{_NAMESPACE}.svc.{self._mesh.info.domain}"

    def _pushes(self) -> Pushes:
        return sum((_pushes_of(cluster) for cluster in self._mesh.control_planes), start=Pushes())


def _make_workload(cluster: Cluster) -> None:
    kube, name = cluster.kube, workloads.helloworld_of(cluster.info.version)
    theirs, deployment = kube.get("Namespace", cluster.namespace), kube.get("Deployment", name, cluster.namespace)
    if theirs is None or deployment is None:
        raise EnvironmentBroke(f"{cluster.namespace}/{name} is not in the {cluster} cluster")
    labels = {key: value for key, value in theirs["metadata"]["labels"].items() if not key.startswith("kubernetes.io/")}
    spec = {key: deployment["spec"][key] for key in ("selector", "template")}
    kube.apply(
        [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": _NAMESPACE, "labels": labels}},
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": {"name": name, "namespace": _NAMESPACE},
                "spec": {"replicas": 1, **spec},
            },
        ]
    )
    await_rollout(kube, name, _NAMESPACE, within=timeouts().workload_ready)


def _processor_seconds_of_children() -> float:
    """Of the child processes that have ended."""
    times = os.times()
    return times.children_user + times.children_system


def _pushes_of(cluster: Cluster) -> Pushes:
    """Those of every istiod in a cluster."""
    namespace = cluster.system_namespace
    pods = cluster.kube.list("Pod", namespace, "app=istiod", "status.phase=Running")
    return sum((Pushes.read(_metrics(cluster.kube, namespace, pod["metadata"]["name"])) for pod in pods), Pushes())


def _metrics(kube: Kube, namespace: str, pod: str) -> str:
    with kube.port_forward(pod, namespace, _METRICS_PORT, within=timeouts().small_command) as stream:
        status, body = pod_http.get(stream, "/metrics", limit=_METRICS_BYTES)
    if status != 200:
        raise EnvironmentBroke(f"{namespace}/{pod} has no metrics", seen=f"HTTP {status}")
    return body.decode(errors="replace")


def _core_command(mesh: Mesh) -> Iterator[str]:
    """The command of a user who has two contexts, which knows nothing else of the mesh."""
    files = [cluster.info.kubeconfig for cluster in mesh]
    yield from (sys.executable, "-m", "pytest", "-p", "bench.counted_reads", "suites/", "--profile", "core")
    yield from ("--diagnostics", "never", "--contexts", ",".join(map(_context, files)))
    yield from (f"--kubeconfig-{place}={file}" for place, file in zip(("primary", "remote"), files, strict=True))


def _context(kubeconfig: Path) -> str:
    content: dict[str, Any] = yaml.safe_load(kubeconfig.read_text())
    return str(content["current-context"])


def main(arguments: Sequence[str]) -> int:
    """Make a mesh, measure it at each size, print and write the results.

    Returns 0, 4 for bad input, 10 where something broke, 130 where the user stopped it: what was measured by then is
    printed and written all the same.
    """
    asked = _parser().parse_args(arguments)
    started = datetime.now(UTC)
    options = Options(
        provider=asked.provider, images="built", cluster_name=asked.cluster_name, reports=_REPOSITORY / "reports"
    )
    run_id = f"scale-{started:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
    session = LabSession(options, Progress(lambda line: print(line, file=sys.stderr, flush=True)), run_id=run_id)
    sizes: list[Size] = []
    write = partial(_write, session.report_folder, report.utc(started))
    try:
        status = ending.status_of(lambda: _measure(session, asked, sizes, write))
    finally:
        session.close()
    if sizes:
        print("\n".join(["", *scale_results.table(sizes), "", str(session.report_folder / "scale.html")]))
    return status


def _measure(
    session: LabSession, asked: argparse.Namespace, sizes: list[Size], write: Callable[[Sequence[Size]], None]
) -> None:
    """Add each size once it is measured, and write what there is: a measurement that ends early leaves that."""
    scale = Scale(Mesh(session.provision()), session.report_folder, session.progress)
    scale.make_workloads()
    with session.progress.step("core once, not measured: it fills caches"):
        scale.run_core("core-warm-up")
    for services in asked.sizes:
        sizes.append(scale.measure(services, times=asked.times, runs=asked.runs))
        write(sizes)


def _write(folder: Path, started: str, sizes: Sequence[Size]) -> None:
    (folder / "scale.json").write_text(scale_results.as_json(sizes, started=started))
    (folder / "scale.md").write_text("\n".join(scale_results.table(sizes)) + "\n")
    (folder / "scale.html").write_text(scale_results.page(sizes, started))


def sizes_of(text: str) -> tuple[int, ...]:
    """The numbers of Services that an option names, the smallest first; a mesh does not shrink here."""
    sizes = sorted({int(part) for part in text.split(",")})
    if sizes[0] < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return tuple(sizes)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench scale", description=__doc__)
    parser.add_argument("--sizes", type=sizes_of, default=_SIZES, help="Services in each cluster (10,50,100,200,500)")
    parser.add_argument("--times", type=int, default=5, help="how often convergence is measured on each route")
    parser.add_argument("--runs", type=int, default=1, help="runs of core at each size")
    parser.add_argument("--cluster-name", default="scale", metavar="PREFIX", help="of the clusters' names")
    parser.add_argument("--provider", choices=("auto", "podman", "docker"), default="auto", help="container engine")
    return parser
