"""``--sweep --contexts``: undoes in an existing mesh what any run left there, from any machine, when its owner asks.

What it knows stands in the clusters themselves, by label; the local records of dead runs come on top.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from splithorizon.base.errors import EnvironmentBroke, UsageProblem
from splithorizon.base.timeouts import current as timeouts
from splithorizon.istio import discover
from splithorizon.kube.client import Kube, Object
from splithorizon.run import sweep
from splithorizon.run.existing_mesh import OBJECTS, addressed, connect, named_contexts, remove_namespace, uid_of
from splithorizon.run.journal import Journal, dead_journals, runs_folder, unreadable
from splithorizon.run.options import Options
from splithorizon.run.progress import Progress
from splithorizon.undo import backup, ownership, shared_namespace, undo_log
from splithorizon.undo.change import Change
from splithorizon.undo.mesh_lease import MeshLease, Place
from splithorizon.undo.ownership import Scope

_DEFAULT = "istio-system"


@dataclass
class _Cluster:
    """One named cluster: its client, the user's name of it and its identity."""

    kube: Kube
    context: str
    uid: str
    done: set[str] = field(default_factory=set)
    """The entries that were undone, or left alone for good."""
    tried: set[str] = field(default_factory=set)
    blocked: set[tuple[str, str | None, str]] = field(default_factory=set)
    """The objects of which a later change could not be undone."""
    failed: set[str] = field(default_factory=set)


def sweep_mesh(options: Options, progress: Progress) -> Iterator[str]:
    """Undo what runs left in the mesh that ``--contexts`` names; yield what was undone, left alone, and what stays.

    With ``options.expired`` only the expired namespaces of runs are removed: no Lease is taken, and no other object and
    no record of a run is read or written. This takes no right that a run without disruptions does not have.

    With ``options.namespace`` only objects in that namespace are removed, of runs that have expired and without
    ``expired`` also of this machine's dead runs. This takes no right that a run in it does not have.

    Raises UsageProblem where the contexts cannot be used, or another run holds the mesh's Lease, and EnvironmentBroke
    at the end where anything is still to be undone.
    """
    run = f"sweep-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
    base = runs_folder()
    with ExitStack() as stack:
        stack.enter_context(sweep.only_sweep(base))
        journal = Journal.open(run, base)
        stack.callback(journal.close)
        if not options.expired:
            yield from unreadable(base)
        named = named_contexts(options)
        contexts = {one.key: one.context for one in named}
        kubes = connect(named, journal.folder, progress)
        yield from addressed(kubes, contexts)
        clusters = _clusters(kubes, contexts)
        if options.namespace:
            dead = set() if options.expired else _dead_runs(base)
            for cluster in clusters.values():
                yield from _remove_objects(cluster, options.namespace, base, progress, dead=dead)
            if not options.expired:
                yield from _close_journals(clusters, base, progress, namespace=options.namespace)
            _require_nothing_left(clusters.values())
            return
        if options.expired:
            for cluster in clusters.values():
                yield from _remove_namespaces(cluster, base, progress, dead=set())
            _require_nothing_left(clusters.values())
            return
        lease = MeshLease(list(_places(clusters.values())), run, journal.folder)
        stack.callback(lease.release)
        lease.acquire()
        lease.keep()
        for cluster in clusters.values():
            yield from _undo_backups(cluster)
        yield from _undo_local(clusters, base)
        for cluster in clusters.values():
            yield from _remove_namespaces(cluster, base, progress, dead=_dead_runs(base))
            for namespace in sorted({scope.namespace for _, scope in _dead(base) if scope.labels}):
                yield from _remove_objects(cluster, namespace, base, progress, dead=_dead_runs(base))
        yield from _close_journals(clusters, base, progress)
    _require_nothing_left(clusters.values())


def _require_nothing_left(clusters: Iterable[_Cluster]) -> None:
    if left := sorted(one for cluster in clusters for one in cluster.failed):
        raise EnvironmentBroke(
            f"not everything is as it was before: {', '.join(left)}",
            seen="its entry stays, in the cluster or in the run's folder: sweep again once that is mended",
        )


