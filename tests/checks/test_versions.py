"""A gateway or a sidecar of ours of an unsupported version refutes; other workloads' are a warning."""

from __future__ import annotations

from dataclasses import replace

import pytest

from splithorizon import checks
from splithorizon.base.errors import EnvironmentBroke
from splithorizon.checks.judging import CheckFailed
from splithorizon.diagnosis import causes
from splithorizon.mesh.versions import ProxyVersion, ProxyVersions

SLEEP = ProxyVersion("sleep-1.sample", "1.29.1", "1.29.1")
GATEWAY = ProxyVersion("istio-eastwestgateway-1.istio-system", "1.28.3", "1.29.1")
FOUND = ProxyVersions((SLEEP, GATEWAY), (), {"primary/istiod-1": "1.29.1"})


def test_a_gateway_of_the_minor_version_before_is_supported() -> None:
    evidence = checks.proxy_versions_supported(FOUND, "remote")
    assert evidence.sample_lines[1] == "istio-eastwestgateway-1.istio-system 1.28.3, istiod 1.29.1"
    assert evidence.key_number == "1 x 1.28.3, 1 x 1.29.1"


@pytest.mark.parametrize("version", ["1.27.9", "1.30.0"])
def test_one_that_is_too_old_or_newer_refutes(version: str) -> None:
    wrong = replace(FOUND, proxies=(SLEEP, replace(GATEWAY, version=version)))
    with pytest.raises(CheckFailed) as failed:
        checks.proxy_versions_supported(wrong, "remote")
    assert f"istio-eastwestgateway-1.istio-system has {version}, its istiod 1.29.1" in str(failed.value)
    assert failed.value.causes == (causes.PROXY_VERSION_UNSUPPORTED,)


def test_a_proxy_is_judged_by_the_istiod_that_it_is_connected_to() -> None:
    canary = replace(GATEWAY, version="1.30.0", istiod="1.30.1")
    evidence = checks.proxy_versions_supported(replace(FOUND, proxies=(SLEEP, canary)), "remote")
    assert evidence.key_number == "1 x 1.29.1, 1 x 1.30.0"


def test_other_workloads_and_control_planes_far_apart_are_warnings() -> None:
    others = (replace(SLEEP, version="1.20.0"), replace(SLEEP, version=""))
    planes = {"primary/istiod-1": "1.29.1", "remote/istiod-1": "1.27.0"}
    evidence = checks.proxy_versions_supported(replace(FOUND, others=others, control_planes=planes), "remote")
    assert "1 of 2 others not supported" in evidence.key_number
    assert "control planes 2 minor versions apart" in evidence.key_number
    assert evidence.numbers["versions_of_others"] == "1 x 1.20.0, 1 x unknown"


@pytest.mark.parametrize("proxies", [(), (replace(SLEEP, version=""), replace(GATEWAY, istiod=""))], ids=len)
def test_without_versions_nothing_is_said(proxies: tuple[ProxyVersion, ...]) -> None:
    with pytest.raises(EnvironmentBroke):
        checks.proxy_versions_supported(replace(FOUND, proxies=proxies), "remote")
