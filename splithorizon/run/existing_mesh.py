"""A run against a mesh that others installed: a namespace of our own in each cluster, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path

from splithorizon.base import parallel
from splithorizon.base.errors import TimedOut
from splithorizon.base.paths import MANIFESTS
from splithorizon.base.timeouts import current as timeouts
from splithorizon.base.waiting import eventually
from splithorizon.conditions import behaviours, decide, platform, reading
from splithorizon.istio import discover, names
from splithorizon.istio.info import MeshInfo
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


def prepare(
    options: Options, journal: Journal, undo: ExitStack, progress: Progress, *, run_id: str, leftover: Leftover
) -> MeshInfo:
    """Find out how the mesh is made, and put our workloads into it, in namespaces that go with the run.

    The user's kubeconfigs are read once, and their two contexts copied into the run's folder. A run that may disrupt
    the mesh holds its Lease until the end. Raises UsageProblem while nothing is created yet, also where another run
    disrupts this mesh now, and EnvironmentBroke from then on.
    """
    contexts = contexts_of(options)
    overlay, images = adaptation.overlay(options), adaptation.images(options)
    kubes = connect(options, journal.folder, progress)
    for line in addressed(kubes, contexts):
        progress.say(line)
    namespace = f"splithorizon-{run_id}".lower()
    with progress.step("looked at the mesh"):
        allow = options.allow_disruption
        permissions.require_readable(kubes, contexts, allow_disruption=allow, say=progress.say)
        info = discover.read_mesh(
            kubes, contexts, namespace=namespace, revision=options.revision, plan=options.topology
        )
        denied = permissions.check(kubes, info, allow_disruption=allow, say=progress.say)
        info = replace(info, not_claimed={**info.not_claimed, **denied})
    for line in describe(info):
        progress.say(line)
    # Who keeps a namespace wants to come back to it, whenever that is. A sweep compares with the cluster's clock.
    _, now = next(iter(kubes.values())).get_dated("Namespace", "kube-system")
    expires = None if options.keep else now + timedelta(seconds=timeouts().namespace_expires)
    labels = {
        **adaptation.namespace_labels(options),
        names.REVISION_LABEL: _injected_by(options, info),
        **ownership.labels(run_id, expires=expires),
    }
    with progress.step("read the conditions of the mesh"):
        found = reading.read(kubes, info, labels=labels)
    decision = decide.decide(found)
    for condition in decision.conditions:
        progress.say(str(condition))
    decision.require_accepted(contexts.values())
    secrets = adaptation.pull_secret(options, kubes)
    info = decide.described(info, found, decision)
    scope = _scope(options, kubes, info, run_id)
    scope.write(journal.folder)
    places = [
        Place(kube, scope.clusters[name].system_namespace, scope.clusters[name].uid, contexts[name])
        for name, kube in kubes.items()
    ]
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
    settled = {
        one.name: Settled(
            labels | decision.namespace_labels,
            decision.objects,
            {**workloads.images_for(kubes[one.name], info.clusters[one.name].version, options.sample_hub, images)},
            workloads.Adaptation(
                workloads.exported(info),
                pull_secrets=tuple(secret["metadata"]["name"] for secret in (secrets.get(one.name),) if secret),
                overlay=overlay,
                names_user=not platform.names_no_user(one),
            ),
            secrets.get(one.name),
        )
        for one in found.clusters
    }
    refused = parallel.for_each(kubes, lambda name: _settle(kubes[name], name, info, settled[name], progress))
    return replace(info, not_claimed={**info.not_claimed, **{k: v for one in refused.values() for k, v in one.items()}})


@dataclass(frozen=True)
class Settled:
    """How our workloads come into one cluster: the namespace's labels, its rules, images, and what makes them fit."""

    labels: Mapping[str, str]
    rules: tuple[Object, ...]
    images: Mapping[str, str]
    adapted: workloads.Adaptation
    pull_secret: Object | None = None


def _injected_by(options: Options, info: MeshInfo) -> str:
    """The revision label of our namespace: the tag that the user names, which an upgrade moves, or the revision."""
    return options.revision or info.revision


