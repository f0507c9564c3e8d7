"""Each proxy's version stands beside that of the istiod that it is connected to."""

from __future__ import annotations

from splithorizon.mesh import versions
from splithorizon.mesh.mesh import Mesh
from splithorizon.mesh.versions import ProxyVersion
from tests.support.existing_mesh import ISTIO, TwoClusters, answers


def test_gateways_and_ours_are_told_from_other_workloads(clusters: TwoClusters, mesh: Mesh) -> None:
    answers(clusters, lambda *_: ("v1",))
    proxy = {"name": "istio-proxy", "image": "istio/proxyv2:1.29.1"}
    clusters.remote.put("Pod", "ledger-1", "payments", spec={"containers": [proxy]})
    found = versions.of_cluster(mesh, "remote")
    assert {one.name.partition("-")[0] for one in found.proxies} == {"sleep", "helloworld", "istio"}
    assert found.others == (ProxyVersion("ledger-1.payments", ISTIO, ISTIO),)
    assert {(one.version, one.istiod) for one in found.proxies} == {(ISTIO, ISTIO)}
    (plane,) = found.control_planes
    assert plane.startswith("primary/istiod-")
