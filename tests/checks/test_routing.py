"""Each check passes on a sound mesh, and goes red, saying why, on each kind of bad news."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from splithorizon import checks
from splithorizon.base import statistics
from splithorizon.base.errors import EnvironmentBroke
from splithorizon.checks import CheckFailed, Evidence, all_checks, suspects
from splithorizon.checks.judging import NO_CAUSE, PathCount
from splithorizon.diagnosis import causes
from splithorizon.diagnosis.causes import Cause
from splithorizon.istio.info import NetworkMode
from splithorizon.istio.topology import PRIMARY_REMOTE, Route, Way
from splithorizon.kube.pod_status import Readiness
from splithorizon.mesh.bound_clients import BoundClients
from splithorizon.mesh.confinement import Confinement
from splithorizon.traffic.access_log import AccessLogLine
from splithorizon.traffic.client import Attempt, PodAddress, Sample
from splithorizon.traffic.correlate import Matched, join
from splithorizon.traffic.requests import Reply
from tests.support.horizons import GATEWAYS, PODS, of_three, of_two
from tests.support.horizons import VERSIONS as THREE_VERSIONS

OUT, BACK = PRIMARY_REMOTE.routes
NEAR_POD, FAR_POD, GATEWAY = "10.10.0.7:5000", "10.20.0.7:5000", "172.18.0.9:15443"


def reply(number: int, version: str) -> Reply:
    body = f"Hello version: {version}, instance: helloworld-{version}-758dd55874-6x4t8"
    return Reply(f"b-{number}", status=200, seconds=0.01, body=body)


def replies(v1: int, v2: int, v3: int = 0) -> list[Reply]:
    versions = ["v1"] * v1 + ["v2"] * v2 + ["v3"] * v3
    return [reply(number, version) for number, version in enumerate(versions)]


def line(request_id: str, upstream: str | None, flags: str | None = None) -> AccessLogLine:
    raw = f'"{request_id}" "{upstream}"'
    return AccessLogLine(raw=raw, request_id=request_id, upstream_host=upstream, response_flags=flags)


def matched(*paths: tuple[int, str, str | None]) -> Matched:
    """So many replies of a version by way of an upstream, each with its line."""
    spread = [(version, upstream) for count, version, upstream in paths for _ in range(count)]
    found = [reply(number, version) for number, (version, _) in enumerate(spread)]
    upstreams = [upstream for _, upstream in spread]
    return join(found, [line(r.request_id, u) for r, u in zip(found, upstreams, strict=True)])


SOUND = matched((500, "v1", NEAR_POD), (500, "v2", GATEWAY))


LABELS, MESH_NETWORKS = NetworkMode.LABELS, NetworkMode.MESH_NETWORKS


def path_proof(
    found: Matched, route: Route = OUT, near: str = NEAR_POD, far: str = GATEWAY, mode: NetworkMode = LABELS
) -> Evidence:
    known = of_two(route, near={near}, far={FAR_POD}, gateway={far}, mode=mode)
    return checks.path_proof(found, route, horizon=known, versions=EXPECTED)


def all_answered(found: list[Reply], route: Route, mode: NetworkMode = LABELS) -> Evidence:
    return checks.all_answered(found, route, mode=mode)


def both_versions(found: list[Reply], route: Route, mode: NetworkMode = LABELS) -> Evidence:
    return checks.both_versions_answer(found, route, versions=EXPECTED, mode=mode)


POD = Readiness(
    kind="Pod",
    namespace="sample",
    name="helloworld-v1-86f77cd7bd-cpxhv",
    ready=True,
    reason="",
    images=("helloworld",),
    containers=2,
    containers_ready=2,
    sidecar=True,
    restarts=0,
)
WAITING = replace(POD, ready=False, reason="0 of 2 containers ready; ImagePullBackOff")
BARE = replace(POD, sidecar=False)

NEAR = Attempt(PodAddress("helloworld-v1", "10.10.0.7"), "http://10.10.0.7:15020/", 200, 0.01, "")
FAR = Attempt(PodAddress("helloworld-v2", "10.20.0.7"), "http://10.20.0.7:15020/", 0, 0.01, "Failed to connect")

EXPECTED = {"primary": "v1", "remote": "v2"}
PLACED = {"primary": {"v1": 1}, "remote": {"v2": 1}}

Check = Callable[[], Evidence]

HOME = Route("primary", "primary")


def local(found: list[Reply], upstream: str = NEAR_POD, near_pods: frozenset[str] = frozenset({NEAR_POD})) -> Evidence:
    lines = [line(one.request_id, upstream) for one in found]
    return checks.local_traffic_stays(Sample(HOME, tuple(found), join(found, lines)), near_pods=near_pods)


def stays(
    found: list[Reply],
    upstream: str = NEAR_POD,
    near_pods: frozenset[str] = frozenset({NEAR_POD}),
    by: Confinement = Confinement.CLUSTER_LOCAL,
) -> Evidence:
    lines = [line(one.request_id, upstream) for one in found]
    sample = Sample(OUT, tuple(found), join(found, lines))
    return checks.stays_in_cluster(sample, near_pods=near_pods, by=by)


GREEN: dict[str, Check] = {
    "stays in its cluster": lambda: stays(replies(100, 0)),
    "local": lambda: local(replies(100, 0)),
    "all answered": lambda: all_answered(replies(50, 50), OUT),
    "both versions": lambda: both_versions(replies(423, 577), OUT),
    "every reply joined": lambda: checks.every_reply_matched(SOUND, OUT),
    "path": lambda: path_proof(SOUND),
    "path, from the other side": lambda: path_proof(matched((500, "v2", NEAR_POD), (500, "v1", GATEWAY)), BACK),
    "path, over IPv6": lambda: path_proof(
        matched((500, "v1", "[fd00:10::7]:5000"), (500, "v2", "[fd00:9::1]:15443")),
        near="[fd00:10::7]:5000",
        far="[fd00:9::1]:15443",
    ),
    "path, two near pods": lambda: checks.path_proof(
        matched((5, "v1", NEAR_POD), (5, "v1", "10.10.0.8:5000"), (5, "v2", GATEWAY)),
        OUT,
        horizon=of_two(OUT, near={NEAR_POD, "10.10.0.8:5000"}, far={FAR_POD}, gateway={GATEWAY}),
        versions=EXPECTED,
    ),
    "placement": lambda: checks.versions_run_only_in(PLACED, EXPECTED),
    "ready": lambda: checks.ready([POD, POD], "primary"),
    "kept running": lambda: checks.kept_running(
        [POD, replace(POD, name="other", restarts=2)], [replace(POD, name="other", restarts=2), POD], "primary"
    ),
    "ready without a sidecar": lambda: checks.ready([BARE], "primary"),
    "ready with a sidecar": lambda: checks.ready([POD], "primary", sidecar=True),
    "absent": lambda: checks.absent([], "remote"),
    "istiod only in its cluster": lambda: checks.istiod_runs_only_in({"primary": [POD], "remote": []}, ["primary"]),
    "separate, where packets of others vanish": lambda: checks.networks_are_separate(
        OUT, near=NEAR, far=replace(FAR, seconds=3.0), refused=False
    ),
    "separate": lambda: checks.networks_are_separate(OUT, near=NEAR, far=FAR, refused=True),
}

LOST = Reply("b-x", error="curl 28: Operation timed out")
BROKEN = Reply("b-y", status=503, body="no healthy upstream")
STRANGER = Reply("b-z", status=200, body="<h1>It works!</h1>")
ONCE = replies(1, 1)
SLOW = [
    Reply(f"b-s{n}", error=f"curl 28: Operation timed out after {n} milliseconds with 0 bytes received")
    for n in range(10_001, 10_021)
]

RED: dict[str, tuple[Check, str | tuple[Cause, ...]]] = {
    "does not stay in its cluster": (lambda: stays(replies(0, 100), GATEWAY), (causes.MESH_CONFIG_UNREADABLE,)),
    "does not stay in its cluster by a subset": (
        lambda: stays(replies(0, 100), GATEWAY, by=Confinement.SUBSET),
        (causes.OLDER_RULE,),
    ),
    "does not stay in its cluster by a headless service": (
        lambda: stays(replies(0, 100), GATEWAY, by=Confinement.HEADLESS),
        (causes.RULE_SENDS_ELSEWHERE,),
    ),
    "stays in its cluster and refused": (
        lambda: stays([replace(one, status=403, body="") for one in replies(100, 0)]),
        "100 x HTTP 403",
    ),
    "local, refused": (lambda: local([*ONCE, BROKEN]), "2 answered; 1 x HTTP 503"),
    "local, through a gateway": (lambda: local(ONCE, GATEWAY), f"1 of 2: v1 from {GATEWAY}"),
    "a reply lost": (
        lambda: all_answered([*replies(500, 499), LOST], OUT),
        "999 answered; 1 x curl 28: Operation timed out",
    ),
    "a reply with an error": (
        lambda: all_answered([*replies(1, 0), BROKEN, BROKEN], OUT),
        "1 answered; 2 x HTTP 503",
    ),
    "somebody else answered": (
        lambda: all_answered([*replies(1, 1), STRANGER], OUT),
        "2 answered; 1 x HTTP 200 not from helloworld",
    ),
    "only near answers": (
        lambda: both_versions(replies(1000, 0), OUT),
        suspects.far_version_missing(LABELS),
    ),
    "only near answers, from the other side": (
        lambda: both_versions(replies(0, 1000), BACK),
        suspects.far_version_missing(LABELS),
    ),
    "only far answers": (
        lambda: both_versions(replies(0, 1000), OUT),
        "v1 0, v2 1000",
    ),
    "a version that nobody deployed": (
        lambda: both_versions(replies(480, 480, 40), OUT),
        (causes.STRANGE_POD,),
    ),
    "a third version with an even share": (
        lambda: both_versions(replies(10, 10, 10), OUT),
        (causes.STRANGE_POD,),
    ),
    "one too uneven": (
        lambda: both_versions(replies(422, 578), OUT),
        "each version 423 to 577 times",
    ),
    "a reply without a line": (
        lambda: checks.every_reply_matched(join(ONCE, [line("b-0", NEAR_POD)]), OUT),
        "1 joined, 1 without a line, 0 with several",
    ),
    "a reply with two lines": (
        lambda: checks.every_reply_matched(
            join(ONCE, [line("b-0", NEAR_POD), line("b-1", GATEWAY), line("b-1", GATEWAY)]), OUT
        ),
        "1 joined, 0 without a line, 1 with several",
    ),
    "far dialled at its pod": (
        lambda: path_proof(matched((500, "v1", NEAR_POD), (500, "v2", FAR_POD))),
        f"500 of 1000: v2 from {FAR_POD}",
    ),
    "one of a thousand dialled at its pod": (
        lambda: path_proof(matched((500, "v1", NEAR_POD), (499, "v2", GATEWAY), (1, "v2", FAR_POD))),
        suspects.far_pods_dialled(LABELS),
    ),
    "near by way of the far gateway": (
        lambda: path_proof(matched((499, "v1", NEAR_POD), (500, "v2", GATEWAY), (1, "v1", GATEWAY))),
        (causes.BOTH_VERSIONS_EVERYWHERE, causes.GATEWAY_HAIRPIN, causes.POD_FORWARDS),
    ),
    "far behind a near pod": (
        lambda: path_proof(matched((500, "v1", NEAR_POD), (500, "v2", NEAR_POD))),
        (causes.POD_FORWARDS, causes.FAR_VERSION_RUNS_NEAR),
    ),
    "a path proven for a part of the replies": (
        lambda: path_proof(join(replies(5, 5), [line("b-0", NEAR_POD), line("b-5", GATEWAY)])),
        "2 joined, 8 without a line",
    ),
    "another gateway": (
        lambda: path_proof(matched((5, "v1", NEAR_POD), (5, "v2", "172.18.0.99:15443"))),
        (causes.GATEWAY_ADDRESS_WRONG,),
    ),
    "another port of the gateway": (
        lambda: path_proof(matched((5, "v1", NEAR_POD), (5, "v2", "172.18.0.9:443"))),
        "5 of 10: v2 from 172.18.0.9:443",
    ),
    "no upstream": (
        lambda: path_proof(matched((5, "v1", NEAR_POD), (5, "v2", None))),
        (causes.SERVICE_NOT_SENT,),
    ),
    "an error in place of an answer": (
        lambda: path_proof(
            join(
                [*replies(1, 1), BROKEN],
                [line("b-0", NEAR_POD), line("b-1", GATEWAY), line("b-y", FAR_POD, "UF,URX")],
            )
        ),
        f"1 of 3: no answer from {FAR_POD} (UF,URX)",
    ),
    "no reply from far": (
        lambda: path_proof(matched((1000, "v1", NEAR_POD))),
        "1000 from v1, 0 from v2",
    ),
    "no reply from near": (
        lambda: path_proof(matched((1000, "v2", GATEWAY))),
        "0 from v1, 1000 from v2",
    ),
    "contexts swapped": (
        lambda: path_proof(SOUND, BACK),
        "500 of 1000: v1 from 10.10.0.7:5000",
    ),
    "contexts swapped, and its cause": (
        lambda: path_proof(matched((500, "v2", NEAR_POD), (500, "v1", GATEWAY))),
        (causes.CONTEXTS_SWAPPED,),
    ),
    "both versions in both clusters": (
        lambda: path_proof(matched((3, "v1", NEAR_POD), (3, "v2", NEAR_POD), (3, "v1", GATEWAY), (3, "v2", GATEWAY))),
        (causes.BOTH_VERSIONS_EVERYWHERE, causes.GATEWAY_HAIRPIN, causes.POD_FORWARDS),
    ),
    "a proxy in the primary forwards to the remote": (
        lambda: path_proof(matched((500, "v1", NEAR_POD), (499, "v2", GATEWAY), (1, "v2", NEAR_POD))),
        f"1 of 1000: v2 from {NEAR_POD}",
    ),
    "near by way of its own gateway": (
        lambda: path_proof(matched((5, "v1", NEAR_POD), (5, "v2", GATEWAY), (1, "v1", "172.18.0.8:15443"))),
        (causes.GATEWAY_USED_FOR_NEAR, causes.PODS_REPLACED),
    ),
    "a version that nobody deployed, by a known path": (
        lambda: path_proof(matched((5, "v1", NEAR_POD), (5, "v2", GATEWAY), (1, "v3", NEAR_POD))),
        f"1 of 11: v3 from {NEAR_POD}",
    ),
    "an answer doubly logged": (
        lambda: path_proof(
            join(
                replies(1, 1),
                [line("b-0", NEAR_POD), line("b-1", GATEWAY), line("b-1", FAR_POD)],
            )
        ),
        "1 joined, 0 without a line, 1 with several",
    ),
    "one reply of a thousand unjoined": (
        lambda: path_proof(replace(SOUND, pairs=SOUND.pairs[1:], unmatched=(reply(0, "v1"),))),
        "999 joined, 1 without a line",
    ),
    "time-outs": (
        lambda: all_answered([*replies(5, 5), *SLOW], OUT),
        "10 answered; 20 x curl 28: Operation timed out with 0 bytes received",
    ),
    "nothing answered": (
        lambda: all_answered([LOST, LOST], OUT),
        "0 answered; 2 x curl 28",
    ),
    "half an answer": (
        lambda: all_answered([replace(reply(0, "v1"), error="curl 18: cut")], OUT),
        "0 answered; 1 x curl 18: cut",
    ),
    "one of a thousand in the wrong place": (
        lambda: both_versions(replies(499, 500, 1), OUT),
        "v3 1",
    ),
    "another workload behind the service": (
        lambda: checks.versions_run_only_in({"primary": {"v1": 1, "forwarder": 1}, "remote": {"v2": 1}}, EXPECTED),
        (causes.STRANGE_POD,),
    ),
    "both versions in a cluster": (
        lambda: checks.versions_run_only_in({"primary": {"v1": 1, "v2": 1}, "remote": {"v2": 1}}, EXPECTED),
        "primary: {'v1': 1, 'v2': 1}",
    ),
    "both versions in both clusters, as a label selector that matches both deploys them": (
        lambda: checks.versions_run_only_in({"primary": {"v1": 1, "v2": 1}, "remote": {"v1": 1, "v2": 1}}, EXPECTED),
        (causes.BOTH_VERSIONS_EVERYWHERE,),
    ),
    "versions swapped": (
        lambda: checks.versions_run_only_in({"primary": {"v2": 1}, "remote": {"v1": 1}}, EXPECTED),
        "v1 only in primary, v2 only in remote",
    ),
    "versions swapped, and its cause": (
        lambda: checks.versions_run_only_in({"primary": {"v2": 1}, "remote": {"v1": 1}}, EXPECTED),
        (causes.VERSION_MISPLACED,),
    ),
    "a cluster without a pod": (
        lambda: checks.versions_run_only_in({"primary": {"v1": 1}, "remote": {}}, EXPECTED),
        "remote: none",
    ),
    "a cluster not looked at": (
        lambda: checks.versions_run_only_in({"primary": {"v1": 1}}, EXPECTED),
        "v2 only in remote",
    ),
    "a pod not ready": (
        lambda: checks.ready([POD, WAITING], "primary"),
        "1 ready; sample/helloworld-v1-86f77cd7bd-cpxhv: 0 of 2 containers ready; ImagePullBackOff",
    ),
    "a pod without its sidecar": (
        lambda: checks.ready([POD, BARE], "primary", sidecar=True),
        (causes.POD_REFUSES_SIDECAR, causes.NAMESPACE_NOT_INJECTED, causes.WEBHOOK_NOT_CALLED),
    ),
    "fell and came back": (
        lambda: checks.kept_running([POD], [replace(POD, restarts=1)], "primary"),
        "sample/helloworld-v1-86f77cd7bd-cpxhv: restarted 1 times",
    ),
    "fell and stayed down": (lambda: checks.kept_running([POD], [WAITING], "primary"), "ImagePullBackOff"),
    "gave way to another": (
        lambda: checks.kept_running([POD], [replace(POD, name="new")], "primary"),
        "another pod took its place",
    ),
    "istiod is not ready": (
        lambda: checks.istiod_runs_only_in({"primary": [WAITING], "remote": []}, ["primary"]),
        "ImagePullBackOff",
    ),
    "a second istiod": (
        lambda: checks.istiod_runs_only_in({"primary": [POD], "remote": [POD]}, ["primary"]),
        (causes.PRIMARY_PROFILE_IN_REMOTE,),
    ),
    "present": (lambda: checks.absent([POD], "remote"), "sample/helloworld-v1-86f77cd7bd-cpxhv"),
    "packets that get lost": (
        lambda: checks.networks_are_separate(OUT, near=NEAR, far=replace(FAR, seconds=3.0), refused=True),
        "until it was given up after 3.00 s",
    ),
    "one network": (
        lambda: checks.networks_are_separate(OUT, near=NEAR, far=replace(FAR, status=200), refused=True),
        "helloworld-v2 answered 200 at 10.20.0.7",
    ),
    "one network of others": (
        lambda: checks.networks_are_separate(OUT, near=NEAR, far=replace(FAR, status=200), refused=False),
        "helloworld-v2 answered 200 at 10.20.0.7",
    ),
    "another host at the far pod's address": (
        lambda: checks.networks_are_separate(OUT, near=NEAR, far=replace(FAR, status=404), refused=True),
        "somebody answered 404 at 10.20.0.7",
    ),
    "stays in its cluster and refused, and its cause": (
        lambda: stays([replace(one, status=403, body="") for one in replies(100, 0)]),
        (causes.POLICY_DENIES,),
    ),
    "local, refused by a policy": (lambda: local([replace(BROKEN, status=403)]), (causes.POLICY_DENIES,)),
    "local, refused, and its cause": (lambda: local([*ONCE, BROKEN]), (causes.PODS_NOT_SERVING,)),
    "local, refused by a policy and otherwise": (
        lambda: local([replace(BROKEN, status=403), BROKEN]),
        (causes.POLICY_DENIES, causes.PODS_NOT_SERVING),
    ),
    "local, through a gateway, and its cause": (
        lambda: local(ONCE, GATEWAY),
        (causes.SERVICE_IN_BOTH_CLUSTERS, causes.GATEWAY_USED_FOR_NEAR),
    ),
    "a reply lost, and its cause": (
        lambda: all_answered([*ONCE, LOST], OUT),
        (*suspects.far_endpoint_unreachable(LABELS), causes.PODS_NOT_SERVING),
    ),
    "no endpoint at all": (
        lambda: all_answered([*ONCE, BROKEN], OUT),
        (causes.SERVICE_NOT_SENT, causes.REMOTE_SECRET_MISSING, causes.PODS_NOT_SERVING),
    ),
    "no endpoint for some": (
        lambda: all_answered([*ONCE, BROKEN, LOST], OUT),
        (*suspects.far_endpoint_unreachable(LABELS), causes.PODS_NOT_SERVING),
    ),
    "a reply refused by a policy": (
        lambda: all_answered([*ONCE, replace(BROKEN, status=403)], OUT),
        (causes.POLICY_DENIES,),
    ),
    "only near answers, by meshNetworks": (
        lambda: both_versions(replies(1000, 0), OUT, MESH_NETWORKS),
        suspects.far_version_missing(MESH_NETWORKS),
    ),
    "only far answers, and its cause": (
        lambda: both_versions(replies(0, 1000), OUT),
        suspects.near_version_missing(),
    ),
    "one too uneven, and its cause": (
        lambda: both_versions(replies(422, 578), OUT),
        (causes.ENDPOINTS_WEIGHTED, causes.LOCALITY_PREFERRED),
    ),
    "a reply without a line, and its cause": (
        lambda: checks.every_reply_matched(join(ONCE, [line("b-0", NEAR_POD)]), OUT),
        (causes.LOG_LINES_DROPPED, causes.REQUEST_ID_CHANGED),
    ),
    "a reply with two lines, and its cause": (
        lambda: checks.every_reply_matched(
            join(ONCE, [line("b-0", NEAR_POD), line("b-1", GATEWAY), line("b-1", GATEWAY)]), OUT
        ),
        (causes.REQUEST_LOGGED_TWICE, causes.REQUEST_SENT_AGAIN),
    ),
    "far dialled at its pod, by meshNetworks": (
        lambda: path_proof(matched((5, "v1", NEAR_POD), (5, "v2", FAR_POD)), mode=MESH_NETWORKS),
        suspects.far_pods_dialled(MESH_NETWORKS),
    ),
    "an address of neither pods nor gateways": (
        lambda: path_proof(matched((5, "v1", NEAR_POD), (5, "v2", "10.20.0.99:5000"))),
        (causes.GATEWAY_ADDRESS_WRONG, causes.PODS_REPLACED),
    ),
    "a version that nobody deployed, and its cause": (
        lambda: path_proof(matched((5, "v1", NEAR_POD), (5, "v2", GATEWAY), (1, "v3", NEAR_POD))),
        (causes.STRANGE_POD,),
    ),
    "a near pod that refuses": (
        lambda: path_proof(
            join(
                [*ONCE, replace(BROKEN, status=403)],
                [line("b-0", NEAR_POD), line("b-1", GATEWAY), line("b-y", NEAR_POD)],
            )
        ),
        (causes.POLICY_DENIES,),
    ),
    "no reply from far, and its cause": (
        lambda: path_proof(matched((1000, "v1", NEAR_POD))),
        suspects.far_version_missing(LABELS),
    ),
    "no reply from near, and its cause": (
        lambda: path_proof(matched((1000, "v2", GATEWAY))),
        suspects.near_version_missing(),
    ),
    "a pod not ready, and its cause": (
        lambda: checks.ready([POD, WAITING], "primary"),
        (causes.IMAGE_NOT_PULLED,),
    ),
    "a readiness gate": (
        lambda: checks.ready([replace(WAITING, reason="Ready is False: ReadinessGatesNotReady: …")], "primary"),
        (causes.READINESS_GATE_UNMET,),
    ),
    "a pod that crashes for want of memory": (
        lambda: checks.ready([replace(WAITING, reason="waiting (CrashLoopBackOff), before (OOMKilled)")], "primary"),
        (causes.CONTAINER_CRASHES,),
    ),
    "a pod not ready for no known reason": (
        lambda: checks.ready([replace(WAITING, reason="0 of 2 containers ready")], "primary"),
        (),
    ),
    "fell and came back, and its cause": (
        lambda: checks.kept_running([POD], [replace(POD, restarts=1)], "primary"),
        (causes.ISTIOD_CRASHED,),
    ),
    "gave way to another, and its cause": (
        lambda: checks.kept_running([POD], [replace(POD, name="new")], "primary"),
        (causes.ISTIOD_REPLACED,),
    ),
    "present, and its cause": (lambda: checks.absent([POD], "remote"), (causes.PRIMARY_PROFILE_IN_REMOTE,)),
    "packets that get lost, and their cause": (
        lambda: checks.networks_are_separate(OUT, near=NEAR, far=replace(FAR, seconds=3.0), refused=True),
        (causes.PACKETS_LEAVE,),
    ),
    "one network, and its cause": (
        lambda: checks.networks_are_separate(OUT, near=NEAR, far=replace(FAR, status=200), refused=True),
        (causes.NETWORKS_JOINED,),
    ),
    "another host at the far pod's address, and its cause": (
        lambda: checks.networks_are_separate(OUT, near=NEAR, far=replace(FAR, status=404), refused=True),
        (causes.POD_RANGE_IN_USE,),
    ),
}

NOTHING: dict[str, Check] = {
    "local": lambda: local([]),
    "stays in its cluster": lambda: stays([]),
    "stays in its cluster, no pods": lambda: stays(replies(5, 0), near_pods=frozenset()),
    "local, no pods": lambda: local(ONCE, near_pods=frozenset()),
    "all answered": lambda: all_answered([], OUT),
    "both versions": lambda: both_versions([], OUT),
    "both versions, but no answer": lambda: both_versions([LOST], OUT),
    "both versions, but too few to tell": lambda: both_versions(replies(15, 0), OUT),
    "both versions, the most that are too few": lambda: both_versions(replies(10, 10), OUT),
    "every reply joined": lambda: checks.every_reply_matched(join([], []), OUT),
    "every reply joined, access log off": lambda: checks.every_reply_matched(join(ONCE, []), OUT),
    "path, one cluster given twice": lambda: path_proof(matched((5, "v1", GATEWAY), (5, "v2", GATEWAY)), near=GATEWAY),
    "path, no address known": lambda: checks.path_proof(
        SOUND, OUT, horizon=of_two(OUT, near=(), far={FAR_POD}, gateway={GATEWAY}), versions=EXPECTED
    ),
    "path": lambda: path_proof(join([], [])),
    "path, no line": lambda: path_proof(join(ONCE, [])),
    "placement": lambda: checks.versions_run_only_in({"primary": {}, "remote": {}}, EXPECTED),
    "ready": lambda: checks.ready([], "primary"),
    "kept running": lambda: checks.kept_running([], [POD], "primary"),
    "separate, but near is not reached either": lambda: checks.networks_are_separate(
        OUT, near=replace(NEAR, status=0, error="timed out"), far=FAR, refused=True
    ),
}


@pytest.mark.parametrize("check", GREEN.values(), ids=GREEN)
def test_a_sound_mesh_passes(check: Check) -> None:
    evidence = check()
    assert evidence.claim
    assert evidence.key_number
    assert all(isinstance(value, int | float | str) for value in evidence.numbers.values())


@pytest.mark.parametrize(("check", "wanted"), RED.values(), ids=RED)
def test_a_broken_mesh_is_told_what_is_wrong(check: Check, wanted: str | tuple[Cause, ...]) -> None:
    """By words of the message, or by exactly the causes that the evidence leaves open."""
    with pytest.raises(CheckFailed) as failed:
        check()
    error, text = failed.value, str(failed.value)
    assert wanted in text if isinstance(wanted, str) else wanted == error.causes
    parts = {"expected": error.expected, "seen": error.seen, "samples": str(error.samples)}
    parts |= {"likely": error.likely_cause, "try": error.next_command}
    for label, part in parts.items():
        assert part.strip(), label
        assert re.search(rf"^  {label}: +{re.escape(part)}$", text, re.MULTILINE), label
    assert text.startswith(f"{error.claim}\n")
    assert error.samples >= 1
    assert isinstance(error, AssertionError)


@pytest.mark.parametrize("check", NOTHING.values(), ids=NOTHING)
def test_nothing_seen_is_neither_a_pass_nor_a_failure(check: Check) -> None:
    with pytest.raises(EnvironmentBroke):
        check()


@pytest.mark.parametrize("check", sorted(set(all_checks.__all__) - {"CheckFailed", "Evidence"}))
def test_every_check_is_seen_green_and_red(check: str) -> None:
    """A check added without tests here is a check nobody saw fail."""
    trees = [ast.parse(path.read_text()) for path in Path(__file__).parent.glob("test_*.py")]
    calls = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    assert check in {call.attr for call in calls}


def test_the_evidence_of_a_path_shows_a_line_of_each() -> None:
    evidence = path_proof(SOUND)
    assert [GATEWAY in raw for raw in evidence.sample_lines] == [False, True]
    assert set(evidence.addresses) == {NEAR_POD, GATEWAY}
    assert asdict(evidence)["numbers"] == {"v2_through_gateway": 500, "v1_at_its_pod": 500}


def test_the_error_probability_is_stated() -> None:
    evidence = both_versions(replies(500, 500), OUT)
    assert evidence.expected_interval == (423, 577)
    assert evidence.numbers["false_alarm"] == 1e-6
    assert evidence.numbers["v1"] == evidence.numbers["v2"] == 500
    few = both_versions(replies(15, 15), OUT)
    assert few.numbers["chance_of_missing_one"] == pytest.approx(2 * 0.5**30)


@pytest.mark.parametrize(("route", "name"), [(OUT, "primary→remote"), (BACK, "remote→primary")])
def test_a_failure_names_its_route(route: Route, name: str) -> None:
    assert (route.near, route.far) in [("primary", "remote"), ("remote", "primary")]
    with pytest.raises(CheckFailed, match=f"^{name}: "):
        all_answered([*replies(1, 1), LOST], route)


def refuted(*open_causes: Cause, where: Route | str = OUT) -> CheckFailed:
    return CheckFailed(
        "it holds", expected="a", seen="b", samples=1, causes=open_causes, next_command="compare", where=where
    )


ONE = Cause("one", "it is missing", "kubectl <{near}> -n <{far} system> get pods")
OTHER = Cause("other", "it is broken")


def test_a_single_cause_has_its_own_next_step_about_the_clusters_looked_at() -> None:
    assert refuted(ONE).next_command == "kubectl <primary> -n <remote system> get pods"
    assert refuted(ONE, where="remote").next_command == "kubectl <remote> -n <remote system> get pods"
    assert refuted(OTHER).next_command == "compare"


def test_several_causes_are_all_named_and_told_apart_by_the_command_of_the_check() -> None:
    failed = refuted(ONE, OTHER)
    assert failed.cause_ids == ("one", "other")
    assert failed.likely_cause == "it is missing; or it is broken"
    assert failed.next_command == "compare"


def test_many_causes_are_named_by_their_ids() -> None:
    failed = refuted(ONE, OTHER, Cause("third", "it is gone"), Cause("fourth", "it is late"))
    assert failed.likely_cause == "one of 4, which this check cannot tell apart: one, other, third, fourth"


def test_evidence_that_points_at_no_cause_says_so() -> None:
    failed = refuted()
    assert failed.cause_ids == ()
    assert (failed.likely_cause, failed.next_command) == (NO_CAUSE, "compare")
    assert f"  likely:   {NO_CAUSE}" in str(failed)


def test_a_proven_path_counts_the_replies_of_each_way() -> None:
    assert path_proof(SOUND).paths == (
        PathCount(Way.NEAR_POD, "v1", NEAR_POD, "", 500, True),
        PathCount(Way.FAR_GATEWAY, "v2", GATEWAY, "", 500, True),
    )


def test_a_refuted_path_counts_the_wrong_ways_too() -> None:
    with pytest.raises(CheckFailed) as refuted:
        path_proof(
            matched(
                (4, "v1", NEAR_POD), (3, "v2", FAR_POD), (2, "v1", GATEWAY), (1, "v2", "10.9.9.9:1"), (1, "v2", None)
            )
        )
    assert [(path.way, path.count, path.expected) for path in refuted.value.paths] == [
        (Way.NEAR_POD, 4, True),
        (Way.FAR_POD, 3, False),
        (Way.FAR_GATEWAY, 2, False),
        (Way.ELSEWHERE, 1, False),
        (Way.NOWHERE, 1, False),
    ]


def test_a_missing_version_has_its_count_and_the_interval() -> None:
    with pytest.raises(CheckFailed) as refuted:
        both_versions(replies(1000, 0), OUT)
    assert (refuted.value.numbers, refuted.value.expected_interval) == ({"v1": 1000, "v2": 0}, (423, 577))


def bound(primary: Sequence[Reply], remote: Sequence[Reply]) -> BoundClients:
    return BoundClients("primary", frozenset({"primary"}), {"primary": tuple(primary), "remote": tuple(remote)})


BY_RULE = [Reply(f"r-{number}", 418) for number in range(40)]


def test_a_rule_that_answers_the_clients_of_its_own_primary_alone_is_as_it_should_be() -> None:
    evidence = checks.rule_binds_own_clients(bound(BY_RULE, replies(20, 20)))
    assert evidence.key_number == "40 bound, 40 not"


@pytest.mark.parametrize(
    ("primary", "remote", "where", "cause"),
    [
        (BY_RULE, BY_RULE[:3] + replies(20, 17), "remote", causes.RULE_IN_OTHER_PRIMARY),
        (replies(20, 20), replies(20, 20), "primary", causes.OLDER_RULE),
        (BY_RULE, [*replies(20, 19), Reply("lost", 403)], "remote", causes.POLICY_DENIES),
    ],
    ids=["bound elsewhere too", "bound nowhere", "lost elsewhere"],
)
def test_a_rule_that_binds_other_clients_or_none_is_refuted(
    primary: list[Reply], remote: list[Reply], where: str, cause: Cause
) -> None:
    with pytest.raises(CheckFailed) as refuted:
        checks.rule_binds_own_clients(bound(primary, remote))
    assert refuted.value.causes[0] is cause
    assert f"<config of {where}>" in refuted.value.next_command


def test_a_rule_is_not_judged_without_a_client_of_another_primary() -> None:
    with pytest.raises(EnvironmentBroke, match="clients that another istiod manages"):
        checks.rule_binds_own_clients(BoundClients("primary", frozenset({"primary"}), {"primary": tuple(BY_RULE)}))


# Three clusters: cluster1 and cluster2 share a network, and cluster3 is on another.
HOME_ROUTE, ACROSS = Route("cluster1", "cluster2", False), Route("cluster1", "cluster3")
RETURN, FROM_CLUSTER2 = Route("cluster3", "cluster1"), Route("cluster2", "cluster3")
POD1, POD2, POD3 = PODS.values()
GATE1, GATE2, GATE3 = GATEWAYS.values()
OF_CLUSTER1 = matched((333, "v1", POD1), (334, "v2", POD2), (333, "v3", GATE3))


def proof_of_three(found: Matched, route: Route, without_gateway: str = "") -> Evidence:
    known = of_three(route.near, without_gateway=without_gateway)
    return checks.path_proof(found, route, horizon=known, versions=THREE_VERSIONS)


def test_within_a_network_each_version_is_reached_at_its_pod_and_across_it_through_the_gateway() -> None:
    within, across = proof_of_three(OF_CLUSTER1, HOME_ROUTE), proof_of_three(OF_CLUSTER1, ACROSS)
    assert within.numbers == {"v2_at_its_pod": 334, "v1_at_its_pod": 333}
    assert {(one.version, one.way) for one in within.paths} == {("v1", Way.NEAR_POD), ("v2", Way.FAR_POD)}
    assert across.numbers == {"v3_through_gateway": 333, "v1_at_its_pod": 333}


def test_a_gateway_of_a_shared_network_may_pass_to_either_cluster_of_it() -> None:
    crossed = matched((300, "v3", POD3), (200, "v1", GATE2), (200, "v1", GATE1), (300, "v2", GATE1))
    assert proof_of_three(crossed, RETURN).numbers == {"v1_through_gateway": 400, "v3_at_its_pod": 300}
    # Which pod is behind the few connections that a sidecar keeps is chance.
    alone = matched((300, "v3", POD3), (700, "v2", GATE1))
    assert proof_of_three(alone, RETURN).numbers == {"v1_through_gateway": 0, "v3_at_its_pod": 300}


@pytest.mark.parametrize(
    ("found", "route", "cause"),
    [
        (matched((9, "v1", POD1), (9, "v2", GATE2), (9, "v3", GATE3)), HOME_ROUTE, causes.GATEWAY_USED_FOR_NEAR),
        (matched((9, "v1", POD1), (9, "v2", POD1), (9, "v3", GATE3)), HOME_ROUTE, causes.POD_FORWARDS),
        (matched((9, "v1", POD1), (9, "v2", POD2), (9, "v3", POD3)), ACROSS, causes.GATEWAY_SERVICE_WITHOUT_NETWORK),
        (matched((9, "v1", POD1), (9, "v3", POD1), (9, "v2", POD2)), FROM_CLUSTER2, causes.POD_FORWARDS),
        (matched((9, "v1", POD1), (18, "v3", GATE3)), HOME_ROUTE, causes.REMOTE_SECRET_MISSING),
        (matched((9, "v3", POD3), (9, "v1", POD1), (9, "v2", GATE2)), RETURN, causes.GATEWAY_SERVICE_WITHOUT_NETWORK),
    ],
    ids=[
        "by a gateway within",
        "by another pod",
        "past the gateway",
        "by a pod of the cluster beside",
        "none",
        "past the gateway, back",
    ],
)
def test_a_path_that_strays_is_refuted_on_its_route(found: Matched, route: Route, cause: Cause) -> None:
    with pytest.raises(CheckFailed) as refuted:
        proof_of_three(found, route)
    assert cause in refuted.value.causes
    assert str(route) in refuted.value.claim


def test_in_a_network_without_a_second_gateway_all_goes_through_the_one() -> None:
    through = matched((300, "v3", POD3), (350, "v1", GATE1), (350, "v2", GATE1))
    found = proof_of_three(through, RETURN, without_gateway="cluster2")
    assert found.numbers == {"v1_through_gateway": 350, "v3_at_its_pod": 300}
    with pytest.raises(CheckFailed, match=f"100 of 400: v1 from {GATE2}"):
        proof_of_three(
            matched((300, "v3", POD3), (100, "v1", GATE2), (99, "v2", GATE1)), RETURN, without_gateway="cluster2"
        )


FAR_TOGETHER = (frozenset({"v3"}), frozenset({"v1", "v2"}))


def versions_of_three(
    v1: int, v2: int, v3: int, route: Route = ACROSS, groups: tuple[frozenset[str], ...] = ()
) -> Evidence:
    found = replies(v1, v2, v3)
    return checks.both_versions_answer(found, route, versions=THREE_VERSIONS, mode=LABELS, groups=groups)


def test_of_three_versions_each_route_judges_its_two_exactly() -> None:
    found = versions_of_three(333, 334, 333)
    assert (found.numbers["v1"], found.numbers["v3"]) == (333, 333)
    low, high = statistics.interval(1000, 1 / 3, statistics.FALSE_ALARM / 2)
    assert found.expected_interval == (low, high)
    with pytest.raises(CheckFailed, match=f"each version {low} to {high} times"):
        versions_of_three(1000 - 333 - high - 1, 333, high + 1)
    # The third is for another route to judge.
    assert versions_of_three(low, 1000 - low - high, high).expected_interval == (low, high)


def test_versions_behind_one_networks_gateways_are_judged_together() -> None:
    found = versions_of_three(667, 0, 333, RETURN, FAR_TOGETHER)
    assert (found.numbers["v1+v2"], found.numbers["v3"]) == (667, 333)
    assert versions_of_three(100, 567, 333, RETURN, FAR_TOGETHER).numbers["v1+v2"] == 667
    low, high = statistics.interval(1000, 1 / 3)
    with pytest.raises(CheckFailed, match=f"v3 {low} to {high} times"):
        versions_of_three(0, 1000 - high - 1, high + 1, RETURN, FAR_TOGETHER)
    with pytest.raises(CheckFailed) as missing:
        versions_of_three(0, 0, 1000, RETURN, FAR_TOGETHER)
    assert causes.GATEWAY_NOT_SERVING in missing.value.causes
