"""A report that has something in every part, its parts, and a result that is not conformant."""

from __future__ import annotations

from dataclasses import replace

from splithorizon.run.progress import StepTime
from splithorizon.run.report import (
    BehaviourResult,
    Cluster,
    Condition,
    Diagnosis,
    Evidence,
    Fact,
    NotClaimed,
    RunReport,
    Totals,
    Unclaimed,
)
from splithorizon.run.verdict import Verdict
from splithorizon.undo.not_restored import NotRestored
from tests.support.run_reports import VERSIONS

EVIDENCE = Evidence(
    claim="every reply was joined to its own log line",
    numbers={"requests": 1000, "joined": 1000, "share": 0.5, "mode": "labels", "all": True, "none": None},
    expected_interval=(423, 577),
    sample_lines=('"GET /hello HTTP/1.1" 200 - "172.18.0.3:15443"',),
    addresses=("172.18.0.3:15443",),
)
RESULT = BehaviourResult(
    area="routing",
    behaviour="test_each_version_takes_its_own_path",
    claim="Each version takes its own path.",
    route="primary→remote",
    nodeid="suites/routing/test_each_version_takes_its_own_path.py::test_it[primary\\u2192remote]",
    verdict=Verdict.CONFORMANT,
    seconds=4.6,
    key_number="1,000 of 1,000 joined",
    evidence=(EVIDENCE,),
)
REPORT = RunReport(
    run_id="20261123-0231-a1b2",
    started="2026-11-23T02:31:00.000Z",
    finished="2026-11-23T02:32:52.500Z",
    command=("pytest", "suites/"),
    options={"provider": "auto", "requests": 1000, "hub": None, "keep": False},
    versions=VERSIONS,
    namespace="sample",
    clusters=(
        Cluster(
            name="primary",
            id="primary",
            network="primary-network",
            context="splithorizon-primary",
            node_address="172.18.0.2",
            pod_subnet="10.10.0.0/16",
            service_subnet="10.110.0.0/16",
            gateway_addresses=("172.18.0.2:15443",),
        ),
        Cluster(
            name="remote",
            id="remote",
            network="remote-network",
            runs_istiod=False,
            control_plane="primary",
        ),
    ),
    steps=(
        StepTime("kind cluster", "primary", 1.5, 46.0, "done"),
        StepTime("podman", None, 0.0, 1.5, "done"),
    ),
    behaviours=(RESULT,),
    totals=Totals(requests=1000, joined=1000, unjoined=0),
    verdict=Verdict.CONFORMANT,
    diagnosis=Diagnosis(
        cause_id="remote-secret-missing",
        text="istiod has no remote secret of the remote cluster",
        evidence=(Fact("primary Secret istio-system", "items", "0"),),
        fix="istioctl create-remote-secret",
        consequences=("test_both_versions_answer",),
    ),
    conditions=(Condition("requests", "1000", "an interval of 423 to 577"),),
    not_restored=(NotRestored("primary Secret istio-system/a", "the API server is away", "kubectl apply -f a.yaml"),),
    not_claimed=(NotClaimed("test_failover", "needs --allow-disruption", Unclaimed.NOT_ALLOWED, "disruptive"),),
    exit_status=0,
)
FAILED = replace(
    RESULT,
    verdict=Verdict.NOT_CONFORMANT,
    failure="30 of 30 requests left towards 10.20.0.7:5000, expected 172.18.0.3:15443",
    cause_ids=("network-label-missing", "pods-dialled-past-the-gateway"),
    likely_cause="istio-system in the remote lacks topology.istio.io/network",
    next_command="istioctl proxy-config endpoint sleep.sample",
)
