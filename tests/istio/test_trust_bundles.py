"""Which webhooks of a cluster have to trust the mesh's root."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from splithorizon.istio import trust_bundles
from splithorizon.kube.client import Kube
from tests.support.small_api import SmallApi, small_api

FOLDER = "/apis/admissionregistration.k8s.io/v1"


@pytest.fixture
def api(tmp_path: Path) -> Iterator[SmallApi]:
    with small_api(tmp_path / "kubeconfig") as server:
        server.objects |= {
            f"{FOLDER}/{kind}webhookconfigurations": {"items": []} for kind in ("mutating", "validating")
        }
        yield server


def hold(api: SmallApi, kind: str, **webhook: Any) -> None:
    told = {"name": "istio.io", "clientConfig": {}, **webhook}
    api.objects[f"{FOLDER}/{kind}webhookconfigurations"] = {
        "items": [{"metadata": {"name": "istiod"}, "webhooks": [told]}]
    }


@pytest.mark.parametrize(
    ("managed", "kind", "policy", "counted"),
    [
        (True, "validating", "Ignore", False),
        (True, "validating", "Fail", True),
        (True, "mutating", "Ignore", True),
        (False, "validating", "Ignore", True),
    ],
)
def test_a_validator_of_a_managed_cluster_that_may_fail_open_needs_no_bundle(
    api: SmallApi, tmp_path: Path, managed: bool, kind: str, policy: str, counted: bool
) -> None:
    hold(api, kind, failurePolicy=policy)
    found = trust_bundles.of_webhooks(Kube(tmp_path / "kubeconfig", "east"), "canary", managed=managed)
    assert [bundle.problem for bundle in found] == (["empty"] if counted else [])
    asked = {query["labelSelector"][0] for _, path, query, _, _ in api.asked if path.startswith(FOLDER)}
    assert asked == {"app=istiod,istio.io/rev=canary", "app=sidecar-injector,istio.io/rev=canary"}


def test_a_validator_that_has_a_bundle_is_looked_at_everywhere(api: SmallApi, tmp_path: Path) -> None:
    hold(api, "validating", failurePolicy="Ignore", clientConfig={"caBundle": "bm90IFBFTQ=="})
    (bundle,) = trust_bundles.of_webhooks(Kube(tmp_path / "kubeconfig", "east"), "", managed=True)
    assert bundle.problem
