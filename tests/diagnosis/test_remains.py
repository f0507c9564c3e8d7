"""Why objects are left after Istio was uninstalled is read from the objects themselves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from splithorizon.diagnosis import access, causes, remains
from splithorizon.diagnosis.finding import Fact, Symptom
from splithorizon.diagnosis.root_cause import Diagnosis
from splithorizon.mesh.mesh import Mesh
from tests.support.mesh_info import mesh_info
from tests.support.small_api import SmallApi, small_api

BEHAVIOUR = "test_uninstalling_leaves_nothing"
NO_LABEL = "metadata.labels operator.istio.io/component"


@pytest.fixture
def remote(tmp_path: Path) -> Iterator[SmallApi]:
    with small_api(tmp_path / "remote.kubeconfig") as api:
        yield api


def failed(*left: str, where: str = "remote") -> Symptom:
    return Symptom(
        BEHAVIOUR, numbers={"objects": 9, remains.LEFT_IN: where, remains.LEFT: remains.SEPARATOR.join(left)}
    )


def diagnosed(tmp_path: Path, *symptoms: Symptom) -> Diagnosis:
    return remains.diagnose(access.clusters_of(Mesh(mesh_info(tmp_path))), symptoms)


def put_held(api: SmallApi) -> None:
    kept = api.put("ConfigMap", "held", "istio-system")
    kept["metadata"] |= {"finalizers": ["example.com/x"], "deletionTimestamp": "2026-11-27T18:00:00Z"}


def test_an_object_with_a_finalizer_is_named_with_it(remote: SmallApi, tmp_path: Path) -> None:
    put_held(remote)
    (cause,) = diagnosed(tmp_path, failed("ConfigMap istio-system/held")).root_causes
    assert cause.finding.cause is causes.FINALIZER_WITHOUT_CONTROLLER
    assert cause.finding.evidence == (
        Fact("ConfigMap remote/istio-system/held", "metadata.finalizers", "[example.com/x]"),
    )
    assert "2026-11-27T18:00:00Z" in cause.finding.witness
    assert cause.finding.fix.startswith("kubectl <remote> -n istio-system patch configmap held")
    assert cause.consequences == (BEHAVIOUR,)


def test_an_object_that_istioctl_does_not_know_was_installed_by_other_means(remote: SmallApi, tmp_path: Path) -> None:
    remote.put("ClusterRole", "istiod-of-before")
    (cause,) = diagnosed(tmp_path, failed("ClusterRole istiod-of-before")).root_causes
    assert cause.finding.cause is causes.INSTALLED_BY_OTHER_MEANS
    assert cause.finding.evidence == (Fact("ClusterRole remote/istiod-of-before", NO_LABEL, "not set"),)


def test_what_is_held_comes_before_what_is_left(remote: SmallApi, tmp_path: Path) -> None:
    remote.put("ClusterRole", "istiod-of-before")
    put_held(remote)
    found = diagnosed(tmp_path, failed("ClusterRole istiod-of-before", "ConfigMap istio-system/held"))
    assert [one.finding.cause for one in found.root_causes] == [
        causes.FINALIZER_WITHOUT_CONTROLLER,
        causes.INSTALLED_BY_OTHER_MEANS,
    ]


@pytest.mark.parametrize("left", ["ClusterRole istiod", "ClusterRole gone", "Elsewhere x/y"])
def test_what_istioctl_should_have_removed_or_is_gone_by_now_has_no_known_cause(
    remote: SmallApi, tmp_path: Path, left: str
) -> None:
    remote.put("ClusterRole", "istiod", labels={"operator.istio.io/component": "Pilot"})
    found = diagnosed(tmp_path, failed(left))
    assert (found.root_causes, found.unexplained) == ((), (BEHAVIOUR,))
    assert found.text.startswith("no known cause fits; not read: the mesh of primary: the run had removed it")


def test_only_a_check_of_what_is_left_says_that_the_mesh_is_removed() -> None:
    assert remains.removed([failed("ClusterRole x")])
    assert not remains.removed([Symptom("test_both_versions_answer", numbers={"v1": 7})])
