"""A mesh that a plain script installed, which knows nothing of this suite: its kubeconfig, and what it holds."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from bench.__main__ import environment_by_hand
from lab import topology
from lab.engine import Engine, network
from lab.images import cni, supply
from splithorizon.base.waiting import NotYet, eventually
from splithorizon.istio.topology import PRIMARY_REMOTE, PlannedCluster, Topology
from splithorizon.run.options import Options
from splithorizon.run.progress import Progress
from tests.machine import pod_security
from tests.machine.helm_sources import HelmSources
from tests.machine.limits import HANGS_AFTER

SCRIPT = Path(__file__).with_name("install_mesh.sh")
REMOTE_SECRET = "istio-remote-secret-remote"
READER = "istio-reader-service-account"
# They come and go by themselves.
TRANSIENT = {
    "events", "events.events.k8s.io", "leases.coordination.k8s.io", "componentstatuses", "pods.metrics.k8s.io",
    "certificatesigningrequests.certificates.k8s.io",
}  # fmt: skip
# Of Kubernetes and of kind: their pods do what no other pod may.
UNRESTRICTED = ("kube-system", "local-path-storage")
WRITTEN_BY_THE_SERVER = ("managedFields", "resourceVersion", "generation", "uid", "creationTimestamp")
# What the suite calls and labels its own objects.
OURS = "splithorizon"
MANAGED_BY = f"app.kubernetes.io/managed-by={OURS}"


@dataclass(frozen=True)
class Shape:
    """How ``install_mesh.sh`` makes the mesh."""

    revision: str = ""
    system_namespace: str = "istio-system"
    access_log: str = "/dev/stdout"
    hostile: bool = False
    """With what a company's mesh may have beside, as ``hostile_mesh.sh`` has it, and Pod Security *restricted*."""
    helm: HelmSources | None = None
    """Installed by Helm from these, with what ``helm_mesh.sh`` has."""
    two_primaries: bool = False
    """An istiod in both clusters, whose ids are west and east."""

    external: bool = False
    """istiod in a third cluster, the last context, as ``external_mesh.sh`` has it."""

    @property
    def topology(self) -> Topology:
        """The clusters that are made."""
        clusters = PRIMARY_REMOTE.clusters
        if not self.external:
            return PRIMARY_REMOTE
        outside = PlannedCluster("outside", "outside-network", "outside", "", "10.30.0.0/16", "10.130.0.0/16")
        return Topology((*clusters, outside))

    @property
    def environment(self) -> Mapping[str, str]:
        """As the script reads it."""
        return {
            "REVISION": self.revision,
            "SYSTEM_NAMESPACE": self.system_namespace,
            "ACCESS_LOG": self.access_log,
            "HOSTILE": "1" if self.hostile else "",
            "TWO_PRIMARIES": "yes" if self.two_primaries else "",
            "EXTERNAL": "yes" if self.external else "",
            **(self.helm.environment if self.helm else {}),
        }


