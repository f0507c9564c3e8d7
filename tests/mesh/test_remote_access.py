"""An istiod's credential is asked for its rights at the watched API server, and goes nowhere else."""

from __future__ import annotations

import pytest

from splithorizon.istio.remote_credential import Right
from splithorizon.kube import credentials
from splithorizon.kube.api_server import Refused
from splithorizon.mesh import remote_access
from splithorizon.mesh.mesh import Mesh
from splithorizon.mesh.remote_access import RemoteAccess
from tests.support.existing_mesh import READERS_TOKEN, TwoClusters
from tests.support.small_api import Failure

SLICES = Right("discovery.k8s.io", "endpointslices", "watch")


def accessed(mesh: Mesh) -> RemoteAccess:
    (found,) = remote_access.of_mesh(mesh)
    return found


def test_every_right_is_asked_with_the_secrets_own_token(clusters: TwoClusters, mesh: Mesh) -> None:
    found = accessed(mesh)
    assert clusters.remote.reviewed == [one.attributes for one in found.asked]
    assert clusters.remote.reviewers == {f"Bearer {READERS_TOKEN}"}
    assert {SLICES, Right("", "configmaps", "update")} <= {*found.asked}
    assert (found.status, found.denied) == (201, ())


def test_the_token_is_in_no_result_and_the_redactor_knows_it(mesh: Mesh) -> None:
    found = accessed(mesh)
    assert found.credential is not None
    assert found.credential.token == ""
    assert READERS_TOKEN.encode() in {*credentials.kept_in(mesh.folder)}


def test_what_is_not_granted_is_named(clusters: TwoClusters, mesh: Mesh) -> None:
    clusters.remote.denies = lambda attributes: attributes.get("resource") == "endpointslices"
    assert SLICES in accessed(mesh).denied


def test_a_dead_token_has_its_status(clusters: TwoClusters, mesh: Mesh) -> None:
    clusters.remote.failures.append(Failure(1000, "POST", "reviews", 401))
    found = accessed(mesh)
    assert (found.status, found.denied) == (401, ())


def test_no_answer_is_no_verdict(clusters: TwoClusters, mesh: Mesh) -> None:
    clusters.remote.failures.append(Failure(1000, "POST", "reviews"))
    assert accessed(mesh).status == 0


def test_a_secret_of_another_cluster_is_not_asked(clusters: TwoClusters, mesh: Mesh) -> None:
    (secret,) = [one for one in clusters.primary.kept("Secret") if "remote" in one.get("data", {})]
    secret["data"] = {"another": secret["data"]["remote"]}
    assert accessed(mesh).credential is None
    assert clusters.remote.reviewed == []


def test_secrets_that_may_not_be_read_are_refused(clusters: TwoClusters, mesh: Mesh) -> None:
    clusters.primary.failures.append(Failure(1, "GET", "/secrets", 403))
    with pytest.raises(Refused):
        accessed(mesh)
