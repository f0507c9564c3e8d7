"""The CronJob of `manifests/cronjob`, applied with kubectl to a mesh: a Job of it judges the mesh from within."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab import topology
from lab.engine import Engine
from lab.images import suite
from splithorizon.base.paths import MANIFESTS
from splithorizon.base.waiting import NotYet, eventually
from splithorizon.run.progress import Progress
from tests.machine.conftest import unused
from tests.machine.existing_mesh import MANAGED_BY, ExistingMesh
from tests.machine.limits import HANGS_AFTER

pytestmark = pytest.mark.engine

IMAGE = "splithorizon.invalid/splithorizon"
NAMESPACE = ACCOUNT = CRONJOB = "splithorizon"
JOB = "begun-by-hand"


@pytest.fixture
def tag(podman: Engine, existing_mesh: ExistingMesh, tmp_path: Path) -> Iterator[str]:
    """The tag of the suite's image from this checkout, which the primary's node alone holds."""
    tag = unused("test")
    reference, archive = f"{IMAGE}:{tag}", tmp_path / "image.tar"
    node = topology.node_of(existing_mesh.primary.removeprefix("kind-"))
    try:
        suite.build(podman, reference, Progress(print))
        podman.save([reference], archive)
    finally:
        podman.remove_image(reference)
    importing = ("ctr", "-n", "k8s.io", "images", "import", "-")
    podman.execute(node, *importing, within=HANGS_AFTER, stdin=archive.read_bytes())
    archive.unlink()
    yield tag
    podman.execute(node, "ctr", "-n", "k8s.io", "images", "rm", reference, within=60)


@pytest.fixture
def applied(existing_mesh: ExistingMesh, tag: str, tmp_path: Path) -> Iterator[None]:
    """The CronJob in the primary, and in the remote the account by which it reaches that cluster."""
    mesh = existing_mesh
    here, there = overlays(mesh, tag, tmp_path)
    try:
        mesh.kubectl(mesh.remote, "apply", "-k", str(there))
        token = mesh.kubectl(mesh.remote, "create", "token", ACCOUNT, "-n", NAMESPACE, "--duration=1h").strip()
        mesh.kubectl(mesh.primary, "apply", "-k", str(here))
        kubeconfig = tmp_path / "kubeconfig"
        kubeconfig.touch(mode=0o600)
        kubeconfig.write_text(mesh.kubeconfig_of_the_remote(token))
        from_file = ("-n", NAMESPACE, f"--from-file=kubeconfig={kubeconfig}")
        mesh.kubectl(mesh.primary, "create", "secret", "generic", "splithorizon-kubeconfig", *from_file)
        yield
    finally:
        mesh.kubectl(mesh.primary, "delete", "--ignore-not-found", "-k", str(here))
        mesh.kubectl(mesh.remote, "delete", "--ignore-not-found", "-k", str(there))


def overlays(mesh: ExistingMesh, tag: str, folder: Path) -> tuple[Path, Path]:
    """Kustomize overlays as docs/nightly-in-cluster.md has them: of the CronJob, and of the account alone."""
    # Kustomize takes no absolute path for a base.
    shutil.copytree(MANIFESTS / "cronjob", folder / "cronjob")
    # A run in the hour of its schedule would be a second one.
    suspended = [{"op": "add", "path": "/spec/suspend", "value": True}]
    moved = [{"op": "replace", "path": "/metadata/namespace", "value": mesh.system_namespace}]
    binding = {"target": {"kind": "RoleBinding", "name": "splithorizon-istiod"}, "patch": yaml.safe_dump(moved)}
    cronjob = {"target": {"kind": "CronJob"}, "patch": yaml.safe_dump(suspended)}
    here = {
        "resources": ["../cronjob"],
        "images": [{"name": IMAGE, "newTag": tag}],
        "patches": [binding, cronjob],
        "configMapGenerator": [
            {"name": CRONJOB, "namespace": NAMESPACE, "behavior": "replace", "files": ["splithorizon.toml"]}
        ],
    }
    there = {"resources": ["../cronjob/account"], "patches": [binding]}
    for name, content in (("here", here), ("there", there)):
        (folder / name).mkdir()
        (folder / name / "kustomization.yaml").write_text(yaml.safe_dump(content))
    options = (folder / "cronjob" / "splithorizon.toml").read_text()
    (folder / "here" / "splithorizon.toml").write_text(f'{options}profile = "core"\n')
    return folder / "here", folder / "there"


def ended_job(mesh: ExistingMesh) -> dict[str, Any]:
    """The Job's pod once it has ended."""

    def look() -> dict[str, Any]:
        arguments = ("get", "pods", "-n", NAMESPACE, "-l", f"job-name={JOB}", "-o", "json")
        pods: list[dict[str, Any]] = json.loads(mesh.kubectl(mesh.primary, *arguments))["items"]
        phases = [pod["status"].get("phase") for pod in pods]
        if phases not in (["Succeeded"], ["Failed"]):
            raise NotYet(f"its pods: {phases}")
        return pods[0]

    return eventually("the Job's pod has ended", look, within=HANGS_AFTER, every=1)


def test_a_job_of_the_cronjob_judges_the_mesh_from_within(existing_mesh: ExistingMesh, applied: None) -> None:
    mesh = existing_mesh
    mesh.kubectl(mesh.primary, "create", "job", f"--from=cronjob/{CRONJOB}", JOB, "-n", NAMESPACE)

    pod = ended_job(mesh)

    log = mesh.kubectl(mesh.primary, "logs", "-n", NAMESPACE, f"job/{JOB}", "-c", "verify")
    (ended,) = [one["state"]["terminated"] for one in pod["status"]["containerStatuses"]]
    assert ended["exitCode"] == 0, log
    report = json.loads(log.splitlines()[-1])
    assert report["verdict"] == "conformant", log
    assert {found["profile"] for found in report["behaviours"]} == {"core"}
    assert report["totals"]["requests"] >= 1000
    assert report["totals"]["unjoined"] == 0
    assert len(report["clusters"]) == len(mesh.contexts)
    for context in mesh.contexts:
        assert mesh.kubectl(context, "get", "namespaces", "-l", MANAGED_BY, "-o", "name") == ""
