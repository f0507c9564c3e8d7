"""Asks for all rights of a run at once, before anything is created: what is missing prevents it, or limits it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from splithorizon.base import parallel
from splithorizon.base.errors import UsageProblem
from splithorizon.istio import discover
from splithorizon.istio.info import MeshInfo
from splithorizon.istio.names import SYSTEM_NAMESPACE
from splithorizon.kube.access_review import Access, CannotAsk, is_allowed
from splithorizon.kube.api_server import Refused
from splithorizon.kube.client import Kube
from splithorizon.run import rights
from splithorizon.run.rights import Clusters, Part, Right, Scope

ROLE_COMMAND = "splithorizon rbac"
# Requests to one API server at a time: no burden, and fewer than the client library keeps connections.
_AT_ONCE = 8
_UNAUTHORIZED = 401
_NEWEST = 1_000


@dataclass(frozen=True)
class Missing:
    """A right that the user of one context does not have: ``verb`` of it, in a namespace, or in all without one."""

    context: str
    right: Right
    verb: str
    namespace: str

    def __str__(self) -> str:
        """As it stands in a list."""
        return f"{self.verb} {_what(self.right)} in {self.namespace or 'all namespaces'}: {self.right.purpose}"


@dataclass(frozen=True)
class Place:
    """One cluster as rights are asked for in it: its API, the context's name and the namespaces of each scope."""

    kube: Kube
    context: str
    namespaces: Mapping[Scope, tuple[str, ...]]
    kinds: frozenset[Clusters]
    """Which of the kinds of clusters it is, by which rights are needed."""


@dataclass(frozen=True)
class Asked:
    """What a run is to do: whether it may disrupt, and the namespace of ``--namespace``, empty without it."""

    allow_disruption: bool = False
    namespace: str = ""

    @property
    def rights(self) -> tuple[Right, ...]:
        """The rights that it needs."""
        return rights.needed(allow_disruption=self.allow_disruption, existing_namespace=bool(self.namespace))

    @property
    def words(self) -> str:
        """What is typed after the command that prints the roles; of rights to disrupt nothing."""
        return f" --namespace {self.namespace}" if self.namespace else ""


def require_readable(
    kubes: Mapping[str, Kube], contexts: Mapping[str, str], asked: Asked, *, say: Callable[[str], None]
) -> None:
    """Ask for the rights by which a mesh is found. Raises UsageProblem with all that is missing where one of them is.

    istiod's namespace is not known then: the other rights are asked for in Istio's usual one.
    """
    first, *_ = kubes
    own = asked.namespace or "splithorizon"
    unknown = {Scope.OWN: (own,), Scope.SYSTEM: (SYSTEM_NAMESPACE,), Scope.GATEWAYS: (SYSTEM_NAMESPACE,)}
    places = [
        Place(kube, contexts[name], unknown, frozenset(Clusters) if name == first else frozenset({Clusters.ALL}))
        for name, kube in kubes.items()
    ]
    wanted = asked.rights
    to_find = [right for right in wanted if right.prevents and right.scopes == (Scope.CLUSTER,)]
    if _missing(places, to_find, say):
        _refuse(_missing(places, wanted, lambda _: None), asked.words)


def check(kubes: Mapping[str, Kube], info: MeshInfo, asked: Asked, *, say: Callable[[str], None]) -> dict[str, str]:
    """Ask for all rights in every cluster; the behaviours that missing ones leave out, each with the reason.

    What else goes without them is said. Raises UsageProblem where a run is not possible.
    """
    places = [place for name in kubes for place in _places(kubes[name], info, name)]
    missing = _missing(places, asked.rights, say)
    _refuse(missing, asked.words)
    for line in dict.fromkeys(f"{one.context}: may not {one}: {one.right.without}" for one in _noted(missing)):
        say(line)
    return limited(missing, asked.words)


def require_pull_secret(kubes: Mapping[str, Kube], info: MeshInfo, namespace: str, name: str) -> None:
    """Raise UsageProblem with the rights that a run with ``--pull-secret`` lacks in addition, if it lacks any."""
    asked = [(rights.PULL_SECRET_READ, "get", namespace, name)]
    if not info.namespace_exists:
        asked += [(rights.PULL_SECRET_COPIED, verb, info.namespace, "") for verb in rights.PULL_SECRET_COPIED.verbs]
    missing = []
    for cluster, kube in kubes.items():
        for right, verb, where, which in asked:
            try:
                if not is_allowed(kube, Access(verb, right.resource, right.group, where, name=which)):
                    missing.append(Missing(info.clusters[cluster].context, right, verb, where))
            except CannotAsk:
                # That the rights cannot be asked for is a message of the check of the other ones.
                break
    more = f" --namespace {info.namespace}" if info.namespace_exists else ""
    _refuse(missing, f"{more} --pull-secret {namespace}/{name}")


