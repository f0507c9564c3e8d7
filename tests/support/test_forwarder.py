"""The forwarder of the machine tests loses the selected requests, and no other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from splithorizon.base.errors import EnvironmentBroke
from splithorizon.kube.client import Kube
from tests.support.forwarder import TOKEN, Forwarder, Request, forwarding
from tests.support.small_api import SmallApi

NAMESPACE = "/api/v1/namespaces/a"
SECRET = "/api/v1/namespaces/mesh-system/secrets/s"


@pytest.fixture
def forwarder(api: SmallApi, tmp_path: Path) -> Iterator[Forwarder]:
    api.objects |= {NAMESPACE: {"kind": "Namespace"}, SECRET: {"kind": "Secret"}}
    with forwarding(tmp_path / "primary.kubeconfig", "x", tmp_path) as forwarder:
        yield forwarder


@pytest.fixture
def kube(forwarder: Forwarder, tmp_path: Path) -> Kube:
    forwarder.write_kubeconfig(tmp_path / "primary.kubeconfig", "x", tmp_path / "by-forwarder")
    return Kube(tmp_path / "by-forwarder", "primary")


def of_the_secret(request: Request) -> bool:
    return request.path.partition("?")[0] == SECRET


def test_other_requests_are_forwarded_with_their_bodies(forwarder: Forwarder, kube: Kube, api: SmallApi) -> None:
    for _ in range(3):
        assert kube.get("Namespace", "a") == {"kind": "Namespace"}
        kube.patch("Secret", "s", "mesh-system", {"data": {"long": "x" * 100_000}})
    assert len(api.objects[SECRET]["data"]["long"]) == 100_000
    assert forwarder.lost == []
    assert {headers["authorization"] for *_, headers, _ in api.asked} == {f"Bearer {TOKEN}"}


@pytest.mark.parametrize("times", [1, 3])
def test_matching_requests_are_lost_a_given_number_of_times(
    forwarder: Forwarder, kube: Kube, api: SmallApi, times: int
) -> None:
    forwarder.lose(of_the_secret, times=times)
    for _ in range(times):
        with pytest.raises(EnvironmentBroke, match="does not answer"):
            kube.patch("Secret", "s", "mesh-system", {"data": {}})
        assert kube.get("Namespace", "a")
    assert all(path != SECRET for _, path, *_ in api.asked)
    kube.patch("Secret", "s", "mesh-system", {"data": {}})
    assert [request.method for request in forwarder.lost] == ["PATCH"] * times


def test_after_the_first_matching_request_all_are_lost_until_it_comes_back(
    forwarder: Forwarder, kube: Kube, api: SmallApi
) -> None:
    forwarder.go_away_at(of_the_secret)
    assert kube.get("Namespace", "a")
    before = forwarder.away
    for _ in range(2):
        for kind, name, namespace in (("Secret", "s", "mesh-system"), ("Namespace", "a", None)):
            with pytest.raises(EnvironmentBroke, match="does not answer"):
                kube.get(kind, name, namespace)
    assert (before, forwarder.away) == (False, True)
    assert [path for _, path, *_ in api.asked] == [NAMESPACE]
    forwarder.come_back()
    assert kube.get("Secret", "s", "mesh-system")


def test_a_command_in_a_pod_is_forwarded(forwarder: Forwarder, kube: Kube, api: SmallApi) -> None:
    api.frames = [(1, b"out"), (3, b'{"status": "Success"}')]
    assert kube.execute("a", "pod", "container", ["true"], within=60) == ("out", "", 0)


def test_an_unreachable_server_does_not_answer_through_the_forwarder(tmp_path: Path, api: SmallApi) -> None:
    config = tmp_path / "primary.kubeconfig"
    with forwarding(config, "x", tmp_path) as forwarder:
        forwarder.write_kubeconfig(config, "x", tmp_path / "by-forwarder")
        api.shutdown()
        api.server_close()
        with pytest.raises(EnvironmentBroke, match="does not answer"):
            Kube(tmp_path / "by-forwarder", "primary").get("Namespace", "a")
