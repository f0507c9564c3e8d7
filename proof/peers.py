"""What people use instead, asked beside the suite: istioctl's three commands, and ten curls from each side.

Each answer is a set of statements. Those that are not made of the sound mesh are news, and so are those that are
missing, but for analyze: that is *noticed*. The cause is *named* where a statement that is news has words of a table,
which is generous to them. The sound mesh is *accused* by what is said of it at the level of a warning or an error.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from proof.faults.registry import Fault
from splithorizon.base import parallel, process
from splithorizon.base.errors import EnvironmentBroke
from splithorizon.base.timeouts import current as timeouts
from splithorizon.mesh.cluster import Cluster
from splithorizon.mesh.mesh import Mesh
from splithorizon.traffic import workloads

ANALYZE, REMOTE_CLUSTERS, PROXY_STATUS, CURLS = "analyze", "remote-clusters", "proxy-status", "curls"
PEERS = (ANALYZE, REMOTE_CLUSTERS, PROXY_STATUS, CURLS)
Statements = Mapping[str, tuple[str, ...]]
"""What each of them says of a mesh, by its name."""

_TIMES = 10
# The name of a Deployment's pod: with a new pod the statement is still the same.
_OF_A_DEPLOYMENT = re.compile(r"-[a-z0-9]{6,10}-[a-z0-9]{5}\b")
_DIFFERS = "IST0170"
# These name clusters or Services in any order, or any two of several: the next time it says the same otherwise.
_LIST_VARIES = (_DIFFERS, "IST0137")
_LISTED = re.compile(r"\[[^\]]*\]")
_SYNCED = re.compile(r"^(SYNCED|NOT SENT|IGNORED|[0-9]+ \()")
_SOUND_ENDS = ("synced", "200")

# By the id of a cause: words of which a statement has to have one to name it. A command names what its statement is
# about; a status that is only bad in general is not.
NAMES: Mapping[str, tuple[str, ...]] = {
    "ports-differ": (r"IST0170 .*ports", r"IST0118"),
    "port-misnamed": (r"IST0118",),
    "target-port-wrong": (r"IST0170 .*ports", r"IST0137"),
    "service-kind-differs": (r"IST0170 .*(type|mode)",),
    "selector-misses-pods": (r"IST0170 .*selector", r"IST0127"),
    "namespace-not-injected": (r"IST0102 .*Namespace sample",),
    "namespace-not-discovered": (r"IST01\d\d .*discoverySelectors",),
    "pod-refuses-sidecar": (r"IST0103",),
    "pod-without-sidecar": (r"IST0103",),
    "webhook-not-called": (r"IST0103", r"IST0139"),
    "webhook-leads-nowhere": (r"IST0139",),
    "gateway-port-leads-elsewhere": (r"IST0162",),
    "gateway-not-listening": (r"IST0162",),
    "gateway-selects-no-gateway": (r"IST0162", r"IST0101"),
    "gateway-bypassed": (r"IST0162", r"IST0116"),
    "mesh-networks-registry-wrong": (r"IST0126",),
    "mesh-config-unreadable": (r"IST0133", r"IST0106"),
    "envoy-refused-config": (r"proxy-status: .*(STALE|ERROR|NACK)", r"IST0133"),
    "fault-injected": (r"fault filter abort",),
    "policy-denies": (r"RBAC: access denied",),
    "token-demanded": (r"Jwt ",),
    "rate-limited": (r"local_rate_limited",),
    "rule-sends-elsewhere": (r"IST0101", r"IST0109"),
    "rule-picks-subset": (r"IST0101", r"IST0173"),
    "rule-matches-nothing": (r"IST0130", r"IST0131"),
    "older-rule": (r"IST0109", r"IST0174"),
    "rule-changes-tls": (r"IST0128", r"IST0129"),
    "sidecar-hides-service": (r"IST0110", r"IST0111"),
    "workload-entry-unreachable": (r"IST01\d\d .*WorkloadEntry",),
    "service-entry-adds-endpoints": (r"IST0134", r"ServiceEntry"),
    "access-log-off": (r"IST0157", r"Telemetry"),
    "access-log-format-unknown": (r"IST0157", r"Telemetry"),
    "remote-secret-missing": (r"gone: remote-clusters: remote ",),
    "remote-secret-key-wrong": (r"remote-clusters: (?!remote )",),
    "remote-secret-without-kubeconfig": (r"gone: remote-clusters: remote ",),
    "remote-secret-at-loopback": (r"remote-clusters: .* timeout",),
    "remote-secret-refused": (r"remote-clusters: .* timeout",),
    "api-server-unreachable": (r"remote-clusters: .* timeout",),
    "remote-named-twice": (r"remote-clusters: (?!remote |primary )",),
    "cluster-not-synced": (r"remote-clusters: .* (timeout|closed)",),
}


@dataclass(frozen=True)
class Judged:
    """What one of them noticed of one fault: the statements that are news, and whether one names the cause."""

    news: tuple[str, ...] = ()
    named: bool = False

    @property
    def noticed(self) -> bool:
        """Whether anything is other than on the sound mesh."""
        return bool(self.news)


@dataclass
class Comparison:
    """One proof's answers: of the sound mesh, and of each fault, by the fault's name and then by who was asked."""

    sound: dict[str, tuple[str, ...]] = field(default_factory=dict)
    faults: dict[str, dict[str, Judged]] = field(default_factory=dict)

    @property
    def accused(self) -> dict[str, tuple[str, ...]]:
        """What each says against the sound mesh."""
        return {name: tuple(filter(accuses, self.sound.get(name, ()))) for name in PEERS}

    def as_json(self, versions: Mapping[str, str], ours: Mapping[str, bool]) -> dict[str, Any]:
        """All of it for a program; ``ours`` has for each fault whether the suite named it as the one root cause."""
        return {
            "date": date.today().isoformat(),
            "versions": dict(versions),
            "faults": len(self.faults),
            "totals": {
                name: {
                    "noticed": sum(one[name].noticed for one in self.faults.values() if name in one),
                    "named": sum(one[name].named for one in self.faults.values() if name in one),
                    "accused_the_sound_mesh": list(self.accused[name]),
                }
                for name in PEERS
            },
            "splithorizon": {
                "noticed": sum(name in ours for name in self.faults),
                "named": sum(ours.get(name, False) for name in self.faults),
                "accused_the_sound_mesh": [],
            },
            "by_fault": {
                name: {
                    "splithorizon": {"noticed": name in ours, "named": ours.get(name, False)},
                    **{who: {"named": one.named, "news": list(one.news)} for who, one in answers.items()},
                }
                for name, answers in self.faults.items()
            },
        }


def ask(mesh: Mesh) -> dict[str, tuple[str, ...]]:
    """Ask all of them; where one fails, its one statement is the failure."""
    steps: dict[str, Callable[[], Iterable[str]]] = {
        ANALYZE: lambda: _analyze(mesh),
        REMOTE_CLUSTERS: lambda: _remote_clusters(mesh),
        PROXY_STATUS: lambda: _proxy_status(mesh),
        CURLS: lambda: _curls(mesh),
    }
    return {name: _answers(step) for name, step in steps.items()}


def _answers(step: Callable[[], Iterable[str]]) -> tuple[str, ...]:
    try:
        return tuple(sorted({*step()}))
    except (EnvironmentBroke, ValueError) as problem:
        return (f"failed: {str(problem)[:300]}",)


def judge(fault: Fault, now: Statements, sound: Statements) -> dict[str, Judged]:
    """What each noticed of a fault, against what it says of the sound mesh."""
    words = [word for cause in _causes(fault) for word in NAMES.get(cause, ())]
    found = {}
    for name in PEERS:
        before, after = {*sound.get(name, ())}, {*now.get(name, ())}
        # That analyze complains of less is nothing that anybody would notice.
        gone = sorted(before - after) if name != ANALYZE else []
        news = [*(f"gone: {name}: {one}" for one in gone), *(sorted(after - before))]
        named = any(re.search(word, f"{name}: {one}" if not one.startswith("gone:") else one)
                    for one in news for word in words)  # fmt: skip
        found[name] = Judged(tuple(news), named)
    return found


def _causes(fault: Fault) -> tuple[str, ...]:
    """The ids that count as the fault's cause: its root cause, and what the checks must carry."""
    return tuple(dict.fromkeys(one for one in (fault.root_cause, *fault.causes.values()) if one))


