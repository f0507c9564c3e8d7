"""Asks an API server what this user may do, by SelfSubjectAccessReview: nothing is stored for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from splithorizon.kube.api_server import Refused
from splithorizon.kube.client import Kube

_PATH = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
_NOT_SERVED = frozenset({403, 404, 405})


@dataclass(frozen=True)
class Access:
    """One request as the authorizers see it: a verb on a resource, or on a path of the API server.

    ``resource`` may have a subresource, as in ``pods/exec``. Without a namespace all namespaces are meant, and without
    a name all objects.
    """

    verb: str
    resource: str = ""
    group: str = ""
    namespace: str = ""
    path: str = ""
    name: str = ""

    @property
    def attributes(self) -> dict[str, Any]:
        """The ``spec`` of the review."""
        if self.path:
            return {"nonResourceAttributes": {"verb": self.verb, "path": self.path}}
        resource, _, subresource = self.resource.partition("/")
        attributes = {"verb": self.verb, "resource": resource, "group": self.group, "namespace": self.namespace}
        attributes |= {"subresource": subresource} if subresource else {}
        return {"resourceAttributes": attributes | ({"name": self.name} if self.name else {})}


class CannotAsk(Exception):
    """The API server does not let this user ask for its rights."""


def is_allowed(kube: Kube, access: Access) -> bool:
    """Whether this user may do it now.

    Raises CannotAsk where the question itself is not allowed, and EnvironmentBroke where it is not answered.
    """
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": access.attributes}
    try:
        answer = kube.post(_PATH, review)
    except Refused as refused:
        if refused.status in _NOT_SERVED:
            raise CannotAsk(refused.message) from None
        raise
    return bool((answer.get("status") or {}).get("allowed"))