class ExistingMesh:
    """Its clusters as kubectl shows them, past the suite."""

    def __init__(self, kubectl: str, kubeconfig: Path, contexts: tuple[str, ...], shape: Shape) -> None:
        self._kubectl = kubectl
        self.kubeconfig = kubeconfig
        self.contexts = contexts
        self.system_namespace = shape.system_namespace

    @property
    def primary(self) -> str:
        return self.contexts[0]

    @property
    def remote(self) -> str:
        return self.contexts[1]

    @property
    def named(self) -> str:
        """Both contexts of the mesh, as --contexts takes them: in any order, and the primary is not the first here."""
        return f"{self.remote},{self.primary}"

    def kubectl(self, context: str, *arguments: str, text: str | None = None) -> str:
        """Run kubectl, with ``text`` for its input; raises CalledProcessError where it fails."""
        command = [self._kubectl, "--kubeconfig", str(self.kubeconfig), "--context", context, *arguments]
        return subprocess.run(
            command, check=True, capture_output=True, text=True, timeout=HANGS_AFTER, input=text
        ).stdout

    def snapshot(self) -> dict[str, str]:
        """Every object of both clusters, with a digest of all but what the server alone writes."""
        with ThreadPoolExecutor(len(self.contexts)) as pool:
            items = zip(self.contexts, pool.map(self._items, self.contexts), strict=True)
            return {f"{context} {_name(item)}": _digest(item) for context, listed in items for item in listed}

    def changed_since(self, before: dict[str, str]) -> set[str]:
        """What is not as it was, is new or is gone."""
        after = self.snapshot()
        return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}

    @property
    def ours(self) -> list[str]:
        """Every Lease, Secret and Namespace of the suite in either cluster, by context and name."""
        kinds = ("secrets", "leases.coordination.k8s.io", "configmaps", "namespaces")
        found = []
        for context in self.contexts:
            for kind in kinds:
                items = json.loads(self.kubectl(context, "get", kind, "--all-namespaces", "-o", "json"))["items"]
                found += [f"{context} {_name(item)}" for item in items if _is_ours(item)]
        return found

    @property
    def remote_secret(self) -> dict[str, Any] | None:
        """The secret by which the primary's istiod watches the remote; None while there is none."""
        arguments = ("get", "secrets", "-n", self.system_namespace, "-l", "istio/multiCluster=true", "-o", "json")
        items = json.loads(self.kubectl(self.primary, *arguments))["items"]
        assert len(items) <= 1, [item["metadata"]["name"] for item in items]
        return items[0] if items else None

    def await_remote_secret_removed(self) -> None:
        """Wait until a run has deleted it."""

        def removed() -> None:
            if self.remote_secret:
                raise NotYet("still there")

        eventually("the remote secret is removed", removed, within=HANGS_AFTER, every=0.1)

    def kubeconfig_of_the_remote(self, token: str) -> str:
        """A kubeconfig with the context ``remote`` for pods of the primary: the token, and the node's own address."""
        address = self.kubectl(
            self.remote, "get", "nodes", "-o", 'jsonpath={.items[0].status.addresses[?(@.type=="InternalIP")].address}'
        )
        of_the_host = yaml.safe_load(self.kubectl(self.remote, "config", "view", "--raw", "--minify"))
        authority = of_the_host["clusters"][0]["cluster"]["certificate-authority-data"]
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {
                    "name": "remote",
                    "cluster": {"server": f"https://{address}:6443", "certificate-authority-data": authority},
                }
            ],
            "users": [{"name": "remote", "user": {"token": token}}],
            "contexts": [{"name": "remote", "context": {"cluster": "remote", "user": "remote"}}],
            "current-context": "remote",
        }
        return yaml.safe_dump(content)

    def recreate_remote_secret(self) -> dict[str, Any]:
        """Do what somebody on call does who misses the remote secret: create it again, with a new token."""
        self._await_istiod("")
        token = self.kubectl(
            self.remote, "create", "token", READER, "-n", self.system_namespace, "--duration=24h"
        ).strip()
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": REMOTE_SECRET,
                "namespace": self.system_namespace,
                "labels": {"istio/multiCluster": "true"},
                "annotations": {"networking.istio.io/cluster": "remote"},
            },
            "stringData": {"remote": self.kubeconfig_of_the_remote(token)},
        }
        self.kubectl(self.primary, "create", "-f", "-", text=json.dumps(secret))
        self._await_istiod("synced")
        created = self.remote_secret
        assert created
        return created

    def holders(self) -> set[str]:
        """Who holds the mesh by a Lease of the suite, in either cluster."""
        return {
            str(lease["spec"].get("holderIdentity")) for context in self.contexts for lease in self._leases(context)
        }

    def expire_leases(self) -> None:
        """Let the time of every Lease of the suite be over, whose holder was killed: nobody waits a minute for it."""
        long_ago = json.dumps({"spec": {"renewTime": "2020-01-01T00:00:00.000000Z"}})
        for context in self.contexts:
            for lease in self._leases(context):
                name, namespace = lease["metadata"]["name"], lease["metadata"]["namespace"]
                self.kubectl(context, "patch", "lease", name, "-n", namespace, "--type=merge", "-p", long_ago)

    def put_remote_secret(self, secret: dict[str, Any]) -> None:
        """Make it again as it once was read: for the next test, not for what a test asserts."""
        metadata = {key: value for key, value in secret["metadata"].items() if key not in WRITTEN_BY_THE_SERVER}
        self.kubectl(self.primary, "delete", "secret", REMOTE_SECRET, "-n", self.system_namespace, "--ignore-not-found")
        self._await_istiod("")
        # As it stands: kubectl's own create rewrites the annotation that kubectl's apply left.
        secrets, text = f"/api/v1/namespaces/{self.system_namespace}/secrets", {**secret, "metadata": metadata}
        self.kubectl(self.primary, "create", "--raw", secrets, "-f", "-", text=json.dumps(text))
        self._await_istiod("synced")

    def require_working_token(self) -> None:
        """Ask the remote's API server by the kubeconfig in the remote secret, as istiod does."""
        secret = self.remote_secret
        assert secret is not None, "the remote secret is gone"
        with tempfile.NamedTemporaryFile() as file:
            file.write(base64.b64decode(secret["data"]["remote"]))
            file.flush()
            command = [self._kubectl, "--kubeconfig", file.name, "get", "endpointslices", "-n", "default", "-o", "name"]
            done = subprocess.run(command, capture_output=True, text=True, timeout=HANGS_AFTER, check=False)
        assert done.returncode == 0, done.stderr

    def _await_istiod(self, status: str) -> None:
        """Wait until istiod watches the remote with this status; empty: until it has forgotten the cluster.

        A secret that comes back before that may leave istiod with the cluster's endpoints twice (Istio 1.29).
        """
        (istiod,) = self.kubectl(
            self.primary, "get", "pods", "-n", self.system_namespace, "-l", "app=istiod", "-o", "name"
        ).split()
        request = ("--", "pilot-discovery", "request", "GET", "/debug/clusterz")

        def look() -> None:
            try:
                text = self.kubectl(self.primary, "exec", "-n", self.system_namespace, istiod, *request)
            except subprocess.CalledProcessError as problem:
                # On a busy machine the container runtime fails now and then to start a program.
                raise NotYet(problem.stderr) from problem
            clusters = json.loads(text)
            (found,) = [one["syncStatus"] for one in clusters if one["id"] == "remote"] or [""]
            if found != status:
                raise NotYet(f"istiod says of the remote: {found or 'nothing'}")

        eventually(f"istiod says of the remote: {status or 'nothing'}", look, within=HANGS_AFTER)

    def _leases(self, context: str) -> list[dict[str, Any]]:
        listed = json.loads(self.kubectl(context, "get", "leases", "--all-namespaces", "-o", "json"))
        return [lease for lease in listed["items"] if lease["metadata"]["name"] == OURS]

    def _items(self, context: str) -> list[dict[str, Any]]:
        kinds = set(self.kubectl(context, "api-resources", "--verbs=list", "-o", "name").split()) - TRANSIENT
        listed = json.loads(self.kubectl(context, "get", ",".join(sorted(kinds)), "--all-namespaces", "-o", "json"))
        return [item for item in listed["items"] if not _made_of_a_service(item)]