def _clusters(kubes: Mapping[str, Kube], contexts: Mapping[str, str]) -> dict[str, _Cluster]:
    found = {}
    for name, kube in kubes.items():
        uid = uid_of(kube)
        if uid in found:
            raise UsageProblem(
                f"--contexts {','.join(contexts.values())}: two lead to one and the same cluster. Nothing was created."
            )
        found[uid] = _Cluster(kube, contexts[name], uid)
    return found


def _places(clusters: Iterable[_Cluster]) -> Iterator[Place]:
    """Every namespace in which a run on these clusters may hold its Lease, though no istiod may run there now."""
    known = list(clusters)
    systems = {name for cluster in known for name in discover.system_namespaces(cluster.kube)} or {_DEFAULT}
    for cluster in known:
        for name in sorted(systems):
            if cluster.kube.get("Namespace", name) is not None:
                yield Place(cluster.kube, name, cluster.uid, cluster.context)


def _undo_backups(cluster: _Cluster) -> Iterator[str]:
    for secret in backup.backups(cluster.kube):
        metadata = secret["metadata"]
        try:
            change = backup.entry_of(secret)
        except EnvironmentBroke as problem:
            cluster.failed.add(f"Secret {metadata['namespace']}/{metadata['name']} in {cluster.context}")
            yield f"{problem}: it stays"
            continue
        yield from _undo(cluster, change)


def _undo(cluster: _Cluster, change: Change) -> Iterator[str]:
    target = change.target[1:]
    cluster.tried.add(change.id)
    try:
        if target in cluster.blocked:
            raise EnvironmentBroke("a later change of it is to be undone first")
        why = undo_log.revert(cluster.kube, change)
    except EnvironmentBroke as problem:
        cluster.blocked.add(target)
        cluster.failed.add(str(change))
        yield f"not given back: {change}: {problem}"
        return
    cluster.done.add(change.id)
    if why:
        yield f"left alone: {change}: {why}"
    else:
        yield f"gave back {change}"


def _undo_local(clusters: Mapping[str, _Cluster], base: Path) -> Iterator[str]:
    """Strike out what dead runs of this machine wrote down of these clusters, and undo what has no copy there."""
    for journal, scope in _dead(base):
        for entry in undo_log.pending_in(journal.folder):
            try:
                change = entry.change
            except EnvironmentBroke as problem:
                # Its copy in the cluster, of the same id, may have been whole.
                if any(entry.file.stem in cluster.done for cluster in clusters.values()):
                    entry.file.unlink(missing_ok=True)
                else:
                    yield f"{problem}: the run's folder stays"
                continue
            uid = scope.clusters[change.cluster].uid if change.cluster in scope.clusters else ""
            if (cluster := clusters.get(uid)) is None:
                continue
            if change.id not in cluster.tried and scope.outside(change.namespace):
                yield from _undo(cluster, change)
            # Within our own namespace everything goes with it; in one that was there, by the label of the run.
            if change.id in cluster.done or not scope.outside(change.namespace):
                entry.file.unlink(missing_ok=True)


def _remove_namespaces(cluster: _Cluster, base: Path, progress: Progress, *, dead: set[str]) -> Iterator[str]:
    """Remove the namespaces of runs that have expired, or that are among ``dead``; name the other ones."""
    here = {ownership.label_value(one) for one in _alive(base)}
    _, now = cluster.kube.get_dated("Namespace", "kube-system")
    for found in cluster.kube.list("Namespace", labels=ownership.SELECTOR):
        name, labels = found["metadata"]["name"], found["metadata"]["labels"]
        run = labels.get(ownership.RUN, "")
        if run in dead or (run not in here and ownership.expired(labels.get(ownership.EXPIRES, ""), now)):
            yield from _remove_namespace(cluster, name, progress)
        else:
            yield _kept(cluster, found)


def _kept(cluster: _Cluster, namespace: Object) -> str:
    name, labels = namespace["metadata"]["name"], namespace["metadata"]["labels"]
    until = labels.get(ownership.EXPIRES)
    return (
        f"namespace {name} in {cluster.context} stays: it is of run {labels.get(ownership.RUN, 'unknown')} on "
        f"{labels.get(ownership.HOST, 'an unknown host')}, {f'until {until}' if until else 'and was to be kept'}; "
        f"remove it with: {cluster.kube.kubectl} delete namespace {name}"
    )


