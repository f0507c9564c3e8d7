"""An existing mesh of two small API servers that a whole run can read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.support.small_api import SmallApi, small_api


def pods(*found: dict[str, Any]) -> dict[str, Any]:
    return {"kind": "PodList", "items": list(found)}


ISTIOD = {
    "kind": "Pod",
    "metadata": {
        "name": "istiod-1",
        "namespace": "istio-system",
        "labels": {"app": "istiod", "istio.io/rev": "default"},
    },
    "spec": {"containers": [{"name": "discovery", "image": "istio/pilot:1.29.1", "env": []}]},
    "status": {"phase": "Running"},
}


@contextmanager
def readable_mesh(folder: Path) -> Iterator[tuple[Path, dict[str, SmallApi]]]:
    """A kubeconfig with the contexts west and east, and the servers that they lead to, by those names.

    A run reads the mesh and makes its namespaces; then it ends inconclusive, because no controller makes pods there.
    """
    with ExitStack() as stack:
        servers = {name: stack.enter_context(small_api(folder / f"{name}.yaml")) for name in ("west", "east")}
        merged: dict[str, Any] = {"apiVersion": "v1", "kind": "Config", "clusters": [], "users": [], "contexts": []}
        for name, api in servers.items():
            own = json.loads((folder / f"{name}.yaml").read_text())
            merged["clusters"].append({**own["clusters"][0], "name": name})
            merged["users"].append({"name": name, "user": {"token": f"the token of {name}, " + "x" * 40}})
            merged["contexts"].append({"name": name, "context": {"cluster": name, "user": name}})
            api.objects["/api/v1/namespaces/kube-system"] = {"metadata": {"name": "kube-system", "uid": name}}
            labels = {"topology.istio.io/network": f"{name}-network"}
            api.objects["/api/v1/namespaces/istio-system"] = {"metadata": {"name": "istio-system", "labels": labels}}
            api.objects["/api/v1/pods"] = pods(*([ISTIOD] if name == "west" else []))
            api.objects["/api/v1/namespaces/istio-system/pods"] = pods()
            for empty in ("/api/v1/services", "/api/v1/nodes", "/api/v1/namespaces/istio-system/secrets"):
                api.objects[empty] = {"items": []}
            webhooks = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
            api.objects[webhooks] = {"items": []}
            api.objects["/version"] = {"gitVersion": "v1.34.4"}
        kubeconfig = folder / "kubeconfig"
        kubeconfig.write_text(json.dumps(merged))
        yield kubeconfig, servers
