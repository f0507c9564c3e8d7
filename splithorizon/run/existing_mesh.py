"""A run against a mesh that others installed: a namespace of our own in each cluster, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from pathlib import Path

from splithorizon.base import parallel
from splithorizon.base.errors import EnvironmentBroke, TimedOut
from splithorizon.base.paths import MANIFESTS
from splithorizon.base.timeouts import current as timeouts
from splithorizon.base.waiting import eventually
from splithorizon.conditions import behaviours, decide, platform, reading
from splithorizon.istio import discover, names
from splithorizon.istio.discover import NamedCluster, RemoteSecrets
from splithorizon.istio.info import ClusterInfo, MeshInfo
from splithorizon.kube import exec_plugin, kubeconfig, manifests, pod_status
from splithorizon.kube.api_resources import resource_of
from splithorizon.kube.api_server import Refused
from splithorizon.kube.client import Kube, NotAdmitted, Object
from splithorizon.kube.rollout import await_rollout
from splithorizon.run import adaptation, existing_namespace, permissions
from splithorizon.run.journal import Journal
from splithorizon.run.options import Options
from splithorizon.run.progress import Progress
from splithorizon.traffic import workloads
from splithorizon.undo import mesh_lease, ownership, shared_namespace
from splithorizon.undo.mesh_lease import MeshLease, Place
from splithorizon.undo.not_restored import NotRestored
from splithorizon.undo.ownership import Scope, ScopeCluster

OBJECTS = "objects"
"""The journal's kind of entry for a run's objects in a namespace that was there before it, which the entry names."""
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
    namespace_labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """The labels in each cluster of a namespace that was there before; empty where the run creates its own."""


def explore(options: Options, folder: Path, progress: Progress, *, run_id: str) -> Explored:
    """Find out which clusters the contexts lead to, what part each has in the mesh, and how the mesh is made.

    The user's kubeconfigs are read once, and the contexts copied into the run's folder. Raises UsageProblem where the
    contexts cannot be the clusters of one mesh on several networks; nothing is created.
    """
    named = named_contexts(options)
    kubes = connect(named, folder, progress)
    contexts = {one.key: one.context for one in named}
    runs_istiod = connect_istiod(options, folder, progress)
    for line in addressed(kubes, contexts):
        progress.say(line)
    if runs_istiod:
        progress.say(f"context {runs_istiod.context} leads to {runs_istiod.kube.server}, which runs istiod alone")
    with progress.step("looked at the mesh"):
        asked = permissions.Asked(options.allow_disruption, options.namespace)
        permissions.require_readable(kubes, contexts, asked, say=progress.say)
        own = options.namespace or f"splithorizon-{run_id}".lower()
        info, by_key = read(options, kubes, namespace=own, runs_istiod=runs_istiod)
        info = replace(info, namespace_exists=bool(options.namespace))
        by_name = {name: Kube(kubes[key].kubeconfig, name, kubectl=kubes[key].kubectl) for key, name in by_key.items()}
        denied = permissions.check(by_name, info, asked, say=progress.say)
        if options.pull_secret:
            permissions.require_pull_secret(by_name, info, *adaptation.pull_secret_name(options))
        labels = {
            name: existing_namespace.labels_of(kube, info.clusters[name].context, options.namespace)
            for name, kube in (by_name if options.namespace else {}).items()
        }
        info = replace(info, not_claimed={**info.not_claimed, **denied})
        secrets = discover.remote_secrets(by_name, info)
    for line in describe(info, secrets):
        progress.say(line)
    files = {one.key: one.file for one in named}
    return Explored(info, by_name, {name: files[key] for key, name in by_key.items()}, labels)


def read(
    options: Options, kubes: Mapping[str, Kube], *, namespace: str, runs_istiod: NamedCluster | None = None
) -> tuple[MeshInfo, Mapping[str, str]]:
    """What the clusters of the contexts are in their mesh, and the name of each by the key of its client.

    ``runs_istiod`` is the cluster of ``--istiod-context``. Raises UsageProblem where they cannot be the clusters of one
    mesh on several networks.
    """
    contexts = {one.key: one.context for one in named_contexts(options)}
    arrangement = discover.arrange(kubes, contexts, revision=options.revision, runs_istiod=runs_istiod)
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
    owner: Mapping[str, str]
    """The labels that say whose an object is: of our namespace, or of each object in a namespace that was there."""
    settled: Mapping[str, Settled]
    """How our workloads come into each cluster."""


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
    owner = ownership.labels(run_id, expires=expires)
    labels = {name: _namespace_labels(options, explored, name, owner) for name in kubes}
    with progress.step("read the conditions of the mesh"):
        in_existing = owner if info.namespace_exists else {}
        found = reading.read(kubes, info, labels=labels, object_labels=in_existing)
    decision = decide.decide(found)
    for condition in decision.conditions:
        progress.say(str(condition))
    decision.require_accepted(contexts.values())
    secrets = adaptation.pull_secret(options, kubes)
    senders = {name: workloads.sender_image(kube, images) for name, kube in kubes.items()}
    info = replace(info, clusters={
        name: replace(cluster, sender_image=senders[name]) for name, cluster in info.clusters.items()
    })  # fmt: skip
    settled = {}
    for one in found.clusters:
        name, pull_secret = one.name, secrets.get(one.name)
        adapted = workloads.Adaptation(
            workloads.exported(info),
            pull_secrets=(pull_secret["metadata"]["name"],) if pull_secret else (),
            overlay=overlay,
            names_user=not platform.names_no_user(one),
        )
        chosen = workloads.images_for(kubes[name], info.clusters[name].version, options.sample_hub, images)
        settled[name] = Settled({**labels[name], **decision.namespace_labels}, decision.objects, chosen, adapted,
                                pull_secret, in_existing)  # fmt: skip
    if info.namespace_exists:
        with progress.step(f"looked at namespace {info.namespace}"):
            _require_usable(explored, settled)
    return Prepared(decide.described(info, found, decision), found, decision, owner, settled)


def _namespace_labels(options: Options, explored: Explored, name: str, owner: Mapping[str, str]) -> dict[str, str]:
    """The labels that our namespace gets in one cluster, or those that a namespace has that was there before."""
    info = explored.info
    if info.namespace_exists:
        return dict(explored.namespace_labels[name])
    injected_by = {names.REVISION_LABEL: _injected_by(options, info, name)}
    return {**adaptation.namespace_labels(options), **owner, **injected_by}


def _require_usable(explored: Explored, settled: Mapping[str, Settled]) -> None:
    """Raise UsageProblem unless each cluster's namespace takes our objects, by dry runs of all of them."""
    info = explored.info
    # Without that right, which only limits a run, no pod is asked for.
    may_create_pods = "test_new_pods_are_injected" not in info.not_claimed
    for name, kube in explored.kubes.items():
        cluster, one = info.clusters[name], settled[name]
        reads_rules = cluster in info.config_clusters
        documents = [*_workloads(cluster, info, one), *(_rules(one) if reads_rules else ())]
        place = existing_namespace.Place(
            kube, cluster.context, info.namespace, one.labels, [*map(one.owned, documents)],
            names.revision_name(info.revision_of(name)), reads_rules,
        )  # fmt: skip
        existing_namespace.require_usable(place, dry_run_pods=may_create_pods)


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
    info, settled = prepared.info, prepared.settled
    scope = _scope(explored, run_id, prepared.owner if info.namespace_exists else {})
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
            progress.say(f"to be kept, and removed with: {_removal(info, kube, name, scope)}", cluster=name)
    else:
        undo.callback(_leave, kubes, info, scope, progress, leftover)
        for name, kube in kubes.items():
            journal.will_create(
                OBJECTS if info.namespace_exists else "namespace", info.namespace, kubeconfig=str(kube.kubeconfig),
                cluster=name, context=info.clusters[name].context, file=scope.clusters[name].file,
            )  # fmt: skip
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
    """How our workloads come into one cluster: the namespace's labels, its rules, images, and what makes them fit.

    ``owner`` are the labels of each object in a namespace that was there before; empty if it is ours.
    """

    labels: Mapping[str, str]
    rules: tuple[Object, ...]
    images: Mapping[str, str]
    adapted: workloads.Adaptation
    pull_secret: Object | None = None
    owner: Mapping[str, str] = field(default_factory=dict)

    def owned(self, document: Object) -> Object:
        """The object with the labels that say whose it is, where the namespace does not say so."""
        return shared_namespace.owned(document, self.owner) if self.owner else document


