"""What the controllers, the kubelet and Istio's injection make of the objects of a small API server, at once."""

from __future__ import annotations

import base64
import hashlib
import json
from copy import deepcopy
from itertools import count
from typing import Any

from splithorizon.kube.api_resources import path_of
from tests.support.small_api import SmallApi

Object = dict[str, Any]

PROXY_IMAGE = "istio/proxyv2:1.29.1"
OWNER = "ownerReferences"
_HASH = "pod-template-hash"
_TOKEN_SECRET = "kubernetes.io/service-account-token"


class Controllers:
    """Keeps the pods of Deployments, the status of both, and the tokens of service accounts.

    A pod that is deleted is gone at once, and its Deployment gets another one, of another name and address. Every pod
    is ready, but for one with a readiness gate.
    """

    def __init__(self, api: SmallApi, pod_network: str) -> None:
        """Take the API server, and the first two numbers of its pods' addresses."""
        self._api = api
        self._network = pod_network
        self._numbers = count(1)
        api.controllers.append(self.reconcile)
        api.admit = self._admit

    def reconcile(self) -> None:
        for deployment in self._api.kept("Deployment"):
            self._run(deployment)
        self._remove_orphans()
        for pod in self._api.kept("Pod"):
            if "status" not in pod:
                self._start(pod)
        for secret in self._api.kept("Secret"):
            if secret.get("type") == _TOKEN_SECRET and "data" not in secret:
                token = f"token-{next(self._numbers)}"
                secret["data"] = {"ca.crt": encoded("CA"), "token": encoded(token)}
                self._api.stamped(secret)

    def _admit(self, asked: Object) -> None:
        if asked["kind"] == "Pod":
            self._start(asked)

    def _run(self, deployment: Object) -> None:
        metadata, spec = deployment["metadata"], deployment["spec"]
        digest = hashlib.sha256(json.dumps(spec["template"], sort_keys=True).encode()).hexdigest()[:8]
        replicas = spec.get("replicas", 1)
        current: list[Object] = []
        for pod in pods_of(self._api, metadata["name"], metadata["namespace"]):
            if pod["metadata"]["labels"][_HASH] == digest and len(current) < replicas:
                current.append(pod)
            else:
                self._api.objects.pop(_path(pod))
        while len(current) < replicas:
            current.append(self._pod(deployment, digest))
        numbers = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
        deployment["status"] = dict.fromkeys(numbers, replicas)

    def _pod(self, deployment: Object, digest: str) -> Object:
        template, (name, namespace) = deepcopy(deployment["spec"]["template"]), _place(deployment)
        metadata = template.get("metadata", {})
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": f"{name}-{digest}-{next(self._numbers)}",
                "namespace": namespace,
                "creationTimestamp": f"2026-11-27T00:00:{next(self._numbers) % 60:02}Z",
                "labels": {**metadata.get("labels", {}), _HASH: digest},
                "annotations": metadata.get("annotations", {}),
                OWNER: [{"kind": "Deployment", "name": name}],
            },
            "spec": template["spec"],
        }
        self._start(pod)
        self._api.objects[_path(pod)] = self._api.stamped(pod, new=True)
        return pod

    def _start(self, pod: Object) -> None:
        """Inject a sidecar where the namespace asks for it, and let every container run."""
        spec = pod["spec"]
        labels = pod["metadata"].get("labels", {})
        namespace = self._api.objects[path_of("Namespace", None, pod["metadata"]["namespace"])]
        asked = namespace["metadata"].get("labels", {}).get("istio-injection") == "enabled"
        if asked and labels.get("sidecar.istio.io/inject") != "false":
            sidecar = {"name": "istio-proxy", "image": PROXY_IMAGE, "restartPolicy": "Always"}
            spec["initContainers"] = [*spec.get("initContainers", []), sidecar]
        ready = "False" if spec.get("readinessGates") else "True"
        number = next(self._numbers)
        pod["status"] = {
            "phase": "Running",
            "podIP": f"{self._network}.{number // 250}.{number % 250 + 1}",
            "conditions": [{"type": "Ready", "status": ready}],
            "containerStatuses": [{"name": one["name"], "ready": True} for one in spec["containers"]],
            "initContainerStatuses": [{"name": one["name"], "ready": True} for one in spec.get("initContainers", [])],
        }

    def _remove_orphans(self) -> None:
        deployments = {_place(one) for one in self._api.kept("Deployment")}
        for pod in self._api.kept("Pod"):
            owners = pod["metadata"].get(OWNER, [])
            if owners and (owners[0]["name"], pod["metadata"]["namespace"]) not in deployments:
                self._api.objects.pop(_path(pod))


def pods_of(api: SmallApi, deployment: str, namespace: str) -> list[Object]:
    """The pods of a Deployment, oldest first."""
    return [
        pod
        for pod in api.kept("Pod", namespace)
        if [one["name"] for one in pod["metadata"].get(OWNER, [])] == [deployment]
    ]


def encoded(text: str) -> str:
    """In base64, as a Secret holds it."""
    return base64.b64encode(text.encode()).decode()


def _place(found: Object) -> tuple[str, str]:
    return found["metadata"]["name"], found["metadata"]["namespace"]


def _path(pod: Object) -> str:
    name, namespace = _place(pod)
    return path_of("Pod", namespace, name)