def accuses(statement: str) -> bool:
    """Whether a statement says that something is wrong."""
    if statement.startswith("IST"):
        return " Info " not in statement
    return statement.startswith("failed:") or not statement.endswith(_SOUND_ENDS)


def _istioctl(mesh: Mesh, cluster: Cluster, *words: str) -> str:
    program = mesh.info.istioctl
    if program is None:
        raise EnvironmentBroke("the mesh has no istioctl")
    command = [str(program), "--kubeconfig", str(cluster.info.kubeconfig), *words]
    command += ["--istioNamespace", cluster.system_namespace] if words[0] != ANALYZE else []
    # analyze ends with 79 where it finds an error; that is an answer.
    return process.run(command, within=timeouts().small_command, check=words[0] != ANALYZE).stdout


def _analyze(mesh: Mesh) -> Iterator[str]:
    """In each cluster, as a person would; in one that runs istiod it reads the others by their remote secrets."""
    printed = parallel.for_each(mesh, lambda one: _istioctl(mesh, one, ANALYZE, "-A", "-o", "json"))
    for cluster, text in printed.items():
        for one in json.loads(text or "[]") or []:
            # Of a Service that differs it names the clusters in any order, and any of them as its own.
            shared = one["code"] == _DIFFERS
            where = f" of {one['cluster']}" if one.get("cluster") and not shared else ""
            message = _LISTED.sub("", one["message"]) if one["code"] in _LIST_VARIES else one["message"]
            yield _plain(f"{one['code']} {one['level']} asked in {cluster}: {one.get('origin', '')}{where}: {message}")


