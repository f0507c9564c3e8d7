"""Whether an AuthorizationPolicy matches a request of ours, as far as that can be known before it is sent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

Object = Mapping[str, Any]


class Match(IntEnum):
    """Whether a rule matches; ordered, so that ``min`` is *and* and ``max`` is *or*."""

    NO = 0
    UNKNOWN = 1
    YES = 2


@dataclass(frozen=True)
class Request:
    """A request of the run: what a policy may look at. Addresses are not known before there are pods."""

    principal: str
    namespace: str
    account: str
    host: str
    port: int
    method: str
    path: str
    labels: Mapping[str, str] = field(default_factory=dict)


_DRY_RUN = "istio.io/dry-run"


def is_enforced(policy: Object) -> bool:
    """Whether a policy is more than a dry run."""
    return str((policy.get("metadata", {}).get("annotations") or {}).get(_DRY_RUN, "")).lower() != "true"


def matches(policy: Object, request: Request) -> Match:
    """Whether a rule of a policy matches; a policy without rules matches nothing, an empty rule everything."""
    return max((_rule(rule or {}, request) for rule in (policy.get("spec") or {}).get("rules") or []), default=Match.NO)


def _rule(rule: Object, request: Request) -> Match:
    parts = []
    if sources := rule.get("from"):
        parts.append(max(_source(one.get("source") or {}, request) for one in sources))
    if operations := rule.get("to"):
        parts.append(max(_operation(one.get("operation") or {}, request) for one in operations))
    parts += [_condition(one, request) for one in rule.get("when") or []]
    return min(parts, default=Match.YES)


def _source(source: Object, request: Request) -> Match:
    known = {
        "principals": [request.principal],
        "namespaces": [request.namespace],
        "serviceAccounts": [request.account, f"{request.namespace}/{request.account}"],
        # Requests of ours carry no token.
        "requestPrincipals": [],
    }
    return _fields(source, known, unknown=("ipBlocks", "remoteIpBlocks"))


def _operation(operation: Object, request: Request) -> Match:
    known = {
        "hosts": [request.host, f"{request.host}:{request.port}", _short(request), f"{_short(request)}:{request.port}"],
        "ports": [str(request.port)],
        "methods": [request.method],
        "paths": [request.path],
    }
    return _fields(operation, known)


def _short(request: Request) -> str:
    return ".".join(request.host.split(".")[:2])


def _fields(content: Object, known: Mapping[str, Sequence[str]], *, unknown: Iterable[str] = ()) -> Match:
    results = [Match.YES]
    for name, values in known.items():
        if patterns := content.get(name):
            results.append(_yes(_any(patterns, values)))
        if patterns := content.get(f"not{name[0].upper()}{name[1:]}"):
            results.append(_yes(not _any(patterns, values)))
    names = {*known, *(f"not{name[0].upper()}{name[1:]}" for name in known)}
    # Addresses, and whatever a later Istio adds.
    if any(content.get(name) for name in {*content} - names) or any(content.get(name) for name in unknown):
        results.append(Match.UNKNOWN)
    return min(results)


def _condition(condition: Object, request: Request) -> Match:
    key = str(condition.get("key", ""))
    values: Sequence[str] | None = {
        "source.namespace": [request.namespace],
        "source.principal": [request.principal],
        "destination.port": [str(request.port)],
    }.get(key)
    if key.startswith(("request.auth.", "request.headers[")):
        # No token, and of headers only those that a batch sets.
        values = [] if "x-request-id" not in key and "user-agent" not in key and ":" not in key else None
    if values is None:
        return Match.UNKNOWN
    results = [Match.YES]
    if patterns := condition.get("values"):
        results.append(_yes(_any(patterns, values)))
    if patterns := condition.get("notValues"):
        results.append(_yes(not _any(patterns, values)))
    return min(results)


def _any(patterns: Iterable[object], values: Sequence[str]) -> bool:
    return any(_fits(str(pattern), value) for pattern in patterns for value in values)


def _fits(pattern: str, value: str) -> bool:
    """Istio's own matching: exact, by prefix, by suffix, or any value at all."""
    if pattern == "*":
        return bool(value)
    if pattern.endswith("*"):
        return value.startswith(pattern[:-1])
    if pattern.startswith("*"):
        return value.endswith(pattern[1:])
    return value == pattern


def _yes(holds: bool) -> Match:
    return Match.YES if holds else Match.NO
