"""A run against a mesh that others installed: a namespace of our own in each cluster, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from splithorizon.base import parallel
from splithorizon.base.errors import TimedOut
from splithorizon.base.paths import MANIFESTS
from splithorizon.base.timeouts import current as timeouts
from splithorizon.base.waiting import eventually
from splithorizon.conditions import behaviours, decide, platform, reading
from splithorizon.istio import discover, names
from splithorizon.istio.info import ClusterInfo, MeshInfo
from splithorizon.kube import exec_plugin, kubeconfig, manifests
from splithorizon.kube.api_server import Refused
from splithorizon.kube.client import Kube, NotAdmitted, Object
from splithorizon.kube.rollout import await_rollout
from splithorizon.run import adaptation, permissions
from splithorizon.run.journal import Journal
from splithorizon.run.options import Options
from splithorizon.run.progress import Progress
from splithorizon.traffic import workloads
from splithorizon.undo import mesh_lease, ownership
from splithorizon.undo.mesh_lease import MeshLease, Place
from splithorizon.undo.not_restored import NotRestored
from splithorizon.undo.ownership import Scope, ScopeCluster

_ACCESS_LOG = MANIFESTS / "foreign" / "access-log.yaml"


Leftover = Callable[[NotRestored], None]
"""Takes what a run could not remove of its own."""


@dataclass(frozen=True)
class Named:
    """One context of the command line, with the kubeconfig that is named for it, if any."""

    key: str
    """The context, and its place too where two have one name; the cluster's name in the mesh is not known yet."""
    context: str
    file: Path | None


@dataclass(frozen=True)
class Explored:
    """An existing mesh as it was read, with a client of each cluster by its name; nothing is created yet."""

    info: MeshInfo
    kubes: Mapping[str, Kube]
    files: Mapping[str, Path | None]
    """The kubeconfig of the command line for each cluster."""


def explore(options: Options, folder: Path, progress: Progress, *, run_id: str) -> Explored:
    """Find out which clusters the contexts lead to, what part each has in the mesh, and how the mesh is made.

    The user's kubeconfigs are read once, and the contexts copied into the run's folder. Raises UsageProblem where the
    contexts cannot be the clusters of one mesh on several networks; nothing is created.
    """
    named = named_contexts(options)
    kubes = connect(named, folder, progress)
    contexts = {one.key: one.context for one in named}
    for line in addressed(kubes, contexts):
        progress.say(line)
    with progress.step("looked at the mesh"):
        allow = options.allow_disruption
        permissions.require_readable(kubes, contexts, allow_disruption=allow, say=progress.say)
        info, by_key = read(options, kubes, namespace=f"splithorizon-{run_id}".lower())
        by_name = {name: Kube(kubes[key].kubeconfig, name, kubectl=kubes[key].kubectl) for key, name in by_key.items()}
        denied = permissions.check(by_name, info, allow_disruption=allow, say=progress.say)
        if options.pull_secret:
            permissions.require_pull_secret(by_name, info, *adaptation.pull_secret_name(options))
        info = replace(info, not_claimed={**info.not_claimed, **denied})
        others = discover.others_watched(by_name, info)
    for line in describe(info, others):
        progress.say(line)
    files = {one.key: one.file for one in named}
    return Explored(info, by_name, {name: files[key] for key, name in by_key.items()})


def read(options: Options, kubes: Mapping[str, Kube], *, namespace: str) -> tuple[MeshInfo, Mapping[str, str]]:
    """What the clusters of the contexts are in their mesh, and the name of each by the key of its client.

    Raises UsageProblem where they cannot be the clusters of one mesh on several networks.
    """
    contexts = {one.key: one.context for one in named_contexts(options)}
    arrangement = discover.arrange(kubes, contexts, revision=options.revision)
    names = arrangement.names
    by_name = {name: Kube(kubes[key].kubeconfig, name, kubectl=kubes[key].kubectl) for key, name in names.items()}
    info = discover.read_mesh(
        by_name,
        {name: contexts[key] for key, name in names.items()},
        namespace=namespace,
        arrangement=arrangement.renamed(names),
    )
    return info, names