def _remote_clusters(mesh: Mesh) -> Iterator[str]:
    for plane in mesh.control_planes:
        for row in _rows(_istioctl(mesh, plane, REMOTE_CLUSTERS)):
            yield f"{row['NAME']} {row.get('SECRET', '')} {row['STATUS']}"


def _proxy_status(mesh: Mesh) -> Iterator[str]:
    for plane in mesh.control_planes:
        for row in _rows(_istioctl(mesh, plane, PROXY_STATUS, "--verbosity", "1")):
            late = [
                f"{kind} {value}"
                for kind, value in row.items()
                if kind in ("CDS", "LDS", "EDS", "RDS") and not _SYNCED.match(value)
            ]
            yield _plain(f"{row['NAME']} {row.get('CLUSTER', '')} {', '.join(late) or 'synced'}")


def _curls(mesh: Mesh) -> Iterator[str]:
    """Ten requests from each side; that one of two versions never answers by chance happens twice in a thousand."""
    script = 'for n in $(seq "$1"); do curl -s -m 5 -w "\\n%{http_code}\\n" "$2" 2>&1 || true; done'
    url = f"http://{workloads.SERVICE}.{mesh.info.namespace}:{workloads.PORT}/hello"

    def send(cluster: Cluster) -> str:
        client = cluster.client
        argv = ["sh", "-c", script, "sh", str(_TIMES), url]
        stdout, _, _ = client.kube.execute(
            client.pod, client.namespace, workloads.CLIENT, argv, within=timeouts().batch_sent * 2
        )
        return stdout

    for cluster, printed in parallel.for_each(mesh, send).items():
        lines = [line.strip() for line in printed.splitlines() if line.strip()]
        for line in lines:
            if match := re.search(r"version: (\S+),", line):
                yield f"{cluster} is answered by {match[1]}: 200"
            elif not re.fullmatch(r"200", line):
                yield f"{cluster} gets {line}"


def _rows(table: str) -> Iterator[dict[str, str]]:
    """The rows of a table of istioctl, by the titles of its columns, which stand where their values begin."""
    head, *lines = table.splitlines() or [""]
    titles = [(match[0].strip(), match.start()) for match in re.finditer(r"\S+(?: \S+)*", head)]
    for line in lines:
        ends = [*(begin for _, begin in titles[1:]), len(line)]
        row = {title: line[begin:end].strip() for (title, begin), end in zip(titles, ends, strict=True)}
        if row.get("NAME"):
            yield row


def _plain(statement: str) -> str:
    """Without what another pod of the same Deployment has otherwise."""
    return _OF_A_DEPLOYMENT.sub("", statement)
