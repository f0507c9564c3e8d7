"""What a pod that does not exist yet would meet, as two small API servers and a client's curl say it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from splithorizon.base.paths import MANIFESTS
from splithorizon.istio.info import Address
from splithorizon.kube import manifests
from splithorizon.kube.api_server import Refused
from splithorizon.mesh.mesh import Mesh
from splithorizon.mesh.next_pod import AdmittedPod, NextPod
from splithorizon.traffic.client import PAST_THE_SIDECAR
from tests.checks.test_security import CHAIN
from tests.support.existing_mesh import GATEWAYS, TwoClusters
from tests.support.mesh_info import mesh_info
from tests.support.small_api import SmallApi

PEM = "".join(one.public_bytes(Encoding.PEM).decode() for one in CHAIN)
DRY_RUN = "/pods/splithorizon-injected"


@pytest.fixture
def next_pod(mesh: Mesh) -> NextPod:
    return NextPod(mesh)


def injects(api: SmallApi, **environment: str) -> None:
    """Let the API server inject a sidecar with these variables."""

    def admit(pod: dict[str, Any]) -> None:
        variables: list[dict[str, Any]] = [{"name": name, "value": value} for name, value in environment.items()]
        variables.append({"name": "POD_NAME", "valueFrom": {}})
        sidecar = {"name": "istio-proxy", "image": "i", "restartPolicy": "Always", "env": variables}
        pod["spec"]["initContainers"] = [sidecar]
        pod["metadata"]["annotations"]["sidecar.istio.io/status"] = '{"revision": "default"}'

    api.admit = admit


def test_a_pod_is_admitted_with_the_settings_of_its_proxy(clusters: TwoClusters, next_pod: NextPod) -> None:
    injects(clusters.remote, ISTIO_META_NETWORK="remote-network", ISTIO_META_CLUSTER_ID="remote")
    assert next_pod.admitted("remote") == AdmittedPod(True, "remote-network", "remote", "default")
    assert clusters.remote.requests("PATCH", DRY_RUN)
    assert not [one for one in clusters.remote.kept("Pod") if one["metadata"]["name"] in DRY_RUN]


def test_a_pod_without_sidecar_has_no_settings(clusters: TwoClusters, next_pod: NextPod) -> None:
    clusters.remote.admit = lambda _: None
    assert next_pod.admitted("remote") == AdmittedPod()


def test_a_new_pod_has_the_revision_of_the_istiod_that_manages_its_cluster(mesh: Mesh) -> None:
    clusters = {**mesh.info.clusters, "remote": replace(mesh.info.clusters["remote"], revision="default")}
    moving = NextPod(Mesh(replace(mesh.info, clusters=clusters, revision="1-29-1")))
    assert {name: moving.revision(name) for name in clusters} == {"primary": "1-29-1", "remote": "default"}


def refuse(api: SmallApi, message: str) -> None:
    api.answers["/api/v1/namespaces/sample" + DRY_RUN] = (500, json.dumps({"message": message}).encode())


def test_what_the_injection_webhook_says_is_kept(clusters: TwoClusters, next_pod: NextPod) -> None:
    message = 'failed calling webhook "namespace.istio-sidecar-injector.istio.io": service "istiod-1" not found'
    refuse(clusters.remote, message)
    assert next_pod.admitted("remote") == AdmittedPod(refused=message)


def test_what_another_webhook_refuses_says_nothing_of_the_mesh(clusters: TwoClusters, next_pod: NextPod) -> None:
    refuse(clusters.remote, 'failed calling webhook "policy.example": connection refused')
    with pytest.raises(Refused, match=re.escape("policy.example")):
        next_pod.admitted("remote")


def curls(clusters: TwoClusters, role: str, printed: str) -> list[list[str]]:
    """Let curl print this in a cluster's client; return what it is asked."""
    asked: list[list[str]] = []

    def execute(_: str, command: list[str]) -> str:
        if command[0] == "pilot-agent":
            config = {"discoveryAddress": "istiod.istio-system.svc:15012"}
            return json.dumps({"node": {"metadata": {"PROXY_CONFIG": config}}})
        asked.append(command)
        return printed

    clusters.apis[role].execute = execute
    return asked


def test_a_new_proxy_is_served_at_both_ports_of_the_gateway(clusters: TwoClusters, next_pod: NextPod) -> None:
    slices = next(one for one in clusters.remote.kept("EndpointSlice"))
    slices["ports"] = [{"name": "tcp-istiod", "port": 15012}, {"name": "tcp-webhook", "port": 15017}]
    asked = curls(clusters, "remote", f"0 \n{PEM}")
    found = next_pod.istiod_probes("remote", (CHAIN[-1],))
    assert {(one.host, one.address) for one in found} == {
        ("istiod.istio-system.svc", Address(GATEWAYS["primary"], port)) for port in (15012, 15017)
    }
    assert {one.served.chain for one in found} == {CHAIN}
    assert {one.address.port: one.trusted for one in found} == {15012: (CHAIN[-1],), 15017: ()}
    assert {command[command.index("--connect-to") + 1] for command in asked} == {
        f"istiod.istio-system.svc:{port}:{GATEWAYS['primary']}:{port}" for port in (15012, 15017)
    }


def test_where_nothing_is_served_curl_says_why(clusters: TwoClusters, next_pod: NextPod) -> None:
    slices = next(one for one in clusters.remote.kept("EndpointSlice"))
    slices["ports"] = [{"name": "tcp-webhook", "port": 15017}]
    curls(clusters, "remote", "35 TLS connect error: wrong version number\n")
    (probe, *_) = next_pod.webhook_probes("remote")
    assert probe.served.chain == ()
    assert str(probe.served) == "served no certificate, then TLS connect error: wrong version number"


def test_a_port_at_which_the_clients_own_sidecar_answers_is_not_asked(clusters: TwoClusters, next_pod: NextPod) -> None:
    asked = curls(clusters, "remote", f"0 \n{PEM}")
    assert next_pod.webhook_probes("remote") == []
    assert asked == []


def test_the_client_leaves_these_ports_to_no_sidecar() -> None:
    """The manifest and the code that relies on it name the same ports."""
    (deployment,) = (
        one for one in manifests.load(MANIFESTS / "workloads" / "sleep.yaml") if one["kind"] == "Deployment"
    )
    annotations = deployment["spec"]["template"]["metadata"]["annotations"]
    excluded = annotations["traffic.sidecar.istio.io/excludeOutboundPorts"].split(",")
    assert {int(one) for one in excluded} == {*PAST_THE_SIDECAR}


def test_an_existing_mesh_is_followed_to_where_it_leads(clusters: TwoClusters, mesh: Mesh) -> None:
    slices = next(one for one in clusters.remote.kept("EndpointSlice"))
    slices["ports"] = [{"name": "tcp-istiod", "port": 15012}]
    slices["endpoints"] = [{"addresses": ["192.0.2.7"]}]
    curls(clusters, "remote", f"0 \n{PEM}")
    found = NextPod(Mesh(mesh_info(mesh.folder, owned=False))).istiod_probes("remote", ())
    assert {one.address for one in found} == {Address("192.0.2.7", 15012)}