def _remove_namespace(cluster: _Cluster, name: str, progress: Progress) -> Iterator[str]:
    try:
        with progress.step(f"leftover namespace {name} removed", cluster=str(cluster.kube.cluster)):
            remove_namespace(cluster.kube, name)
    except EnvironmentBroke as problem:
        cluster.failed.add(f"namespace {name} in {cluster.context}")
        yield f"namespace {name} in {cluster.context} stays: {problem}"
    else:
        yield f"removed namespace {name} in {cluster.context}"


def _remove_objects(
    cluster: _Cluster, namespace: str, base: Path, progress: Progress, *, dead: set[str]
) -> Iterator[str]:
    """Remove from a namespace of somebody else the objects of runs that have expired, or that are among ``dead``."""
    here = {ownership.label_value(one) for one in _alive(base)}
    place = f"namespace {namespace} in {cluster.context}"
    _, now = cluster.kube.get_dated("Namespace", namespace)
    try:
        found = shared_namespace.runs_in(cluster.kube, namespace)
    except EnvironmentBroke as problem:
        cluster.failed.add(f"objects of runs in {place}")
        yield f"what runs left in {place} cannot be listed: {problem}"
        return
    for run, one in sorted(found.items()):
        until = one["metadata"]["labels"].get(ownership.EXPIRES, "")
        if run not in dead and (run in here or not ownership.expired(until, now)):
            command = shared_namespace.removal_command(cluster.kube, namespace, run)
            yield f"objects of run {run} in {place} stay: {f'until {until}' if until else 'to be kept'}; or: {command}"
            continue
        try:
            with progress.step(f"leftover objects of run {run} removed", cluster=str(cluster.kube.cluster)):
                shared_namespace.remove(cluster.kube, namespace, run, gone_within=timeouts().namespace_gone)
        except EnvironmentBroke as problem:
            cluster.failed.add(f"objects of run {run} in {place}")
            yield f"objects of run {run} in {place} stay: {problem}"
        else:
            yield f"removed the objects of run {run} in {place}"


def _close_journals(
    clusters: Mapping[str, _Cluster], base: Path, progress: Progress, *, namespace: str = ""
) -> Iterator[str]:
    """Forget the dead runs of this machine that have nothing left in any cluster.

    With ``namespace`` only those whose objects were in that namespace: changes of these go with the objects.
    """
    for journal, scope in list(_dead(base)):
        if namespace:
            if not scope.labels or scope.namespace != namespace:
                continue
            _strike_out(journal, scope)
        stays = undo_log.is_pending(journal.folder)
        for entry in journal.entries:
            known = scope.clusters.get(entry.facts.get("cluster", ""))
            cluster = clusters.get(known.uid) if known else None
            if cluster is None or entry.kind not in ("namespace", OBJECTS):
                stays = True
            elif entry.kind == OBJECTS:
                run = ownership.label_value(journal.run)
                stays = stays or run in shared_namespace.runs_in(cluster.kube, entry.name)
            elif cluster.kube.get("Namespace", entry.name) is not None:
                # Of a run that was killed before its namespace got labels, or one that has another's.
                yield from _remove_namespace(cluster, entry.name, progress)
                stays = stays or f"namespace {entry.name} in {cluster.context}" in cluster.failed
        if stays:
            yield f"run folder {journal.folder} stays: it names more than could be undone in these clusters"
        else:
            journal.close()
            yield f"removed run folder {journal.folder}"


def _strike_out(journal: Journal, scope: Scope) -> None:
    """Forget the changes of objects of the run's own, which are gone."""
    for entry in undo_log.pending_in(journal.folder):
        with suppress(EnvironmentBroke):
            if not scope.outside(entry.change.namespace):
                entry.file.unlink(missing_ok=True)


def _dead_runs(base: Path) -> set[str]:
    return {ownership.label_value(journal.run) for journal, _ in _dead(base)}


def _dead(base: Path) -> Iterator[tuple[Journal, Scope]]:
    """The dead runs of this machine that worked on an existing mesh, newest first."""
    for journal in reversed(dead_journals(base)):
        try:
            scope = Scope.read(journal.folder)
        except EnvironmentBroke:
            continue
        if scope and not scope.owned:
            yield journal, scope


def _alive(base: Path) -> set[str]:
    dead = {journal.run for journal in dead_journals(base)}
    return {folder.name for folder in base.iterdir()} - dead
