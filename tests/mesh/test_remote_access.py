"""An istiod's credential is asked for its rights at the watched API server, and goes nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from splithorizon.istio.info import NetworkMode
from splithorizon.istio.remote_credential import Right
from splithorizon.kube import credentials
from splithorizon.kube.api_server import Refused
from splithorizon.mesh import remote_access
from splithorizon.mesh.mesh import Mesh
from splithorizon.mesh.remote_access import RemoteAccess
from tests.support.existing_mesh import READERS_TOKEN, TwoClusters, installed_mesh
from tests.support.mesh_info import mesh_info
from tests.support.small_api import Failure

SLICES = Right("discovery.k8s.io", "endpointslices", "watch")


@pytest.fixture
def clusters(tmp_path: Path) -> Iterator[TwoClusters]:
    with installed_mesh(tmp_path, NetworkMode.LABELS) as made:
        (tmp_path / "runs").mkdir()
        made.run(tmp_path / "runs", "run", owned=True)
        yield made


def folder(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "run"


def accessed(tmp_path: Path) -> RemoteAccess:
    (found,) = remote_access.of_mesh(Mesh(mesh_info(folder(tmp_path))))
    return found


def test_every_right_is_asked_with_the_secrets_own_token(clusters: TwoClusters, tmp_path: Path) -> None:
    found = accessed(tmp_path)
    assert clusters.remote.reviewed == [one.attributes for one in found.asked]
    assert clusters.remote.reviewers == {f"Bearer {READERS_TOKEN}"}
    assert {SLICES, Right("", "configmaps", "update")} <= {*found.asked}
    assert (found.status, found.denied) == (201, ())


@pytest.mark.usefixtures("clusters")
def test_the_token_is_in_no_result_and_the_redactor_knows_it(tmp_path: Path) -> None:
    found = accessed(tmp_path)
    assert found.credential is not None
    assert found.credential.token == ""
    assert READERS_TOKEN.encode() in {*credentials.kept_in(folder(tmp_path))}


def test_what_is_not_granted_is_named(clusters: TwoClusters, tmp_path: Path) -> None:
    clusters.remote.denies = lambda attributes: attributes.get("resource") == "endpointslices"
    assert SLICES in accessed(tmp_path).denied


def test_a_dead_token_has_its_status(clusters: TwoClusters, tmp_path: Path) -> None:
    clusters.remote.failures.append(Failure(1000, "POST", "reviews", 401))
    found = accessed(tmp_path)
    assert (found.status, found.denied) == (401, ())


def test_no_answer_is_no_verdict(clusters: TwoClusters, tmp_path: Path) -> None:
    clusters.remote.failures.append(Failure(1000, "POST", "reviews"))
    assert accessed(tmp_path).status == 0


def test_a_secret_of_another_cluster_is_not_asked(clusters: TwoClusters, tmp_path: Path) -> None:
    (secret,) = [one for one in clusters.primary.kept("Secret") if "remote" in one.get("data", {})]
    secret["data"] = {"another": secret["data"]["remote"]}
    assert accessed(tmp_path).credential is None
    assert clusters.remote.reviewed == []


def test_secrets_that_may_not_be_read_are_refused(clusters: TwoClusters, tmp_path: Path) -> None:
    clusters.primary.failures.append(Failure(1, "GET", "/secrets", 403))
    with pytest.raises(Refused):
        accessed(tmp_path)