def limited(missing: Iterable[Missing], more: str = "") -> dict[str, str]:
    """The behaviours that missing rights leave out, each with the reason."""
    reasons: dict[str, list[str]] = {}
    for one in missing:
        for behaviour in one.right.limits:
            where = f"in {one.namespace}" if one.namespace else "in all namespaces"
            reasons.setdefault(behaviour, []).append(
                f"the user of context {one.context} may not {one.verb} {_what(one.right)} {where}"
            )
    return {name: f"{'; '.join(dict.fromkeys(said))} (see `{ROLE_COMMAND}{more}`)" for name, said in reasons.items()}


def _noted(missing: Iterable[Missing]) -> list[Missing]:
    """One missing right of each kind whose lack leaves nothing out; of the diagnosis one alone, for all of it."""
    found: dict[tuple[str, str], Missing] = {}
    for one in missing:
        if one.right.without:
            found.setdefault((one.context, one.right.without), one)
    return list(found.values())


def _refuse(missing: list[Missing], more: str = "") -> None:
    preventing = [one for one in missing if one.right.prevents]
    if not preventing:
        return
    limiting = [one for one in missing if one.right.limits]
    disruptive = any(one.right.part is Part.DISRUPTION for one in preventing)
    lines = [f"the users of --contexts lack {len(preventing)} rights, without which a run is not possible:"]
    lines += [f"  {one.context}: {one}" for one in preventing]
    if limiting:
        lines.append(f"and {len(limiting)} more, without which a part is not claimed:")
        lines += [f"  {one.context}: {one}" for one in limiting]
    command = f"{ROLE_COMMAND}{' --allow-disruption' if disruptive else ''}{more}"
    lines.append(f"`{command}` prints the roles that would do, for `kubectl apply -f -`. Nothing was created.")
    raise UsageProblem("\n".join(lines))


def _missing(places: Iterable[Place], wanted: Iterable[Right], say: Callable[[str], None]) -> list[Missing]:
    by_context = {place.context: place for place in places}
    found = parallel.for_each(by_context, lambda context: _missing_in(by_context[context], tuple(wanted), say))
    return [one for context in by_context for one in found[context]]


def _missing_in(place: Place, wanted: tuple[Right, ...], say: Callable[[str], None]) -> list[Missing]:
    minor = _minor_version(place)
    asked = [
        (Missing(place.context, right, verb, namespace), _access(right, verb, namespace))
        for right in wanted
        if right.clusters in place.kinds and right.since <= minor
        for namespace in rights.namespaces_of(right, place.namespaces)
        for verb in right.verbs
    ]
    accesses = list(dict.fromkeys(access for _, access in asked))
    try:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            allowed = dict(zip(accesses, pool.map(partial(is_allowed, place.kube), accesses), strict=True))
    except CannotAsk as why:
        say(f"{place.context}: this user may not ask for its rights ({why}): a missing one shows where it is needed")
        return []
    return [missing for missing, access in asked if not allowed[access]]


def _access(right: Right, verb: str, namespace: str) -> Access:
    if right.is_path:
        return Access(verb, path=right.resource)
    return Access(verb, right.resource, right.group, namespace)


def _what(right: Right) -> str:
    return f"{right.resource}.{right.group}" if right.group else right.resource


def _minor_version(place: Place) -> int:
    """The minor version of Kubernetes; the newest of all where this user may not read it, or it is no number.

    It is the first request to the cluster. Raises UsageProblem where the API server does not know the user.
    """
    try:
        said = str(json.loads(place.kube.request("/version"))["gitVersion"])
    except Refused as refused:
        if refused.status == _UNAUTHORIZED:
            raise UsageProblem(
                f"context {place.context}: its API server does not accept this user ({refused.seen}): log in again, "
                f"until `{place.kube.kubectl} get --raw /version` answers. Nothing was created."
            ) from None
        return _NEWEST
    except (ValueError, KeyError, TypeError):
        return _NEWEST
    found = re.match(r"v?\d+\.(\d+)", said)
    return int(found[1]) if found else _NEWEST


def _places(kube: Kube, info: MeshInfo, name: str) -> Iterator[Place]:
    """A cluster of the mesh, and that of the external control plane which reads its rules there."""
    cluster = info.clusters[name]
    gateways = tuple(dict.fromkeys(pods.namespace for pods in cluster.gateway_pods))
    namespaces = {
        Scope.OWN: (info.namespace,),
        Scope.SYSTEM: (cluster.system_namespace,),
        Scope.GATEWAYS: gateways or (cluster.system_namespace,),
    }
    kinds = {Clusters.ALL}
    if cluster in info.config_clusters:
        kinds |= {Clusters.WITH_RULES} if cluster.external_istiod else {Clusters.WITH_RULES, Clusters.WITH_ISTIOD}
    yield Place(kube, cluster.context, namespaces, frozenset(kinds))
    external = cluster.external_istiod
    if external and external.is_named:
        yield Place(discover.kube_of(external), external.context, namespaces, frozenset({Clusters.WITH_ISTIOD}))
