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
) -> str:
    """The roles and bindings as YAML, each rule with what it is for.

    ``pull_secret`` is the namespace and name of the Secret of ``--pull-secret``.
    """
    bound = subject or Subject()
    command = f"{NAME} rbac{' --allow-disruption' if disruption else ''}"
    head = _HEAD.format(command=command, name=NAME) + (_DISRUPTION_HEAD.format(name=NAME) if disruption else "")
    documents = [*_documents(system_namespace, bound, disruption=disruption)]
    if pull_secret:
        head = head.replace("` prints", f" --pull-secret {'/'.join(pull_secret)}` prints", 1)
        head += _COPYING_HEAD.format(name=NAME)
        documents += _of_pull_secret(*pull_secret, bound)
    return head + "---\n".join(documents)


def roles(*, disruption: bool) -> dict[str, list[dict[str, Any]]]:
    """The rules of each ClusterRole, by its name."""
    return {name: [rule.body for rule in rules.values()] for name, rules in _roles(disruption=disruption).items()}


def _documents(system_namespace: str, subject: Subject, *, disruption: bool) -> Iterator[str]:
    for name, rules in _roles(disruption=disruption).items():
        yield _role(name, rules.values())
        if name == NAME:
            yield _dumped(_binding("ClusterRoleBinding", name, subject))
        else:
            yield _dumped(_binding("RoleBinding", name, subject, system_namespace))


def _of_pull_secret(namespace: str, secret: str, subject: Subject) -> Iterator[str]:
    """What reads the Secret in its namespace, and what copies it."""
    name = f"{NAME}-pull-secret"
    read, copied = (
        {"apiGroups": [right.group], "resources": [right.resource], "verbs": [*right.verbs]}
        for right in (rights.PULL_SECRET_READ, rights.PULL_SECRET_COPIED)
    )
    head = {"apiVersion": f"{_API}/v1", "kind": "Role", "metadata": _metadata(name) | {"namespace": namespace}}
    yield _dumped({**head, "rules": [{**read, "resourceNames": [secret]}]})
    binding = _binding("RoleBinding", name, subject, namespace)
    yield _dumped({**binding, "roleRef": {**binding["roleRef"], "kind": "Role"}})
    yield _dumped({**head, "kind": "ClusterRole", "metadata": _metadata(name), "rules": [copied]})
    yield _dumped(_binding("ClusterRoleBinding", name, subject))


def _roles(*, disruption: bool) -> dict[str, dict[tuple[str, str], _Rule]]:
    everywhere: dict[tuple[str, str], _Rule] = {}
    of_istiod: dict[tuple[str, str], _Rule] = {}
    disruptive: dict[tuple[str, str], _Rule] = {}
    for right in rights.needed(allow_disruption=disruption):
        if right.part is Part.DISRUPTION:
            _add(disruptive, right)
        elif right.scopes == (Scope.SYSTEM,):
            _add(of_istiod, right)
        else:
            _add(everywhere, right)
    for rules in (of_istiod, disruptive):
        _leave_out(rules, everywhere)
    found = {NAME: everywhere, f"{NAME}-istiod": of_istiod}
    return found | ({f"{NAME}-disruption": disruptive} if disruption else {})


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


def _role(name: str, rules: Iterable[_Rule]) -> str:
    head = {"apiVersion": f"{_API}/v1", "kind": "ClusterRole", "metadata": _metadata(name)}
    lines = [_dumped(head), "rules:\n"]
    for rule in rules:
        lines.append(f"  # {'; '.join(rule.purposes)}\n")
        first, *rest = yaml.safe_dump(rule.body, sort_keys=False, default_flow_style=None).splitlines(keepends=True)
        lines += [f"  - {first}", *(f"    {line}" for line in rest)]
    return "".join(lines)


def _binding(kind: str, name: str, subject: Subject, namespace: str = "") -> dict[str, Any]:
    return {
        "apiVersion": f"{_API}/v1",
        "kind": kind,
        "metadata": _metadata(name) | ({"namespace": namespace} if namespace else {}),
        "roleRef": {"apiGroup": _API, "kind": "ClusterRole", "name": name},
        "subjects": [subject.reference],
    }


def _metadata(name: str) -> dict[str, Any]:
    return {"name": name}


def _dumped(document: dict[str, Any]) -> str:
    text: str = yaml.safe_dump(document, sort_keys=False)
    return text