def describe(info: MeshInfo) -> list[str]:
    """What was found of a mesh, for its owner to recognise."""
    lines = [
        f"Istio {info.versions['istio']}, revision {info.revision}; networks are set by "
        + ("labels" if info.network_mode == "labels" else "meshNetworks in istiod's ConfigMap")
    ]
    for name, cluster in info.clusters.items():
        gateways = ", ".join(map(str, cluster.gateways)) or "none with an address"
        lines.append(
            f"{name}: context {cluster.context}, cluster id {cluster.cluster_id or 'not known to istiod'}, network "
            f"{cluster.network or 'without a name'}, gateways {gateways}, system namespace {cluster.system_namespace}"
        )
    return lines


def connect(options: Options, folder: Path, progress: Progress | None = None) -> dict[str, Kube]:
    """A client for each context, by a copy of what it needs in the run's folder; no API server is asked yet.

    Exec plug-ins are run here, one after the other, at the user's terminal. Raises UsageProblem where the user's
    kubeconfigs have no such context, or a plug-in gives no credential.
    """
    kubes = {name: _connect(name, context, options, folder) for name, context in contexts_of(options).items()}
    with progress.at_terminal() if progress else nullcontext():
        for name, context in contexts_of(options).items():
            exec_plugin.authenticate(kubes[name].kubeconfig, context)
    return kubes


def addressed(kubes: Mapping[str, Kube], contexts: Mapping[str, str]) -> list[str]:
    """Which API servers the contexts lead to, for their owner to stop a run that means others."""
    return [f"{name}: context {contexts[name]} leads to {kube.server}" for name, kube in kubes.items()]


def uid_of(kube: Kube) -> str:
    """A cluster's identity, by whatever name or address it is reached."""
    system = kube.get("Namespace", "kube-system") or {"metadata": {}}
    return str(system["metadata"].get("uid", ""))


def remove_namespace(kube: Kube, namespace: str) -> None:
    """Remove our namespace, and wait until it is gone."""
    kube.delete("Namespace", namespace, gone_within=timeouts().namespace_gone)


def contexts_of(options: Options) -> dict[str, str]:
    """The contexts of ``--contexts``, by the names of the planned clusters."""
    return dict(zip(options.topology.names, options.contexts, strict=True))


def _connect(name: str, context: str, options: Options, folder: Path) -> Kube:
    named = _named_file(name, options)
    files = [named] if named else kubeconfig.default_files()
    target = folder / f"{name}.kubeconfig"
    kubeconfig.extract(context, files, target)
    return Kube(target, name, kubectl=kubeconfig.kubectl(named, context))


def _named_file(name: str, options: Options) -> Path | None:
    files = (options.kubeconfig_primary, options.kubeconfig_remote)
    return dict(zip(options.topology.names, files, strict=True))[name] or options.kubeconfig


def _scope(options: Options, kubes: Mapping[str, Kube], info: MeshInfo, run_id: str) -> Scope:
    clusters = {}
    for name, kube in kubes.items():
        found, named = info.clusters[name], _named_file(name, options)
        clusters[name] = ScopeCluster(
            context=found.context,
            uid=uid_of(kube),
            system_namespace=found.system_namespace,
            kubectl=kube.kubectl,
            file=str(named.absolute()) if named else "",
        )
    return Scope(run_id, False, info.namespace, clusters, ownership.kubeconfig_variable())


def _settle(kube: Kube, name: str, info: MeshInfo, settled: Settled, progress: Progress) -> Mapping[str, str]:
    """Deploy our workloads; return the behaviours that the cluster keeps from being judged, each with the reason."""
    refused: dict[str, str] = {}
    with progress.step("our namespace and workloads", cluster=name):
        cluster = info.clusters[name]
        deploy = partial(
            workloads.deploy, kube, cluster.version, settled.images, namespace=info.namespace, labels=settled.labels,
            adapted=settled.adapted, first=[settled.pull_secret] if settled.pull_secret else (),
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


def _leave(kubes: dict[str, Kube], namespace: str, progress: Progress, leftover: Leftover) -> None:
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
