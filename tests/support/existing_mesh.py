"""Two small API servers as the clusters of a mesh that somebody else installed, and runs that work on it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from splithorizon.kube import kubeconfig
from splithorizon.kube.client import Kube
from splithorizon.run.journal import Journal
from splithorizon.undo import mesh_lease
from splithorizon.undo.mesh_lease import MeshLease, Place
from splithorizon.undo.ownership import Scope, ScopeCluster
from tests.support.small_api import SmallApi, small_api

ROLES = ("primary", "remote")
CONTEXTS = {"primary": "east", "remote": "west"}
SYSTEM = "mesh-system"
NAMESPACE = "splithorizon-run"


@dataclass
class Run:
    """One run's folder, and its clients and Lease."""

    journal: Journal
    kubes: dict[str, Kube]
    lease: MeshLease
    undo: ExitStack

    @property
    def folder(self) -> Path:
        return self.journal.folder

    @property
    def primary(self) -> Kube:
        return self.kubes["primary"]


@dataclass
class TwoClusters:
    """The API servers by role, and the folder with the user's kubeconfigs."""

    apis: dict[str, SmallApi]
    home: Path

    @property
    def primary(self) -> SmallApi:
        return self.apis["primary"]

    def file(self, role: str) -> Path:
        return self.home / f"user-{role}"

    def run(self, base: Path, run_id: str, *, lease: bool = True) -> Run:
        """A run that has begun on this mesh; by default it holds its Lease."""
        journal = Journal.open(run_id, base)
        kubes, clusters = {}, {}
        for role in ROLES:
            target = journal.folder / f"{role}.kubeconfig"
            kubeconfig.extract(CONTEXTS[role], [self.file(role)], target)
            kubes[role] = Kube(target, role, kubectl=kubeconfig.kubectl(self.file(role), CONTEXTS[role]))
            clusters[role] = ScopeCluster(
                CONTEXTS[role], f"uid-of-{role}", SYSTEM, kubes[role].kubectl, str(self.file(role))
            )
        Scope(run_id, False, NAMESPACE, clusters).write(journal.folder)
        places = [Place(kubes[role], SYSTEM, f"uid-of-{role}", CONTEXTS[role]) for role in ROLES]
        held = MeshLease(places, run_id, journal.folder)
        if lease:
            held.acquire()
        return Run(journal, kubes, held, ExitStack())

    def secret(self, token: str = "dG9rZW4=", **labels: str) -> dict[str, Any]:
        """The remote secret, as somebody makes it now."""
        labelled = {"istio/multiCluster": "true", **labels}
        return self.primary.put("Secret", "istio-remote", SYSTEM, labels=labelled, data={"remote": token})

    @property
    def token(self) -> str | None:
        """What the remote secret holds now; None without one."""
        found = self.primary.objects.get(f"/api/v1/namespaces/{SYSTEM}/secrets/istio-remote")
        return found["data"]["remote"] if found else None

    def backups(self, role: str = "primary") -> list[dict[str, Any]]:
        return [
            one for one in self.apis[role].kept("Secret") if one["metadata"]["name"].startswith("splithorizon-undo-")
        ]


@contextmanager
def two_clusters(home: Path) -> Iterator[TwoClusters]:
    with ExitStack() as stack:
        apis = {}
        for role in ROLES:
            api = stack.enter_context(small_api(home / f"user-{role}", context=CONTEXTS[role]))
            api.versioned = True
            api.put("Namespace", "kube-system")["metadata"]["uid"] = f"uid-of-{role}"
            api.put("Namespace", SYSTEM)
            apis[role] = api
        apis["primary"].put("Deployment", "istiod", SYSTEM, labels={"app": "istiod"}, spec={"replicas": 1})
        mesh = TwoClusters(apis, home)
        mesh.secret()
        yield mesh


def lose_disk(run: Run) -> None:
    """As where a runner goes, and its disk with it; its Lease expires."""
    shutil.rmtree(run.folder)


def expire(mesh: TwoClusters) -> None:
    """Let a minute pass at the API servers, without a renewal."""
    for api in mesh.apis.values():
        for lease in api.kept("Lease"):
            lease["spec"]["renewTime"] = "2020-01-01T00:00:00.000000Z"
    assert mesh_lease.NAME == "splithorizon"