@dataclass(frozen=True)
class Prepared:
    """All that a run knows before its first write: the mesh as it is described, what follows, and our namespaces."""

    info: MeshInfo
    conditions: reading.MeshConditions
    decision: decide.Decision
    labels: Mapping[str, Mapping[str, str]]
    """The labels of our namespace in each cluster, without those of the decision."""
    overlay: Mapping[str, Any]
    images: Mapping[str, str]
    """The images that the user names."""
    pull_secrets: Mapping[str, Object]


def look(explored: Explored, options: Options, progress: Progress, *, run_id: str) -> Prepared:
    """Read the conditions of an explored mesh, and decide what can be claimed of it; nothing is created.

    Raises UsageProblem where a condition or an option leaves nothing to judge.
    """
    info, kubes = explored.info, explored.kubes
    overlay, images = adaptation.overlay(options), adaptation.images(options)
    contexts = {name: cluster.context for name, cluster in info.clusters.items()}
    # Who keeps a namespace wants to come back to it, whenever that is. A sweep compares with the cluster's clock.
    _, now = next(iter(kubes.values())).get_dated("Namespace", "kube-system")
    expires = None if options.keep else now + timedelta(seconds=timeouts().namespace_expires)
    owner = {**adaptation.namespace_labels(options), **ownership.labels(run_id, expires=expires)}
    labels = {name: {**owner, names.REVISION_LABEL: _injected_by(options, info, name)} for name in kubes}
    with progress.step("read the conditions of the mesh"):
        found = reading.read(kubes, info, labels=labels[next(iter(labels))])
    decision = decide.decide(found)
    for condition in decision.conditions:
        progress.say(str(condition))
    decision.require_accepted(contexts.values())
    secrets = adaptation.pull_secret(options, kubes)
    return Prepared(decide.described(info, found, decision), found, decision, labels, overlay, images, secrets)


def prepare(
    explored: Explored,
    options: Options,
    journal: Journal,
    undo: ExitStack,
    progress: Progress,
    *,
    leftover: Leftover,
) -> MeshInfo:
    """Put our workloads into a mesh, in namespaces that go with the run.

    A run that may disrupt the mesh holds its Lease until the end. Raises UsageProblem where another run disrupts this
    mesh now, while nothing is created yet, and EnvironmentBroke from then on.
    """
    run_id, kubes = journal.run, explored.kubes
    prepared = look(explored, options, progress, run_id=run_id)
    info, decision = prepared.info, prepared.decision
    contexts = {name: cluster.context for name, cluster in info.clusters.items()}
    namespace = info.namespace
    scope = _scope(explored, run_id)
    scope.write(journal.folder)
    places = _places(explored)
    if options.allow_disruption:
        lease = MeshLease(places, run_id, journal.folder)
        undo.callback(lease.release)
        lease.acquire()
        lease.keep()
    else:
        mesh_lease.require_free(places, progress.say)
    if options.keep:
        for name, kube in kubes.items():
            progress.say(f"to be kept, and removed with: {kube.kubectl} delete namespace {namespace}", cluster=name)
    else:
        undo.callback(_leave, kubes, namespace, progress, leftover)
        for name, kube in kubes.items():
            journal.will_create(
                "namespace", namespace, kubeconfig=str(kube.kubeconfig), cluster=name, context=contexts[name],
                file=scope.clusters[name].file,
            )  # fmt: skip
    secrets = prepared.pull_secrets
    settled = {
        one.name: Settled(
            {**prepared.labels[one.name], **decision.namespace_labels},
            decision.objects,
            {
                **workloads.images_for(
                    kubes[one.name], info.clusters[one.name].version, options.sample_hub, prepared.images
                )
            },
            workloads.Adaptation(
                workloads.exported(info),
                pull_secrets=tuple(secret["metadata"]["name"] for secret in (secrets.get(one.name),) if secret),
                overlay=prepared.overlay,
                names_user=not platform.names_no_user(one),
            ),
            secrets.get(one.name),
        )
        for one in prepared.conditions.clusters
    }
    refused = parallel.for_each(kubes, lambda name: _settle(kubes[name], name, info, settled[name], progress))
    return replace(info, not_claimed={**info.not_claimed, **{k: v for one in refused.values() for k, v in one.items()}})


