"""The Kubernetes API of one cluster: plain dictionaries in and out, every request bounded."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Any

from splithorizon.base.errors import EnvironmentBroke
from splithorizon.base.waiting import NotYet, eventually
from splithorizon.kube import manifests, pod_exec, port_forward
from splithorizon.kube.api_resources import namespace_of, path_of
from splithorizon.kube.api_server import ApiServer, Refused
from splithorizon.kube.kubeconfig import kubectl as kubectl_for

Object = dict[str, Any]
Objects = list[Object]

FIELD_MANAGER = "splithorizon"
_MERGE = "application/merge-patch+json"
_APPLY = "application/apply-patch+yaml"
# No such namespace or kind yet; a webhook that does not answer; an API server that is not up yet.
_WORTH_ANOTHER_TRY = frozenset({404, 500, 503})


class NotAdmitted(Refused, NotYet):
    """What an apply needs is not there yet: its namespace, its kind or a webhook."""


class Kube:
    """One cluster's API. Safe to share between threads.

    Raises EnvironmentBroke where the API server does not answer, Refused where it says no.
    """

    def __init__(self, kubeconfig: Path, role: str, *, kubectl: str = "") -> None:
        """Name the cluster, and how a person's command for it begins; nothing is read before the first request."""
        self.kubeconfig = kubeconfig
        self.kubectl = kubectl or kubectl_for(kubeconfig)
        self.role = role
        self._server = ApiServer(kubeconfig, role, self.kubectl)

    @property
    def server(self) -> str:
        """The API server's address, as the kubeconfig has it."""
        return str(self._server.configuration.host)

    def get(self, kind: str, name: str, namespace: str | None = None) -> Object | None:
        """Read one object; None where there is none."""
        try:
            return self._object("GET", path_of(kind, namespace, name))
        except Refused as refused:
            if refused.status == 404:
                return None
            raise

    def get_dated(self, kind: str, name: str, namespace: str | None = None) -> tuple[Object | None, datetime]:
        """Read one object as ``get`` does, and the time by the API server's clock."""
        try:
            answer = self._server.exchange("GET", path_of(kind, namespace, name))
        except Refused as refused:
            if refused.status == 404:
                return None, refused.date
            raise
        return json.loads(answer.content), answer.date

    def create(self, document: Object, *, namespace: str | None = None) -> Object:
        """Create one object, and return it as the API server keeps it; raises Refused (409) where it is there."""
        space = namespace_of(document, namespace)
        path = path_of(document["kind"], space, api=document["apiVersion"])
        return self._object("POST", path, body=document, query=[("fieldManager", FIELD_MANAGER)])

    def list(self, kind: str, namespace: str | None = None, labels: str = "", fields: str = "") -> Objects:
        """Read all objects of a kind that the selectors fit; of every namespace without one."""
        query = [("labelSelector", labels), ("fieldSelector", fields)]
        chosen = [(name, selector) for name, selector in query if selector]
        items: Objects = self._object("GET", path_of(kind, namespace), query=chosen)["items"]
        return items

    def apply(
        self,
        documents: Object | Iterable[Object] | Path,
        *,
        namespace: str | None = None,
    ) -> Objects:
        """Apply server-side, as the owner of every field that the documents name.

        ``namespace`` is for those that name none; what is to be undone goes through ``changes.apply``. Raises
        NotAdmitted, which is a NotYet, where another try may succeed.
        """
        if isinstance(documents, Path):
            documents = manifests.load(documents)
        elif isinstance(documents, dict):
            documents = [documents]
        return [self._apply(document, namespace) for document in documents]

    def as_admitted(self, document: Object, namespace: str) -> Object:
        """What the API server would make of an object that is asked for now, webhooks included; nothing is kept.

        Raises NotAdmitted, which is a NotYet, where another try may succeed.
        """
        return self._apply(document, namespace, dry_run=True)

    def delete(
        self,
        kind: str,
        name: str,
        namespace: str | None = None,
        *,
        gone_within: float = 0,
        only: Object | None = None,
    ) -> None:
        """Delete one object, if it is there; wait up to ``gone_within`` seconds for its end.

        With ``only`` just that object as it was read: raises Refused (409) where it was changed or made again since.
        """
        path = path_of(kind, namespace, name)
        wanted = {key: only["metadata"][key] for key in ("uid", "resourceVersion")} if only else {}
        body = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": wanted} if only else None
        try:
            self._server.send("DELETE", path, query=[("propagationPolicy", "Background")], body=body)
        except Refused as refused:
            if refused.status != 404:
                raise
        if not gone_within:
            return

        def gone() -> None:
            if left := self.get(kind, name, namespace):
                raise NotYet(f"still there, finalizers {left['metadata'].get('finalizers', [])}")

        eventually(f"{kind} {name} is gone from the {self.role}", gone, within=gone_within)

    def patch(self, kind: str, name: str, namespace: str | None, body: Object) -> Object:
        """Merge ``body`` into an object (JSON merge patch: a None removes)."""
        path = path_of(kind, namespace, name)
        return self._object("PATCH", path, body=body, content_type=_MERGE)

    def patch_status(self, kind: str, name: str, namespace: str | None, body: Object) -> Object:
        """Merge ``body``, which holds ``status``, into an object's status."""
        path = f"{path_of(kind, namespace, name)}/status"
        return self._object("PATCH", path, body=body, content_type=_MERGE)

    def logs(self, pod: str, namespace: str, container: str, *, since_time: str) -> str:
        """Read a container's log; ``since_time`` is RFC 3339, and taken to the second."""
        query = [("container", container), ("sinceTime", since_time)]
        path = f"{path_of('Pod', namespace, pod)}/log"
        return self._server.send("GET", path, query=query).decode(errors="replace")

    def log_begins(self, pod: str, namespace: str, container: str) -> datetime | None:
        """When the first line was written that is still read: a log that grew too long is begun anew. None if empty.

        Raises EnvironmentBroke where the kubelet has something else to say.
        """
        query = [("container", container), ("timestamps", "true"), ("limitBytes", "64")]
        path = f"{path_of('Pod', namespace, pod)}/log"
        first, _, _ = self._server.send("GET", path, query=query).decode(errors="replace").partition(" ")
        try:
            return datetime.fromisoformat(first) if first else None
        except ValueError:
            raise EnvironmentBroke(f"the log of {namespace}/{pod} ({container}) cannot be read", seen=first) from None

    def execute(
        self, pod: str, namespace: str, container: str, argv: Sequence[str], *, within: float, limit: int | None = None
    ) -> tuple[str, str, int]:
        """Run a command in a container: its standard output, standard error and exit status.

        Raises EnvironmentBroke where it cannot be run, prints more than ``limit`` bytes or has not ended ``within``
        seconds.
        """
        path = f"{path_of('Pod', namespace, pod)}/exec"
        what = f"{argv[0]} in {namespace}/{pod} ({container}) of the {self.role} cluster"
        query = [("container", container), *(("command", argument) for argument in argv)]
        return pod_exec.run(self._server.configuration, path, query, what=what, within=within, limit=limit)

    def port_forward(
        self, pod: str, namespace: str, port: int, *, within: float
    ) -> AbstractContextManager[port_forward.Stream]:
        """Connect to a port of a pod, wherever its network is; all of it ends ``within`` seconds.

        Raises EnvironmentBroke where the API server or the kubelet does not let us.
        """
        path = f"{path_of('Pod', namespace, pod)}/portforward"
        what = f"port {port} of {namespace}/{pod} of the {self.role} cluster"
        return port_forward.opened(self._server.configuration, path, port, what=what, within=within)

    def events(self, namespace: str, involved: str = "") -> Objects:
        """Read a namespace's events, or those of the objects named ``involved``, oldest first."""
        fields = f"involvedObject.name={involved}" if involved else ""
        found = self.list("Event", namespace, fields=fields)
        return sorted(found, key=lambda event: event["metadata"]["creationTimestamp"])

    def request(self, path: str) -> str:
        """Read any path of the API server, such as ``/readyz``."""
        return self._server.send("GET", path).decode(errors="replace")

    def read(self, path: str, query: Sequence[tuple[str, str]] = (), *, limit: int, within: float) -> bytes:
        """Read any path, at most ``limit`` bytes and for at most ``within`` seconds; raises TooLarge beyond that."""
        return self._server.read(path, query=query, limit=limit, within=within)

    def status_for(self, token: str, path: str, *, within: float) -> int:
        """The HTTP status by which the API server answers a bearer token that asks for a path; 0 for no answer."""
        return self._server.status_for(token, path, within=within)

    def _apply(self, document: Object, namespace: str | None, *, dry_run: bool = False) -> Object:
        space, name = namespace_of(document, namespace), document["metadata"]["name"]
        path = path_of(document["kind"], space, name, api=document["apiVersion"])
        owned = [("fieldManager", FIELD_MANAGER), ("force", "true"), *([("dryRun", "All")] if dry_run else [])]
        try:
            return self._object("PATCH", path, body=document, query=owned, content_type=_APPLY)
        except Refused as no:
            if no.status not in _WORTH_ANOTHER_TRY:
                raise
            raise NotAdmitted(no.what, status=no.status, message=no.message) from None

    def _object(self, method: str, path: str, **request: Any) -> Object:
        answer: Object = json.loads(self._server.send(method, path, **request))
        return answer
