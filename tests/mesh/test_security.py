"""What a mesh's security is made of, as two small API servers tell it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import yaml
from cryptography.hazmat.primitives.serialization import Encoding

from splithorizon.base.errors import EnvironmentBroke
from splithorizon.base.paths import MANIFESTS
from splithorizon.istio import certificates
from splithorizon.istio.info import ClusterInfo, MeshInfo
from splithorizon.istio.workload_certificate import WorkloadCertificate
from splithorizon.kube import manifests
from splithorizon.mesh.mesh import Mesh
from splithorizon.mesh.security import AdmittedByPrincipal, MeshSecurity
from tests.support.small_api import SmallApi, small_api

CONFIG = "/api/v1/namespaces/istio-system/configmaps/istio"
POLICIES = "/apis/security.istio.io/v1/namespaces/istio-system/peerauthentications"
PODS = "/api/v1/namespaces/sample/pods"
GATEWAYS = "/api/v1/namespaces/istio-system/pods"
ROOT = "/api/v1/namespaces/sample/configmaps/istio-ca-root-cert"
STRICT = {"mtls": {"mode": "STRICT"}}


@dataclass(frozen=True)
class Lab:
    """A mesh of two API servers that hold what a test puts there."""

    apis: dict[str, SmallApi]
    secured: MeshSecurity

    @property
    def primary(self) -> SmallApi:
        return self.apis["primary"]

    def configure(self, **settings: str) -> None:
        self.primary.objects[CONFIG] = {"data": {"mesh": yaml.safe_dump(settings)}}


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with ExitStack() as stack:
        apis = {role: stack.enter_context(small_api(tmp_path / f"{role}.kubeconfig")) for role in ("primary", "remote")}
        clusters = {
            role: ClusterInfo(
                role,
                f"lab-{role}",
                role,
                f"{role}-network",
                "primary",
                "v1",
                tmp_path / f"{role}.kubeconfig",
                "kubectl",
                (),
            )
            for role in ("primary", "remote")
        }
        yield Lab(apis, MeshSecurity(Mesh(MeshInfo(clusters, {}, namespace="sample"))))


def pod(name: str, *, account: str = "", sidecar: bool = True) -> dict[str, object]:
    spec: dict[str, object] = {"containers": [{"name": "istio-proxy" if sidecar else "app", "image": "i"}]}
    spec |= {"serviceAccountName": account} if account else {}
    return {"metadata": {"name": name, "namespace": "istio-system"}, "spec": spec, "status": {}}


def test_an_identity_is_of_the_mesh_that_certifies_it(lab: Lab) -> None:
    assert lab.secured.identity("sleep", "remote") == "spiffe://cluster.local/ns/sample/sa/sleep"
    lab.configure(trustDomain="corp.example")
    assert lab.secured.identity("sleep", "remote") == "spiffe://corp.example/ns/sample/sa/sleep"


def test_helloworlds_identity_is_its_pods_account(lab: Lab) -> None:
    lab.apis["remote"].objects[PODS] = {"items": [pod("helloworld-v2-x", account="hello")]}
    assert lab.secured.helloworld_identity("remote") == "spiffe://cluster.local/ns/sample/sa/hello"
    lab.primary.objects[PODS] = {"items": []}
    with pytest.raises(EnvironmentBroke, match="no pod of helloworld runs in the primary"):
        lab.secured.helloworld_identity("primary")


@pytest.mark.parametrize(
    ("specs", "strict"),
    [
        ([STRICT], True),
        ([{"mtls": {"mode": "PERMISSIVE"}}, STRICT], True),
        ([STRICT | {"selector": {"matchLabels": {"app": "helloworld"}}}], False),
        ([{"mtls": {"mode": "PERMISSIVE"}}], False),
        ([{}], False),
        ([], False),
    ],
    ids=["strict", "one of two", "one workload's", "permissive", "unset", "none"],
)
def test_a_mesh_is_strict_where_it_says_so_for_all_of_it(lab: Lab, specs: list[object], strict: bool) -> None:
    lab.primary.objects[POLICIES] = {"items": [{"spec": spec} for spec in specs]}
    assert lab.secured.strict is strict


def test_what_holds_for_the_whole_mesh_is_read_from_its_root_namespace(lab: Lab) -> None:
    lab.configure(rootNamespace="mesh-root")
    lab.primary.objects[POLICIES] = {"items": []}
    lab.primary.objects[POLICIES.replace("istio-system", "mesh-root")] = {"items": [{"spec": STRICT}]}
    assert lab.secured.strict


def test_each_clusters_roots_are_its_own_and_what_is_no_root_is_none(lab: Lab) -> None:
    name, key = certificates.name("Root CA"), certificates.new_key()
    root = certificates.authority(name, key, issuer=name, issuer_key=key)
    lab.primary.objects[ROOT] = {"data": {"root-cert.pem": root.public_bytes(Encoding.PEM).decode()}}
    assert lab.secured.roots == {"primary": (root,), "remote": ()}
    lab.apis["remote"].objects[ROOT] = {"data": {"root-cert.pem": "none"}}
    assert lab.secured.roots["remote"] == ()


def test_an_impostor_calls_itself_the_client_and_is_of_a_root_of_its_own(lab: Lab) -> None:
    leaf, root = lab.secured.impostor("remote").chain
    assert WorkloadCertificate.of_served(leaf).identities == (lab.secured.identity("sleep", "remote"),)
    assert WorkloadCertificate.of_served(leaf).valid
    assert not certificates.trust_problem(leaf, [], [root])
    _, other = lab.secured.impostor("remote").chain
    assert certificates.trust_problem(leaf, [], [other]) == certificates.NO_ROOT


def test_the_gateway_port_is_that_of_a_pod_of_the_gateway(lab: Lab) -> None:
    lab.primary.objects |= {PODS: {"items": []}, GATEWAYS: {"items": [pod("bare", sidecar=False), pod("gateway-1")]}}
    door = lab.secured.gateway_port("primary")
    assert (door.namespace, door.pod, door.workload_namespace) == ("istio-system", "gateway-1", "sample")
    lab.primary.objects[GATEWAYS] = {"items": []}
    with pytest.raises(EnvironmentBroke, match="no pod of the primary's gateway runs"):
        lab.secured.gateway_port("primary")


@pytest.mark.parametrize("by_refusal", [False, True])
def test_the_policy_is_about_two_names_and_leaves_all_else_as_it_is(lab: Lab, by_refusal: bool) -> None:
    """Policies that admit add up: where one of the run admits its clients already, only a refusal restricts them."""
    mesh = Mesh(replace(lab.secured.mesh.info, needs_admission=by_refusal))
    with ExitStack() as undo:
        AdmittedByPrincipal(mesh).apply(undo)
    (policy,) = [one for one in lab.primary.asked if one[0] == "POST" and one[1].endswith("/authorizationpolicies")]
    spec = json.loads(policy[4])["spec"]
    key = "notPrincipals" if by_refusal else "principals"
    assert spec["action"] == ("DENY" if by_refusal else "ALLOW")
    by_name = [
        {
            "from": [{"source": {key: [f"cluster.local/ns/sample/sa/{account}"]}}],
            "to": [{"operation": {"hosts": [f"helloworld-for-{account}*"]}}],
        }
        for account in ("nobody", "sleep")
    ]
    others = [
        {"to": [{"operation": {"notHosts": ["helloworld-for-nobody*", "helloworld-for-sleep*"]}}]},
        {"to": [{"operation": {"notPorts": ["5000"]}}]},
    ]
    assert spec["rules"] == (by_name if by_refusal else by_name + others)
    if not by_refusal:
        (by_hand,) = manifests.load(MANIFESTS / "security" / "admitted-by-principal.yaml")
        assert spec == by_hand["spec"]
    assert spec["selector"] == {"matchLabels": {"app": "helloworld"}}