def require_free(explored: Explored, progress: Progress) -> None:
    """Raise UsageProblem where another run disrupts this mesh now; nothing is written."""
    mesh_lease.require_free(_places(explored), progress.say)


def _places(explored: Explored) -> list[Place]:
    clusters = explored.info.clusters
    return [
        Place(kube, clusters[name].system_namespace, uid_of(kube), clusters[name].context)
        for name, kube in explored.kubes.items()
    ]


@dataclass(frozen=True)
class Settled:
    """How our workloads come into one cluster: the namespace's labels, its rules, images, and what makes them fit."""

    labels: Mapping[str, str]
    rules: tuple[Object, ...]
    images: Mapping[str, str]
    adapted: workloads.Adaptation
    pull_secret: Object | None = None


def _injected_by(options: Options, info: MeshInfo, name: str) -> str:
    """The revision label of our namespace: the tag that the user names, which an upgrade moves, or the revision.

    Where an istiod is of another revision than the first, that is the one.
    """
    own = info.revision_of(name)
    return own if own != info.revision else options.revision or own


def describe(info: MeshInfo, others: Mapping[str, Sequence[str]] | None = None) -> list[str]:
    """The shape of a mesh as a small picture, for its owner to recognise.

    ``others`` are the ids of clusters that istiods watch and that were not named, by the watching cluster.
    """
    networks = dict.fromkeys(cluster.network for cluster in info.clusters.values())
    lines = [
        f"{_count(len(info.clusters), 'cluster')} on {_count(len(networks), 'network')}, networks are set by "
        + ("labels" if info.network_mode == "labels" else "meshNetworks in istiod's ConfigMap")
    ]
    for network in networks:
        lines.append(f"  network {network or 'without a name'}")
        on_it = [cluster for cluster in info.clusters.values() if cluster.network == network]
        for cluster in on_it:
            gateways = ", ".join(map(str, cluster.gateways)) or "none with an address"
            branch, stem = ("`-", "  ") if cluster is on_it[-1] else ("|-", "| ")
            lines += [
                f"  {branch} {cluster.name}: {_control_plane(cluster, info)}",
                f"  {stem}   context {cluster.context}, cluster id {cluster.cluster_id or 'not known to istiod'}, "
                f"system namespace {cluster.system_namespace}, gateways {gateways}",
            ]
    for name, ids in (others or {}).items():
        lines.append(
            f"  the istiod of {name} also watches {', '.join(ids)}, which is not named: nothing is claimed of it"
        )
    return lines


def _control_plane(cluster: ClusterInfo, info: MeshInfo) -> str:
    if cluster.is_managed:
        return f"managed by the istiod of {cluster.control_plane}"
    version = cluster.istio or info.versions["istio"]
    return f"istiod {version}, revision {info.revision_of(cluster.name) or 'default'}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def connect(named: Sequence[Named], folder: Path, progress: Progress | None = None) -> dict[str, Kube]:
    """A client for each context, by a copy of what it needs in the run's folder; no API server is asked yet.

    Exec plug-ins are run here, one after the other, at the user's terminal. Raises UsageProblem where the user's
    kubeconfigs have no such context, or a plug-in gives no credential.
    """
    kubes = {
        one.key: _connect(one, folder / f"context-{number}.kubeconfig") for number, one in enumerate(named, start=1)
    }
    with progress.at_terminal() if progress else nullcontext():
        for one in named:
            exec_plugin.authenticate(kubes[one.key].kubeconfig, one.context)
    return kubes


def addressed(kubes: Mapping[str, Kube], contexts: Mapping[str, str]) -> list[str]:
    """Which API servers the contexts lead to, for their owner to stop a run that means others."""
    return [f"context {contexts[key]} leads to {kube.server}" for key, kube in kubes.items()]


def uid_of(kube: Kube) -> str:
    """A cluster's identity, by whatever name or address it is reached."""
    system = kube.get("Namespace", "kube-system") or {"metadata": {}}
    return str(system["metadata"].get("uid", ""))


def remove_namespace(kube: Kube, namespace: str) -> None:
    """Remove our namespace, and wait until it is gone."""
    kube.delete("Namespace", namespace, gone_within=timeouts().namespace_gone)


