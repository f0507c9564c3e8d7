"""``manifests/cronjob`` fits together: one image to name, one set of options, rights, Pod Security."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
import yaml

from lab.images import suite
from splithorizon.base.paths import MANIFESTS
from splithorizon.run import config_file, rbac
from splithorizon.run.option_table import KEEP_CLUSTER, KUBECONFIG, OPTIONS

BASE = MANIFESTS / "cronjob"
PLACEHOLDER = "splithorizon.invalid/splithorizon"


def of(*name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(BASE.joinpath(*name).read_text())
    return found


CRONJOB = of("cronjob.yaml")["spec"]
JOB = CRONJOB["jobTemplate"]["spec"]
POD = JOB["template"]["spec"]
CONTAINERS = {one["name"]: one for one in (*POD["initContainers"], *POD["containers"])}
USER = (suite.FOLDER / "Containerfile").read_text().partition("USER ")[2].partition("\n")[0]


def test_kustomize_finds_every_file_and_no_file_is_forgotten() -> None:
    for folder in (BASE, BASE / "account"):
        kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
        named = {*kustomization["resources"], "kustomization.yaml"}
        named |= {file for one in kustomization.get("configMapGenerator", []) for file in one["files"]}
        assert named == {path.name for path in folder.iterdir()}


def test_a_run_is_never_repeated_and_never_beside_another() -> None:
    assert CRONJOB["concurrencyPolicy"] == "Forbid"
    assert JOB["backoffLimit"] == 0
    assert POD["restartPolicy"] == "Never"


def test_expired_namespaces_are_removed_before_the_mesh_is_judged() -> None:
    assert [one["args"] for one in CONTAINERS.values()] == [["sweep", "--expired"], ["verify"]]
    assert [one["name"] for one in POD["initContainers"]] == ["sweep"]


def test_there_is_one_image_to_name() -> None:
    assert {one["image"] for one in CONTAINERS.values()} == {PLACEHOLDER}


@pytest.mark.parametrize("name", CONTAINERS)
def test_its_containers_meet_pod_security_restricted_and_have_limits(name: str) -> None:
    container, pod = CONTAINERS[name], POD["securityContext"]
    assert pod["runAsNonRoot"] is True
    assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
    assert f"{pod['runAsUser']}:{pod['runAsGroup']}" == USER
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["resources"]["limits"].keys() == {"cpu", "memory"}
    mounted = {one["name"] for one in container["volumeMounts"]}
    assert mounted == {one["name"] for one in POD["volumes"]}
    assert of("account", "namespace.yaml")["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_the_options_are_known_and_lead_to_what_is_mounted() -> None:
    found = config_file.read(BASE, (*OPTIONS, KEEP_CLUSTER, KUBECONFIG)).values
    assert found["contexts"] == "in-cluster,remote"
    assert found["json"] is True
    paths = {one["name"]: one["mountPath"] for one in CONTAINERS["verify"]["volumeMounts"]}
    assert str(found["report-dir"]) == paths["reports"] == str(found["metrics"].parent)
    assert all(one["workingDir"] == paths["options"] for one in CONTAINERS.values())
    environment = {one["name"]: one["value"] for one in CONTAINERS["verify"]["env"]}
    assert environment == {"KUBECONFIG": f"{paths['kubeconfig']}/kubeconfig", "HOME": paths["temporary"]}
    assert tomllib.loads((BASE / "splithorizon.toml").read_text()).keys() == found.keys()


def test_the_account_is_the_one_that_the_roles_are_bound_to() -> None:
    account = of("account", "service-account.yaml")["metadata"]
    assert rbac.Subject() == rbac.Subject("ServiceAccount", account["name"], account["namespace"])
    assert POD["serviceAccountName"] == account["name"]
    assert of("cronjob.yaml")["metadata"]["namespace"] == account["namespace"]
    assert of("account", "namespace.yaml")["metadata"]["name"] == account["namespace"]