def _workloads(cluster: ClusterInfo, info: MeshInfo, settled: Settled) -> list[Object]:
    """What runs in our namespace of one cluster, with the namespace itself where it is ours."""
    documents = workloads.fitted(
        cluster.version, settled.images, namespace=info.namespace, labels=settled.labels, adapted=settled.adapted,
        first=[settled.pull_secret] if settled.pull_secret else (), versions=info.workload_versions.values(),
    )  # fmt: skip
    # A Secret of a namespace that was there is named there, and not copied.
    left_out = ("Namespace", "Secret") if settled.owner else ()
    return [one for one in documents if one["kind"] not in left_out]


def _rules(settled: Settled) -> list[Object]:
    """What neutralises the conditions of the mesh, and the access log's own where these have none."""
    known = {(one["kind"], one["metadata"]["name"]) for one in settled.rules}
    defaults = [one for one in manifests.load(_ACCESS_LOG) if (one["kind"], one["metadata"]["name"]) not in known]
    return [*defaults, *settled.rules]


def _injected_by(options: Options, info: MeshInfo, name: str) -> str:
    """The revision label of our namespace: the tag that the user names, which an upgrade moves, or the revision.

    Where an istiod is of another revision than the first, that is the one.
    """
    own = info.revision_of(name)
    return own if own != info.revision else options.revision or own


