"""What a user may do who has the roles that `splithorizon rbac` prints, and no more."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import yaml

from splithorizon.run import rbac

Attributes = Mapping[str, str]
# What Kubernetes grants to every user by itself (system:basic-user, system:discovery).
_EVERYBODY = frozenset({"selfsubjectaccessreviews"})


def allows(printed: str) -> Callable[[Attributes], bool]:
    """Whether the bindings of a printed file grant a request; a RoleBinding does so in its namespace alone."""
    documents = [one for one in yaml.safe_load_all(printed) if one]
    roles = [one for one in documents if one["kind"] in ("ClusterRole", "Role")]
    rules = {(one["kind"], one["metadata"]["name"]): one["rules"] for one in roles}
    bound = [
        (one["metadata"].get("namespace"), rules[one["roleRef"]["kind"], one["roleRef"]["name"]])
        for one in documents
        if one["kind"].endswith("RoleBinding") or one["kind"] == "ClusterRoleBinding"
    ]

    def allowed(attributes: Attributes) -> bool:
        if attributes.get("resource") in _EVERYBODY or attributes.get("path", "").startswith("/api"):
            return True
        return any(
            _grants(rule, attributes)
            for namespace, granted in bound
            if namespace in (None, attributes.get("namespace"))
            for rule in granted
        )

    return allowed


def denies(
    *,
    system_namespace: str,
    disruption: bool = False,
    pull_secret: tuple[str, str] | None = None,
    namespace: str = "",
) -> Callable[[Attributes], bool]:
    """For ``SmallApi.denies``: everything but what the printed roles grant."""
    printed = rbac.printed(
        system_namespace=system_namespace, disruption=disruption, pull_secret=pull_secret, namespace=namespace
    )
    allowed = allows(printed)
    return lambda attributes: not allowed(attributes)


def without(*missing: str, verbs: Collection[str] = ()) -> Callable[[Attributes], bool]:
    """For ``SmallApi.denies``: these resources, such as ``pods/exec``; only some verbs of them where given."""

    def denied(attributes: Attributes) -> bool:
        return _resource(attributes) in missing and (not verbs or attributes["verb"] in verbs)

    return denied


def _grants(rule: dict[str, Any], attributes: Attributes) -> bool:
    if attributes["verb"] not in rule["verbs"]:
        return False
    if "path" in attributes:
        return attributes["path"] in rule.get("nonResourceURLs", [])
    if "resourceNames" in rule and attributes.get("name") not in rule["resourceNames"]:
        return False
    return attributes["group"] in rule.get("apiGroups", []) and _resource(attributes) in rule.get("resources", [])


def _resource(attributes: Attributes) -> str:
    subresource = attributes.get("subresource")
    return f"{attributes.get('resource')}/{subresource}" if subresource else attributes.get("resource", "")
