"""A client of the Kubernetes API of one cluster: objects are dictionaries, and every request has a deadline."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Any

from splithorizon.base.errors import EnvironmentBroke
from splithorizon.base.timeouts import current as timeouts
from splithorizon.base.waiting import NotYet, eventually
from splithorizon.kube import credentials, manifests, pod_exec, port_forward
from splithorizon.kube.api_resources import namespace_of, path_of
from splithorizon.kube.api_server import ApiServer, Refused
from splithorizon.kube.kubeconfig import kubectl as kubectl_for

Object = dict[str, Any]
Objects = list[Object]

FIELD_MANAGER = "splithorizon"
_AUTHENTICATION, _AUTHORIZATION = "authentication.k8s.io/v1", "authorization.k8s.io/v1"
_MERGE = "application/merge-patch+json"
_APPLY = "application/apply-patch+yaml"
_METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
# A namespace or kind that does not exist yet; a webhook that does not answer; an API server that starts.
_RETRIABLE = frozenset({404, 500, 503})
_FORBIDDEN = 403


def _why_it_stays(one: Object) -> str:
    """Why an object that is deleted is still there: its conditions say more than its finalizers."""
    stated = [
        f"{condition['type']}: {condition.get('message', condition.get('reason', ''))}"
        for condition in one.get("status", {}).get("conditions") or []
        if condition.get("status") == "True"
    ]
    return "; ".join(stated) or f"finalizers {one['metadata'].get('finalizers', [])}"


class NotAdmitted(Refused, NotYet):
    """An apply needs something that does not exist yet: the namespace, the kind or a webhook."""


class Kube:
    """The API of one cluster. Threads can share it.

    Every method raises NoAnswer if the API server does not answer, and Refused if it answers with an error. Both are an
    EnvironmentBroke.
    """

    def __init__(self, kubeconfig: Path, cluster: str, *, kubectl: str = "") -> None:
        """Set the kubeconfig, the name of the cluster and the ``kubectl`` command that messages show for it.

        Nothing is read before the first request.
        """
        self.kubeconfig = kubeconfig
        self.kubectl = kubectl or kubectl_for(kubeconfig)
        self.cluster = cluster
        self._server = ApiServer(kubeconfig, cluster, self.kubectl)

    @property
    def server(self) -> str:
        """The URL of the API server in the kubeconfig."""
        return str(self._server.configuration.host)

    def get(self, kind: str, name: str, namespace: str | None = None) -> Object | None:
        """Read one object; None if it does not exist."""
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
        """Create one object, and return it as the API server stores it; raises Refused (409) if it exists."""
        path = path_of(document["kind"], namespace_of(document, namespace), api=document["apiVersion"])
        return self._object("POST", path, body=document, query=[("fieldManager", FIELD_MANAGER)])

    def allowed(self, review: Object) -> bool:
        """Whether the API server would allow what a SubjectAccessReview's spec describes; nothing is stored."""
        body = {"apiVersion": _AUTHORIZATION, "kind": "SubjectAccessReview", "spec": review}
        answer = self._object("POST", f"/apis/{_AUTHORIZATION}/subjectaccessreviews", body=body)
        return bool((answer.get("status") or {}).get("allowed"))

    def list(
        self, kind: str, namespace: str | None = None, labels: str = "", fields: str = "", *, api: str = ""
    ) -> Objects:
        """Read the objects of a kind that match both selectors; without a namespace, those of all namespaces.

        ``api`` is the group and version, where the kind is not the one of the table of kinds.
        """
        query = [("labelSelector", labels), ("fieldSelector", fields)]
        given = [(name, selector) for name, selector in query if selector]
        items: Objects = self._object("GET", path_of(kind, namespace, api=api), query=given)["items"]
        return items

    def list_if_allowed(self, kind: str, namespace: str | None = None, labels: str = "") -> Objects | None:
        """Read objects as ``list`` does; None where this user may not."""
        try:
            return self.list(kind, namespace, labels)
        except Refused as refused:
            if refused.status == _FORBIDDEN:
                return None
            raise

    def list_metadata(self, kind: str, namespace: str | None = None, labels: str = "") -> Objects:
        """Read the metadata alone of the objects of a kind: nothing of a Secret's data leaves the API server."""
        query = [("labelSelector", labels)] if labels else []
        listed = self._object("GET", path_of(kind, namespace), query=query, accept=_METADATA)
        # Of metadata alone a list without objects is null, and not empty.
        items: Objects = listed["items"] or []
        return items

    def apply(
        self,
        documents: Object | Iterable[Object] | Path,
        *,
        namespace: str | None = None,
    ) -> Objects:
        """Apply documents server-side, as the manager of every field in them.

        ``namespace`` is for documents that name none. This is not undone; what ``mutations.apply`` does is.
        Raises NotAdmitted, which is a NotYet, if another attempt may succeed.
        """
        if isinstance(documents, Path):
            documents = manifests.load(documents)
        elif isinstance(documents, dict):
            documents = [documents]
        return [self._apply(document, namespace) for document in documents]

    def as_admitted(self, document: Object, namespace: str) -> Object:
        """The object after admission, webhooks included: a dry run, so that nothing is stored.

        Raises NotAdmitted, which is a NotYet, if another attempt may succeed.
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
        """Delete one object, if it exists; wait up to ``gone_within`` seconds until it is gone.

        ``only`` is the object as it was read: raises Refused (409) if it was changed or recreated since then.
        """
        path = path_of(kind, namespace, name)
        same = {key: only["metadata"][key] for key in ("uid", "resourceVersion")} if only else {}
        body = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": same} if only else None
        try:
            self._server.send("DELETE", path, query=[("propagationPolicy", "Background")], body=body)
        except Refused as refused:
            if refused.status != 404:
                raise
        if not gone_within:
            return

        def gone() -> None:
            if left := self.get(kind, name, namespace):
                raise NotYet(f"it still exists: {_why_it_stays(left)}")

        eventually(f"{kind} {name} is gone from the {self.cluster}", gone, within=gone_within)

    def patch(self, kind: str, name: str, namespace: str | None, body: Object) -> Object:
        """Merge ``body`` into an object by a JSON merge patch, in which None removes a field."""
        path = path_of(kind, namespace, name)
        return self._object("PATCH", path, body=body, content_type=_MERGE)

    def patch_status(self, kind: str, name: str, namespace: str | None, body: Object) -> Object:
        """Merge ``body``, whose only field is ``status``, into the status subresource of an object."""
        path = f"{path_of(kind, namespace, name)}/status"
        return self._object("PATCH", path, body=body, content_type=_MERGE)

    def logs(self, pod: str, namespace: str, container: str, *, since_seconds: int, limit: int | None = None) -> str:
        """Read the last ``since_seconds`` of the log of a container, by the clock of its node.

        Raises TooLarge if it has more than ``limit`` bytes.
        """
        query = [("container", container), ("sinceSeconds", str(since_seconds))]
        path = f"{path_of('Pod', namespace, pod)}/log"
        if limit is not None:
            # The kubelet ends the log there; one byte more shows that there is more.
            query.append(("limitBytes", str(limit + 1)))
            within = timeouts().small_command
            return self._server.read(path, query=query, limit=limit, within=within).decode(errors="replace")
        return self._server.send("GET", path, query=query).decode(errors="replace")

    def follow_log(
        self, pod: str, namespace: str, container: str, *, since: str = "", silence: float
    ) -> Iterator[bytes]:
        """Read the log of a container as it is written, each line with its time; ``since`` is an RFC 3339 time.

        The iterator ends where the log does. Raises NoAnswer where nothing came for ``silence`` seconds.
        """
        query = [("container", container), ("follow", "true"), ("timestamps", "true")]
        query += [("sinceTime", since)] if since else []
        return self._server.follow(f"{path_of('Pod', namespace, pod)}/log", query=query, silence=silence)

    def log_begins(self, pod: str, namespace: str, container: str) -> tuple[datetime | None, datetime]:
        """The time of the first line of the log, and the time now, by the cluster's clocks.

        After a rotation it is not the container's first line; None if the log is empty.

        Raises EnvironmentBroke if the kubelet answers something else.
        """
        query = [("container", container), ("timestamps", "true"), ("limitBytes", "64")]
        path = f"{path_of('Pod', namespace, pod)}/log"
        answer = self._server.exchange("GET", path, query=query)
        first, _, _ = answer.content.decode(errors="replace").partition(" ")
        try:
            return datetime.fromisoformat(first) if first else None, answer.date
        except ValueError:
            raise EnvironmentBroke(f"the log of {namespace}/{pod} ({container}) cannot be read", seen=first) from None

    def execute(
        self, pod: str, namespace: str, container: str, argv: Sequence[str], *, within: float, limit: int | None = None
    ) -> tuple[str, str, int]:
        """Run a command in a container; return its standard output, standard error and exit status.

        Raises EnvironmentBroke if it cannot be run, prints more than ``limit`` bytes or does not end within ``within``
        seconds.
        """
        path = f"{path_of('Pod', namespace, pod)}/exec"
        what = f"{argv[0]} in {namespace}/{pod} ({container}) of the {self.cluster} cluster"
        query = [("container", container), *(("command", argument) for argument in argv)]
        return pod_exec.run(self._server.endpoint, path, query, what=what, within=within, limit=limit)

    def port_forward(
        self, pod: str, namespace: str, port: int, *, within: float
    ) -> AbstractContextManager[port_forward.Stream]:
        """Connect to a port of a pod through the API server; the connection ends within ``within`` seconds.

        Raises EnvironmentBroke if the API server or the kubelet refuses.
        """
        path = f"{path_of('Pod', namespace, pod)}/portforward"
        what = f"port {port} of {namespace}/{pod} of the {self.cluster} cluster"
        return port_forward.opened(self._server.endpoint, path, port, what=what, within=within)

    def events(self, namespace: str, involved: str = "") -> Objects:
        """Read the events of a namespace, or those about objects named ``involved``, oldest first."""
        fields = f"involvedObject.name={involved}" if involved else ""
        events = self.list("Event", namespace, fields=fields)
        return sorted(events, key=lambda event: event["metadata"]["creationTimestamp"])

    def request(self, path: str) -> str:
        """Read any path of the API server, such as ``/readyz``."""
        return self._server.send("GET", path).decode(errors="replace")

    def read(self, path: str, query: Sequence[tuple[str, str]] = (), *, limit: int, within: float) -> bytes:
        """Read any path, at most ``limit`` bytes and for at most ``within`` seconds; raises TooLarge beyond that."""
        return self._server.read(path, query=query, limit=limit, within=within)

    def post(self, path: str, body: Object) -> Object:
        """Send an object that only asks something, such as a review of rights: the API server stores nothing of it."""
        return self._object("POST", path, body=body, asks=True)

    def status_for(self, token: str, path: str, *, within: float) -> int:
        """The HTTP status by which the API server answers a bearer token that asks for a path; 0 for no answer."""
        return self._server.status_for(token, path, within=within)

    def reviewed_for(
        self, token: str, attributes: Sequence[Mapping[str, str]], *, within: float
    ) -> tuple[int, tuple[bool, ...]]:
        """Ask with a bearer token, which the redactor knows then, what its user is allowed; as ``ApiServer`` does."""
        credentials.keep(self.kubeconfig.parent, token.encode())
        status, answers = self._server.reviewed_for(token, attributes, within=within)
        return status, tuple(answers)

    def token_of(self, account: str, namespace: str, *, seconds: int) -> str:
        """A new token of a service account that ends after these seconds, ten minutes at least."""
        body = {"apiVersion": _AUTHENTICATION, "kind": "TokenRequest", "spec": {"expirationSeconds": seconds}}
        answer = self._object("POST", f"{path_of('ServiceAccount', namespace, account)}/token", body=body)
        token = str(answer["status"]["token"])
        credentials.keep(self.kubeconfig.parent, token.encode())
        return token

    def _apply(self, document: Object, namespace: str | None, *, dry_run: bool = False) -> Object:
        space, name = namespace_of(document, namespace), document["metadata"]["name"]
        path = path_of(document["kind"], space, name, api=document["apiVersion"])
        query = [("fieldManager", FIELD_MANAGER), ("force", "true"), *([("dryRun", "All")] if dry_run else [])]
        try:
            return self._object("PATCH", path, body=document, query=query, content_type=_APPLY)
        except Refused as refused:
            if refused.status not in _RETRIABLE:
                raise
            raise NotAdmitted(refused.what, status=refused.status, message=refused.message) from None

    def _object(self, method: str, path: str, **request: Any) -> Object:
        answer: Object = json.loads(self._server.send(method, path, **request))
        return answer