def named_contexts(options: Options) -> tuple[Named, ...]:
    """The contexts of ``--contexts`` in their order, each with its file."""
    files: list[Path | None] = [options.kubeconfig_primary, options.kubeconfig_remote]
    files += [None] * len(options.contexts)
    found = []
    for number, (context, file) in enumerate(zip(options.contexts, files, strict=False), start=1):
        alone = options.contexts.count(context) == 1
        key = context if alone else f"{context} ({number})"
        found.append(Named(key, context, file or options.kubeconfig))
    return tuple(found)


def _connect(named: Named, target: Path) -> Kube:
    files = [named.file] if named.file else kubeconfig.default_files()
    kubeconfig.extract(named.context, files, target)
    return Kube(target, named.key, kubectl=kubeconfig.kubectl(named.file, named.context))


def _scope(explored: Explored, run_id: str) -> Scope:
    clusters = {}
    for name, kube in explored.kubes.items():
        found, file = explored.info.clusters[name], explored.files[name]
        clusters[name] = ScopeCluster(
            context=found.context,
            uid=uid_of(kube),
            system_namespace=found.system_namespace,
            kubectl=kube.kubectl,
            file=str(file.absolute()) if file else "",
        )
    return Scope(run_id, False, explored.info.namespace, clusters, ownership.kubeconfig_variable())


def _settle(kube: Kube, name: str, info: MeshInfo, settled: Settled, progress: Progress) -> Mapping[str, str]:
    """Deploy our workloads; return the behaviours that the cluster keeps from being judged, each with the reason."""
    refused: dict[str, str] = {}
    with progress.step("our namespace and workloads", cluster=name):
        cluster = info.clusters[name]
        deploy = partial(
            workloads.deploy, kube, cluster.version, settled.images, namespace=info.namespace, labels=settled.labels,
            adapted=settled.adapted, first=[settled.pull_secret] if settled.pull_secret else (),
            versions=info.workload_versions.values(),
        )  # fmt: skip
        eventually(f"the {name} takes our workloads", deploy, within=timeouts().object_appears)
        if cluster in info.config_clusters:
            refused = _apply_rules(kube, info.namespace, settled.rules)
        for deployment in (workloads.CLIENT, workloads.helloworld_of(cluster.version)):
            await_rollout(
                kube, deployment, info.namespace, within=timeouts().workload_ready,
                give_up_after=timeouts().nothing_changes, longer=timeouts().node_added,
            )  # fmt: skip
    return refused


def _apply_rules(kube: Kube, namespace: str, rules: Sequence[Object]) -> dict[str, str]:
    """Apply what neutralises the conditions of the mesh; without an EnvoyFilter its logs are of no use, that is all."""
    known = {(one["kind"], one["metadata"]["name"]) for one in rules}
    defaults = [one for one in manifests.load(_ACCESS_LOG) if (one["kind"], one["metadata"]["name"]) not in known]
    kube.apply([*defaults, *(one for one in rules if one["kind"] != "EnvoyFilter")], namespace=namespace)
    try:
        kube.apply([one for one in rules if one["kind"] == "EnvoyFilter"], namespace=namespace)
    except NotAdmitted:
        raise
    except Refused as refused:
        reason = f"access logs have a format of the mesh's own, and no EnvoyFilter is taken ({refused.seen})"
        return dict.fromkeys(behaviours.LOGGED, reason)
    return {}


def _leave(kubes: Mapping[str, Kube], namespace: str, progress: Progress, leftover: Leftover) -> None:
    with progress.step("our namespaces deleted"):
        parallel.for_each(kubes, lambda name: _leave_one(kubes[name], namespace, leftover))


def _leave_one(kube: Kube, namespace: str, leftover: Leftover) -> None:
    """Remove our namespace; one whose deletion does not end says nothing about the mesh, and is reported apart."""
    try:
        remove_namespace(kube, namespace)
    except TimedOut as stays:
        found = kube.get("Namespace", namespace)
        if found is None:
            return
        if "deletionTimestamp" not in found["metadata"]:
            raise
        command = f"{kube.kubectl} get namespace {namespace} -o yaml"
        leftover(
            NotRestored(
                f"Namespace {namespace} in the {kube.cluster}", f"its deletion does not end: {stays.seen}", command
            )
        )