def describe(info: MeshInfo, secrets: Mapping[str, RemoteSecrets] | None = None) -> list[str]:
    """The shape of a mesh as a small picture, for its owner to recognise.

    ``secrets`` are the remote secrets by the cluster whose istiod reads them, as far as they can be read.
    """
    known = secrets or {}
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
            if cluster.name in known:
                lines.append(
                    f"  {stem}   remote secrets for {', '.join(known[cluster.name].named) or 'no named cluster'}"
                )
    for name, held in known.items():
        if held.others:
            also, alone = ", ".join(held.others), len(held.others) == 1
            what = "is not named: nothing is claimed of it" if alone else "are not named: nothing is claimed of them"
            lines.append(f"  the istiod of {name} also watches {also}, which {what}")
    return lines


def _control_plane(cluster: ClusterInfo, info: MeshInfo) -> str:
    if cluster.is_managed:
        return f"managed by the istiod of {cluster.control_plane}"
    version = cluster.istio or info.versions.get("istio", "of a version that is not known")
    istiod = f"istiod {version}, revision {names.revision_name(info.revision_of(cluster.name))}"
    external = cluster.external_istiod
    if external is None:
        return istiod
    where = f"the cluster of context {external.context}" if external.is_named else "a cluster that is not named"
    return f"{istiod}, which runs in {where} and reads its rules here"


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


def connect_istiod(options: Options, folder: Path, progress: Progress | None = None) -> NamedCluster | None:
    """A client for the context of ``--istiod-context``, as ``connect`` makes one; None without it."""
    context = options.istiod_context
    if not context:
        return None
    named = Named(context, context, options.kubeconfig)
    kube = _connect(named, folder / "istiod.kubeconfig")
    with progress.at_terminal() if progress else nullcontext():
        exec_plugin.authenticate(kube.kubeconfig, context)
    return NamedCluster(context, kube)


def addressed(kubes: Mapping[str, Kube], contexts: Mapping[str, str]) -> list[str]:
    """Which API servers the contexts lead to, for their owner to stop a run that means others."""
    return [f"context {contexts[key]} leads to {kube.server}" for key, kube in kubes.items()]


def uid_of(kube: Kube) -> str:
    """A cluster's identity, by whatever name or address it is reached."""
    system = kube.get("Namespace", "kube-system") or {"metadata": {}}
    return str(system["metadata"].get("uid", ""))


def remove_namespace(kube: Kube, namespace: str) -> None:
    """Remove our namespace, and wait until it is gone."""
    kube.delete("Namespace", namespace, gone_within=gone_within(kube, namespace))


