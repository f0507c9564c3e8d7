"""Prints the rights of a run as roles of Kubernetes, for `kubectl apply`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from splithorizon.istio.names import SYSTEM_NAMESPACE
from splithorizon.run import rights
from splithorizon.run.rights import Part, Right, Scope

NAME = "splithorizon"
_OF_ISTIOD, _OF_DISRUPTION, _IN_NAMESPACE = f"{NAME}-istiod", f"{NAME}-disruption", f"{NAME}-namespace"
_API = "rbac.authorization.k8s.io"
_HEAD = """\
# The rights of a run on an existing mesh, in each of its clusters: `{command}` prints this file.
# {name} is bound in all namespaces, because the run's own namespace has another name every time.
# {name}-istiod is bound in istiod's namespace alone: it can read the Secrets there.
"""
_DISRUPTION_HEAD = """\
# {name}-disruption is for runs with --allow-disruption alone. It can change istiod's namespace, Secrets included. Where
# gateways are in another namespace, bind it there too.
"""


_NAMESPACE_HEAD = """\
# The rights of a run in namespace {namespace}, which is there in each of the clusters: `{command}` prints this file.
# {name}-namespace is a Role there: nothing is created, changed or deleted in another namespace.
# {name} is bound in all namespaces, and reads only.
# {name}-istiod is bound in istiod's namespace: it reads the Secrets there, and runs commands in pods of istiod and of
# gateways. Where gateways are in another namespace, bind it there too.
"""
_COPYING_HEAD = """\
# {name}-pull-secret reads the one Secret that --pull-secret names, and puts its copy into the run's own namespace. That
# namespace's name is not known before, so that the right to create and patch Secrets is for all namespaces.
"""


@dataclass(frozen=True)
class Subject:
    """Whom the roles are bound to."""

    kind: str = "ServiceAccount"
    name: str = NAME
    namespace: str = NAME

    @property
    def reference(self) -> dict[str, str]:
        """As a binding names it."""
        if self.kind == "ServiceAccount":
            return {"kind": self.kind, "name": self.name, "namespace": self.namespace}
        return {"kind": self.kind, "name": self.name, "apiGroup": _API}


@dataclass
class _Rule:
    group: str
    resource: str
    verbs: list[str] = field(default_factory=list)
    purposes: list[str] = field(default_factory=list)

    @property
    def body(self) -> dict[str, Any]:
        if self.resource.startswith("/"):
            return {"nonResourceURLs": [self.resource], "verbs": self.verbs}
        return {"apiGroups": [self.group], "resources": [self.resource], "verbs": self.verbs}


def printed(
    *,
    system_namespace: str = SYSTEM_NAMESPACE,
    subject: Subject | None = None,
    disruption: bool,
    pull_secret: tuple[str, str] | None = None,
    namespace: str = "",
) -> str:
    """The roles and bindings as YAML, each rule with what it is for.

    ``namespace`` is that of ``--namespace``, which is there in every cluster; empty where the run creates its own.
    ``pull_secret`` is the namespace and name of the Secret of ``--pull-secret``.
    """
    bound = subject or Subject()
    command = f"{NAME} rbac{f' --namespace {namespace}' if namespace else ''}"
    command += f"{' --allow-disruption' if disruption else ''}"
    command += f" --pull-secret {'/'.join(pull_secret)}" if pull_secret else ""
    head = (_NAMESPACE_HEAD if namespace else _HEAD).format(command=command, name=NAME, namespace=namespace)
    head += _DISRUPTION_HEAD.format(name=NAME) if disruption else ""
    documents = [*_documents(system_namespace, bound, disruption=disruption, namespace=namespace)]
    if pull_secret:
        head += "" if namespace else _COPYING_HEAD.format(name=NAME)
        documents += _of_pull_secret(*pull_secret, bound, copied=not namespace)
    return head + "---\n".join(documents)


def roles(*, disruption: bool, namespace: str = "") -> dict[str, list[dict[str, Any]]]:
    """The rules of each ClusterRole, and of the Role of a namespace that is there, by its name."""
    found = _roles(disruption=disruption, existing_namespace=bool(namespace))
    return {name: [rule.body for rule in rules.values()] for name, rules in found.items()}


def _documents(system_namespace: str, subject: Subject, *, disruption: bool, namespace: str) -> Iterator[str]:
    for name, rules in _roles(disruption=disruption, existing_namespace=bool(namespace)).items():
        yield _role(name, rules.values(), namespace if name == _IN_NAMESPACE else "")
        if name == NAME:
            yield _dumped(_binding("ClusterRoleBinding", name, subject))
        elif name == _IN_NAMESPACE:
            yield _dumped(_binding("RoleBinding", name, subject, namespace, role="Role"))
        else:
            yield _dumped(_binding("RoleBinding", name, subject, system_namespace))


def _of_pull_secret(namespace: str, secret: str, subject: Subject, *, copied: bool) -> Iterator[str]:
    """What reads the Secret in its namespace, and what copies it into another one."""
    name = f"{NAME}-pull-secret"
    reading, copying = (
        {"apiGroups": [right.group], "resources": [right.resource], "verbs": [*right.verbs]}
        for right in (rights.PULL_SECRET_READ, rights.PULL_SECRET_COPIED)
    )
    head = {"apiVersion": f"{_API}/v1", "kind": "Role", "metadata": _metadata(name) | {"namespace": namespace}}
    yield _dumped({**head, "rules": [{**reading, "resourceNames": [secret]}]})
    yield _dumped(_binding("RoleBinding", name, subject, namespace, role="Role"))
    if copied:
        yield _dumped({**head, "kind": "ClusterRole", "metadata": _metadata(name), "rules": [copying]})
        yield _dumped(_binding("ClusterRoleBinding", name, subject))


def _roles(*, disruption: bool, existing_namespace: bool) -> dict[str, dict[tuple[str, str], _Rule]]:
    found: dict[str, dict[tuple[str, str], _Rule]] = {NAME: {}, _OF_ISTIOD: {}, _OF_DISRUPTION: {}, _IN_NAMESPACE: {}}
    for right in rights.needed(allow_disruption=disruption, existing_namespace=existing_namespace):
        for name in _roles_of(right, existing_namespace=existing_namespace):
            _add(found[name], right)
    for name in (_OF_ISTIOD, _OF_DISRUPTION, _IN_NAMESPACE):
        _leave_out(found[name], found[NAME])
    return {name: rules for name, rules in found.items() if rules}


def _roles_of(right: Right, *, existing_namespace: bool) -> tuple[str, ...]:
    """The roles that grant a right: in all namespaces, unless it is needed in namespaces alone that are known."""
    if existing_namespace and Scope.CLUSTER not in right.scopes:
        elsewhere = _OF_DISRUPTION if right.part is Part.DISRUPTION else _OF_ISTIOD
        places = [_IN_NAMESPACE if scope is Scope.OWN else elsewhere for scope in right.scopes]
        return tuple(dict.fromkeys(places))
    if right.part is Part.DISRUPTION:
        return (_OF_DISRUPTION,)
    return (_OF_ISTIOD,) if right.scopes == (Scope.SYSTEM,) else (NAME,)


def _add(rules: dict[tuple[str, str], _Rule], right: Right) -> None:
    rule = rules.setdefault((right.group, right.resource), _Rule(right.group, right.resource))
    rule.verbs += [verb for verb in right.verbs if verb not in rule.verbs]
    rule.purposes += [right.purpose] if right.purpose not in rule.purposes else []


def _leave_out(rules: dict[tuple[str, str], _Rule], known: Mapping[tuple[str, str], _Rule]) -> None:
    """Leave out what another role of the same subject grants in all namespaces."""
    for key, rule in list(rules.items()):
        rule.verbs = [verb for verb in rule.verbs if key not in known or verb not in known[key].verbs]
        if not rule.verbs:
            del rules[key]


def _role(name: str, rules: Iterable[_Rule], namespace: str = "") -> str:
    """A ClusterRole, or a Role of a namespace."""
    metadata = _metadata(name) | ({"namespace": namespace} if namespace else {})
    head = {"apiVersion": f"{_API}/v1", "kind": "Role" if namespace else "ClusterRole", "metadata": metadata}
    lines = [_dumped(head), "rules:\n"]
    for rule in rules:
        lines.append(f"  # {'; '.join(rule.purposes)}\n")
        first, *rest = yaml.safe_dump(rule.body, sort_keys=False, default_flow_style=None).splitlines(keepends=True)
        lines += [f"  - {first}", *(f"    {line}" for line in rest)]
    return "".join(lines)


def _binding(
    kind: str, name: str, subject: Subject, namespace: str = "", *, role: str = "ClusterRole"
) -> dict[str, Any]:
    return {
        "apiVersion": f"{_API}/v1",
        "kind": kind,
        "metadata": _metadata(name) | ({"namespace": namespace} if namespace else {}),
        "roleRef": {"apiGroup": _API, "kind": role, "name": name},
        "subjects": [subject.reference],
    }


def _metadata(name: str) -> dict[str, Any]:
    return {"name": name}


def _dumped(document: dict[str, Any]) -> str:
    text: str = yaml.safe_dump(document, sort_keys=False)
    return text