@contextmanager
def installed(engine: Engine, name: str, shape: Shape, folder: Path) -> Iterator[ExistingMesh]:
    """The clusters with the mesh in them; all are removed at the end of the block."""
    images = supply.supply(Options(images="built"), engine, Progress(print))
    plan = topology.plan(name, shape.topology)
    told = {**engine.environment, **environment_by_hand(engine, images, plan, folder), **shape.environment}
    if shape.hostile:
        told["CNI_ARCHIVE"] = str(cni.archive(engine, Progress(print)))
        for cluster in plan:
            configuration = Path(told[f"{cluster.name.upper()}_CONFIG"])
            pod_security.restrict(configuration, exempt=(*UNRESTRICTED, shape.system_namespace))
    try:
        # kind would make a network that nobody removes.
        with network.approached(engine):
            done = subprocess.run(
                ["bash", str(SCRIPT)],
                cwd=folder, env={**os.environ, **told}, capture_output=True, text=True, timeout=HANGS_AFTER,
                check=False,
            )  # fmt: skip
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        contexts = tuple(f"kind-{cluster.kind_name}" for cluster in plan)
        yield ExistingMesh(str(images.kubectl), folder / "kubeconfig", contexts, shape)
    finally:
        for cluster in plan:
            engine.remove_container(topology.node_of(cluster.kind_name))
        network.remove(engine, engine.network)


def _made_of_a_service(item: dict[str, Any]) -> bool:
    """Whether Kubernetes writes it by itself: anew whenever a pod of any namespace is not ready for a moment."""
    labels = item["metadata"].get("labels") or {}
    by_controller = labels.get("endpointslice.kubernetes.io/managed-by") == "endpointslice-controller.k8s.io"
    return item["kind"] == "Endpoints" or (item["kind"] == "EndpointSlice" and by_controller)


def _name(item: dict[str, Any]) -> str:
    return f"{item['kind']} {item['metadata'].get('namespace', '')}/{item['metadata']['name']}"


def _is_ours(item: dict[str, Any]) -> bool:
    metadata = item["metadata"]
    label, _, value = MANAGED_BY.partition("=")
    # A namespace of ours takes its own objects along.
    return bool(metadata["name"].startswith(OURS) or metadata.get("labels", {}).get(label) == value)


def _digest(item: dict[str, Any]) -> str:
    metadata = {name: value for name, value in item["metadata"].items() if name not in WRITTEN_BY_THE_SERVER}
    # istiod renews its leadership every few seconds.
    (metadata.get("annotations") or {}).pop("control-plane.alpha.kubernetes.io/leader", None)
    said = {**item, "metadata": metadata, "status": None}
    if item["kind"] == "Node":
        # A node that does not answer for a moment gets taints.
        said["spec"] = {name: value for name, value in item["spec"].items() if name != "taints"}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
