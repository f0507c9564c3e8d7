"""Reports of a run whose claims all hold, and of one in which a claim is refuted."""

from __future__ import annotations

from dataclasses import replace

from splithorizon.run.progress import StepTime
from splithorizon.run.report import BehaviourResult, Cluster, RunReport, Totals, Versions
from splithorizon.run.verdict import Verdict

STEPS = (
    StepTime("podman", None, 0.0, 1.5, "done"),
    StepTime("kind cluster", "primary", 2.0, 46.1, "done"),
    StepTime("kind cluster", "remote", 2.0, 48.0, "done"),
    StepTime("istiod", "primary", 48.1, 12.0, "done"),
    StepTime("workloads ready", "remote", 60.0, 26.0, "done"),
    StepTime("kind cluster deleted", "primary", 101.0, 9.0, "done"),
    StepTime("kind cluster deleted", "remote", 101.0, 11.4, "done"),
)


def result(stem: str, claim: str, *, area: str = "routing", route: str = "", key_number: str = "") -> BehaviourResult:
    """A conformant result."""
    case = f"[{route}]" if route else ""
    return BehaviourResult(
        area=area,
        behaviour=stem,
        claim=claim,
        route=route,
        nodeid=f"suites/{area}/{stem}.py::{stem}{case}",
        verdict=Verdict.CONFORMANT,
        seconds=4.6,
        key_number=key_number,
    )


PATH_CLAIM = "A far network's version is reached through its gateway, and the near network's straight at its pod."
RESULTS = (
    result(
        "test_each_version_takes_its_own_path",
        PATH_CLAIM,
        route="primary→remote",
        key_number="1,000 of 1,000 joined",
    ),
    result(
        "test_workloads_are_ready",
        "helloworld and the client are ready.",
        area="readiness",
        route="primary",
    ),
    result(
        "test_each_version_takes_its_own_path",
        PATH_CLAIM,
        route="remote→primary",
        key_number="1,000 of 1,000 joined",
    ),
    result(
        "test_each_version_runs_in_one_cluster",
        "v1 runs only in the primary, v2 only in the remote.",
        area="placement",
    ),
)
VERSIONS = Versions(
    splithorizon="0.1.0",
    python="3.11.2",
    provider="podman",
    engine="4.3.1",
    kubernetes="1.34.4",
    istio={"primary": "1.29.1", "remote": "1.29.1"},
    images="built",
)
GREEN = RunReport(
    run_id="run-1",
    started="2026-11-23T02:31:00.000Z",
    finished="2026-11-23T02:32:52.500Z",
    command=("pytest", "suites/", "--istio-version=1.29.1"),
    versions=VERSIONS,
    namespace="sample",
    clusters=(
        Cluster("primary", "primary-network", pod_subnet="10.10.0.0/16", gateway_addresses=("172.18.0.2:15443",)),
        Cluster(
            "remote",
            "remote-network",
            runs_istiod=False,
            control_plane="primary",
            pod_subnet="10.20.0.0/16",
            gateway_addresses=("172.18.0.3:15443",),
        ),
    ),
    steps=STEPS,
    behaviours=RESULTS,
    totals=Totals(2000, 2000, 0),
    verdict=Verdict.CONFORMANT,
    exit_status=0,
)
WRONG = replace(
    RESULTS[0],
    verdict=Verdict.NOT_CONFORMANT,
    key_number="30 of 1,000 past the gateway",
    failure="The far version is reached through its gateway.\n  expected: 172.18.0.3:15443\n"
    "  seen:     30 of 1,000 requests left the client towards 10.20.0.7:5000 (a pod IP)\n  samples:  1000",
    likely_cause='namespace istio-system in cluster "remote" lacks topology.istio.io/network',
    next_command="istioctl --kubeconfig /run/user/0/splithorizon-0/runs/run-1/primary.kubeconfig "
    "proxy-config endpoints deploy/sleep -n sample --cluster 'outbound|5000||helloworld.sample.svc.cluster.local'",
)
RED = replace(GREEN, verdict=Verdict.NOT_CONFORMANT, behaviours=(WRONG, *RESULTS[1:]), exit_status=1)
