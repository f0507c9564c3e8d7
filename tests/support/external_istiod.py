"""A mesh on small API servers whose istiod runs in a third one: an external control plane."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from splithorizon.istio.discover import NamedCluster
from splithorizon.istio.names import SYSTEM_NAMESPACE
from splithorizon.kube.api_resources import path_of
from splithorizon.kube.client import Kube
from tests.support.controllers import Controllers
from tests.support.existing_mesh import TwoClusters, installed_mesh, put_istiod
from tests.support.small_api import SmallApi, small_api

CONTEXT = "north"
WATCHES_SECRETS_THERE = {"EXTERNAL_ISTIOD": "true", "LOCAL_CLUSTER_SECRET_WATCHER": "true"}
_REMOTE_SECRET = "istio-remote-secret-remote"


@dataclass
class ExternalMesh:
    """The clusters of the mesh, and the API server of the one that runs their istiod."""

    mesh: TwoClusters
    outside: SmallApi

    @property
    def named(self) -> NamedCluster:
        return NamedCluster(CONTEXT, Kube(self.file, CONTEXT))

    @property
    def file(self) -> Path:
        return self.mesh.home / "user-outside"

    def add_istiod(self, revision: str = "default", namespace: str = SYSTEM_NAMESPACE, **environment: str) -> None:
        """Put one more istiod there, beside the mesh's own; ``environment`` comes after Istio's usual one."""
        put_istiod(self.outside, namespace, revision)
        name = "istiod" if revision == "default" else f"istiod-{revision}"
        deployment = self.outside.objects[path_of("Deployment", namespace, name)]
        container = deployment["spec"]["template"]["spec"]["containers"][0]
        kept = [one for one in container["env"] if one["name"] not in environment]
        container["env"] = [*kept, *({"name": key, "value": value} for key, value in environment.items())]
        for controller in self.outside.controllers:
            controller()


@contextmanager
def external_control_plane(home: Path, *, secrets_outside: bool = True) -> Iterator[ExternalMesh]:
    """The suite's own mesh, whose istiod has moved out of the primary; it still has the primary's id and rules."""
    with installed_mesh(home) as mesh, small_api(home / "user-outside", context=CONTEXT) as outside:
        outside.versioned = True
        outside.put("Namespace", "kube-system")["metadata"]["uid"] = "uid-of-outside"
        outside.put("Namespace", SYSTEM_NAMESPACE)
        outside.answers["/version"] = (200, b'{"gitVersion": "v1.34.4"}')
        Controllers(outside, "10.40")
        found = ExternalMesh(mesh, outside)
        _move_istiod(found, secrets_outside=secrets_outside)
        yield found


def _move_istiod(found: ExternalMesh, *, secrets_outside: bool) -> None:
    primary, outside = found.mesh.primary, found.outside
    del primary.objects[path_of("Deployment", SYSTEM_NAMESPACE, "istiod")]
    for controller in primary.controllers:
        controller()
    found.add_istiod(**(WATCHES_SECRETS_THERE if secrets_outside else {"EXTERNAL_ISTIOD": "true"}))
    if secrets_outside:
        moved = path_of("Secret", SYSTEM_NAMESPACE, _REMOTE_SECRET)
        outside.objects[moved] = primary.objects.pop(moved)
    primary.put("Service", "istiod", SYSTEM_NAMESPACE, spec={"ports": [{"name": "tcp-webhook", "port": 443}]})
    for webhook in _webhooks(primary):
        webhook["clientConfig"]["service"]["path"] = "/inject/cluster/primary/net/primary-network"
    outside.execute = _execute


def lead_by_url(found: ExternalMesh, namespace: str = "") -> None:
    """Let the injection webhooks have a URL, and Istio's name for one of that namespace."""
    for role, api in found.mesh.apis.items():
        for webhook in _webhooks(api):
            webhook["clientConfig"] = {"url": f"https://istiod.example:15017/inject/cluster/{role}/net/{role}-network"}
        (path,) = [one for one in api.objects if one.endswith("/istio-sidecar-injector")]
        if namespace:
            configuration = api.objects.pop(path)
            configuration["metadata"]["name"] += f"-{namespace}"
            api.objects[f"{path}-{namespace}"] = configuration


def _webhooks(api: SmallApi) -> list[dict[str, Any]]:
    return [webhook for one in api.kept("MutatingWebhookConfiguration") for webhook in one["webhooks"]]


def _execute(_: str, command: list[str]) -> str:
    """What that istiod answers on its debug pages."""
    answers = {
        "/debug/clusterz": [{"id": "primary", "syncStatus": "synced"}, {"id": "remote", "syncStatus": "synced"}],
        "/debug/syncz": [],
        "/debug/networkz": [],
    }
    return json.dumps(answers[command[-1]])