def gone_within(kube: Kube, namespace: str) -> float:
    """How many seconds it may take until a namespace's pods are gone: more, where their grace period is longer."""
    pods: Sequence[Object] = ()
    with suppress(EnvironmentBroke):
        pods = kube.list_if_allowed("Pod", namespace) or ()
    longest = max(map(pod_status.grace_period, pods), default=0)
    # The time for a namespace contains the usual one.
    return timeouts().namespace_gone + max(0, longest - pod_status.USUAL_GRACE)


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


def _scope(explored: Explored, run_id: str, labels: Mapping[str, str]) -> Scope:
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
    return Scope(run_id, False, explored.info.namespace, clusters, ownership.kubeconfig_variable(), labels)


def _settle(kube: Kube, name: str, info: MeshInfo, settled: Settled, progress: Progress) -> Mapping[str, str]:
    """Deploy our workloads; return the behaviours that the cluster keeps from being judged, each with the reason."""
    refused: dict[str, str] = {}
    with progress.step("our namespace and workloads", cluster=name):
        cluster = info.clusters[name]
        deploy = partial(_put, kube, info.namespace, settled, _workloads(cluster, info, settled))
        eventually(f"the {name} takes our workloads", deploy, within=timeouts().object_appears)
        if cluster in info.config_clusters:
            refused = _apply_rules(kube, info.namespace, settled)
        for deployment in (workloads.CLIENT, workloads.helloworld_of(cluster.version)):
            await_rollout(
                kube, deployment, info.namespace, within=timeouts().workload_ready,
                give_up_after=timeouts().nothing_changes, longer=timeouts().node_added,
            )  # fmt: skip
    return refused


def _put(kube: Kube, namespace: str, settled: Settled, documents: Sequence[Object]) -> None:
    """Apply objects in our namespace; in one that was there before, create them, so that none of others is changed."""
    if settled.owner:
        shared_namespace.create(kube, map(settled.owned, documents), namespace)
    else:
        kube.apply(documents, namespace=namespace)


def _apply_rules(kube: Kube, namespace: str, settled: Settled) -> dict[str, str]:
    """Apply what neutralises the conditions of the mesh; without an EnvoyFilter its logs are of no use, that is all."""
    rules = _rules(settled)
    _put(kube, namespace, settled, [one for one in rules if one["kind"] != "EnvoyFilter"])
    try:
        _put(kube, namespace, settled, [one for one in rules if one["kind"] == "EnvoyFilter"])
    except NotAdmitted:
        raise
    except Refused as refused:
        reason = f"access logs have a format of the mesh's own, and no EnvoyFilter is taken ({refused.seen})"
        return dict.fromkeys(behaviours.LOGGED, reason)
    return {}


def _removal(info: MeshInfo, kube: Kube, name: str, scope: Scope) -> str:
    """The command by which a user removes what a run keeps in one cluster."""
    if not scope.labels:
        return f"{kube.kubectl} delete namespace {info.namespace}"
    kinds = kinds_in(info, name)
    return shared_namespace.removal_command(kube, info.namespace, scope.labels[ownership.RUN], kinds)


def kinds_in(info: MeshInfo, name: str) -> tuple[str, ...]:
    """The kinds of a run's objects in one cluster: of Istio's only where an istiod reads them."""
    if info.clusters[name] in info.config_clusters:
        return shared_namespace.KINDS
    return tuple(kind for kind in shared_namespace.KINDS if not resource_of(kind)[0].endswith("istio.io"))


def _leave(kubes: Mapping[str, Kube], info: MeshInfo, scope: Scope, progress: Progress, leftover: Leftover) -> None:
    if scope.labels:
        with progress.step(f"our objects in namespace {info.namespace} deleted"):
            parallel.for_each(
                kubes,
                lambda name: shared_namespace.remove(
                    kubes[name], info.namespace, scope.labels[ownership.RUN],
                    gone_within=gone_within(kubes[name], info.namespace), kinds=kinds_in(info, name),
                ),
            )  # fmt: skip
        return
    with progress.step("our namespaces deleted"):
        parallel.for_each(kubes, lambda name: _leave_one(kubes[name], info.namespace, leftover))


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
