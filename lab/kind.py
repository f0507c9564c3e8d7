"""pytest-kind's cluster class, bounded, idempotent and for either engine."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from contextlib import chdir
from pathlib import Path
from typing import Any

import yaml
from pytest_kind.cluster import KindCluster

from lab import kept_cluster
from lab.engine import Engine
from lab.images import ImageSet
from lab.topology import ClusterPlan
from splithorizon.base import process
from splithorizon.base.errors import UsageProblem
from splithorizon.base.paths import MANIFESTS
from splithorizon.base.timeouts import current as timeouts
from splithorizon.kube import manifests

KIND_LABEL = "io.x-k8s.kind.cluster"


class MeshCluster(KindCluster):  # type: ignore[misc]  # pytest-kind carries no types
    """One kind cluster of the mesh.

    The base class is constructed with our own kind and kubectl, so it downloads nothing, and inside
    the run's folder, because it makes a folder below the current one.
    """

    def __init__(self, plan: ClusterPlan, *, engine: Engine, images: ImageSet, folder: Path) -> None:
        """Describe the cluster; nothing is created yet."""
        kubeconfig = folder / f"{plan.name}.kubeconfig"
        with chdir(folder):
            super().__init__(
                plan.kind_name,
                kubeconfig=kubeconfig,
                image=images.node,
                kind_path=images.kind,
                kubectl_path=images.kubectl,
            )
        # The base class's folder is open to others, and named relative to a place we have left again.
        self.path: Path = folder / ".pytest-kind" / plan.kind_name
        for made in (self.path, self.path.parent):
            made.chmod(0o700)
        self.plan = plan
        self._images = images
        self._engine = engine
        self._folder = folder
        self._environment: Mapping[str, str] = {**engine.environment, "KUBECONFIG": str(kubeconfig)}

    def exists(self) -> bool:
        """Whether kind lists a cluster of this name."""
        return self.name in self._kind("get", "clusters", within=timeouts().small_command).stdout.split()

    def create(self, config_file: str | Path | None = None) -> None:
        """Create the cluster and wait until its API answers; the rest becomes ready while Istio installs.

        Raises CommandFailed with kind's own words.
        """
        config = Path(config_file) if config_file else self._config()
        self._kind(
            "create", "cluster", "--name", self.name, *(["--image", self.image] if self.image else []),
            "--kubeconfig", str(self.kubeconfig_path), "--config", str(config), "--wait", "0s", "--retain",
            within=timeouts().cluster_created,
        )  # fmt: skip
        self.kubeconfig_path.chmod(0o600)

    def attach(self) -> None:
        """Take hold of a kept cluster: write its kubeconfig into this run's folder."""
        self._kind(
            "export", "kubeconfig", "--name", self.name, "--kubeconfig", str(self.kubeconfig_path),
            within=timeouts().small_command,
        )  # fmt: skip
        self.kubeconfig_path.chmod(0o600)

    def require(self) -> None:
        """Raise UsageProblem where --reuse has nothing to attach to."""
        if not self.exists():
            raise UsageProblem(
                f"--reuse: there is no kind cluster named {self.name!r}; an earlier run with --keep-cluster "
                "and the same --cluster-name leaves one. Nothing was created."
            )

    def delete(self) -> None:
        """Delete the cluster; fine where there is none."""
        self._kind("delete", "cluster", "--name", self.name, within=timeouts().cluster_deleted)
        # kind does not see a node whose making was broken off between its volume and its container.
        self._engine.remove_container(self.plan.node)

    def load_archive(self, archive: Path) -> None:
        """Import a tar of images into the node; works with docker and podman alike."""
        self._kind(
            "load",
            "image-archive",
            str(archive),
            "--name",
            self.name,
            within=timeouts().images_loaded,
        )

    def kubectl(self, *args: str, **_: Any) -> str:
        """Run our kubectl against the cluster and return what it printed."""
        command = [str(self.kubectl_path), *args]
        return process.run(command, within=timeouts().small_command, env=self._environment).stdout

    @property
    def address(self) -> str:
        """The node's address on the test network, which both nodes reach."""
        return self._engine.address_of(self.plan.node)

    def in_node(self, *command: str, within: float | None = None) -> process.Completed:
        """Run a command in the node's container."""
        return self._engine.execute(self.plan.node, *command, within=within or timeouts().small_command)

    def _kind(self, *arguments: str, within: float) -> process.Completed:
        command = [str(self.kind_path), *arguments]
        return process.run(
            command,
            within=within,
            env=self._environment,
            log=self._folder / f"{self.plan.name}.log",
        )

    def _config(self) -> Path:
        document = config(self.plan, images=self._images, engine=self._engine)
        handle, path = tempfile.mkstemp(prefix=f"{self.plan.name}-", suffix=".yaml", dir=self._folder)
        with os.fdopen(handle, "w") as file:
            yaml.safe_dump(document, file)
        return Path(path)


def config(plan: ClusterPlan, *, images: ImageSet, engine: Engine) -> dict[str, Any]:
    """The kind configuration of a cluster: the manifest of its part, its place and ranges, and the machine's overlays.

    The etcd of a node image that is built here is the one of its Kubernetes; the overlay has that of the default.
    """
    folder = MANIFESTS / "kind"
    (document,) = manifests.load(folder / f"{'primary' if plan.runs_istiod else 'remote'}.yaml")
    document["networking"] |= {"podSubnet": plan.pod_subnet, "serviceSubnet": plan.service_subnet}
    for node in document["nodes"]:
        node["labels"] = kept_cluster.node_labels(plan)
    overlays = ["built-node"] if images.own_node else []
    overlays += ["without-resource-capability"] if engine.lacks_resource_capability else []
    for name in overlays:
        (patch,) = manifests.load(folder / "overlays" / f"{name}.yaml")
        document = manifests.overlay(document, patch)
    if images.own_node and (etcd := images.versions.get("etcd")):
        patch = {"kind": "ClusterConfiguration", "etcd": {"local": {"imageTag": etcd}}}
        document["kubeadmConfigPatches"].append(yaml.safe_dump(patch))
    return document
