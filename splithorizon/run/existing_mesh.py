"""A run against a mesh that others installed: a namespace of our own in each cluster, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from splithorizon.base import process
from splithorizon.base.paths import MANIFESTS
from splithorizon.base.timeouts import current as timeouts
from splithorizon.base.waiting import eventually
from splithorizon.istio import discover, names
from splithorizon.istio.info import MeshInfo
from splithorizon.istio.topology import Role
from splithorizon.kube import kubeconfig, manifests
from splithorizon.kube.client import Kube
from splithorizon.kube.rollout import await_rollout
from splithorizon.run.journal import Journal
from splithorizon.run.options import Options
from splithorizon.run.progress import Progress
from splithorizon.traffic import workloads
from splithorizon.undo import mesh_lease, ownership
from splithorizon.undo.mesh_lease import MeshLease, Place
from splithorizon.undo.ownership import Scope, ScopeCluster

_ACCESS_LOG = MANIFESTS / "foreign" / "access-log.yaml"


def prepare(options: Options, journal: Journal, undo: ExitStack, progress: Progress, *, run_id: str) -> MeshInfo:
    """Find out how the mesh is made, and put our workloads into it, in namespaces that go with the run.

    The user's kubeconfigs are read once, and their two contexts copied into the run's folder. A run that may disrupt
    the mesh holds its Lease until the end. Raises UsageProblem while nothing is created yet, also where another run
    disrupts this mesh now, and EnvironmentBroke from then on.
    """
    contexts = dict(zip(Role, options.contexts, strict=True))
    kubes = connect(options, journal.folder)
    for line in addressed(kubes, contexts):
        progress.say(line)
    namespace = f"splithorizon-{run_id}".lower()
    with progress.step("looked at the mesh"):
        facts = discover.read_mesh(kubes, contexts, namespace=namespace, revision=options.revision)
    for line in describe(facts):
        progress.say(line)
    scope = _scope(options, kubes, facts, run_id)
    scope.write(journal.folder)
    places = [
        Place(kube, scope.clusters[role].system_namespace, scope.clusters[role].uid, contexts[role])
        for role, kube in kubes.items()
    ]
    if options.allow_disruption:
        lease = MeshLease(places, run_id, journal.folder)
        undo.callback(lease.release)
        lease.acquire()
        lease.keep()
    else:
        mesh_lease.require_free(places, progress.say)
    if options.keep:
        for role, kube in kubes.items():
            progress.say(f"to be kept, and removed with: {kube.kubectl} delete namespace {namespace}", role=role)
    else:
        undo.callback(_leave, kubes, namespace, progress)
        for role, kube in kubes.items():
            journal.will_create(
                "namespace", namespace, kubeconfig=str(kube.kubeconfig), role=role, context=contexts[role],
                file=scope.clusters[role].file,
            )  # fmt: skip
    # Who keeps a namespace wants to come back to it, whenever that is.
    expires = None if options.keep else datetime.now(UTC) + timedelta(seconds=timeouts().namespace_expires)
    labels = {names.REVISION_LABEL: facts.revision, **ownership.labels(run_id, expires=expires)}
    settle = {str(role): partial(_settle, kube, role, facts, labels, options, progress) for role, kube in kubes.items()}
    process.side_by_side(**settle)
    return facts


def describe(facts: MeshInfo) -> list[str]:
    """What was found of a mesh, for its owner to recognise."""
    lines = [
        f"Istio {facts.versions['istio']}, revision {facts.revision}; networks are told by "
        + ("labels" if facts.network_mode == "labels" else "meshNetworks in istiod's ConfigMap")
    ]
    for role, cluster in facts.clusters.items():
        gateways = ", ".join(map(str, cluster.gateways)) or "none with an address"
        lines.append(
            f"{role}: context {cluster.name}, cluster id {cluster.cluster_id or 'not known to istiod'}, network "
            f"{cluster.network or 'without a name'}, gateways {gateways}, system namespace {cluster.system_namespace}"
        )
    return lines


def connect(options: Options, folder: Path) -> dict[Role, Kube]:
    """A client for each context, by a copy of what it needs in the run's folder; nothing is asked yet.

    Raises UsageProblem where the user's kubeconfigs have no such context.
    """
    contexts = dict(zip(Role, options.contexts, strict=True))
    return {role: _connect(role, context, options, folder) for role, context in contexts.items()}


def addressed(kubes: Mapping[Role, Kube], contexts: Mapping[Role, str]) -> list[str]:
    """Which API servers the contexts lead to, for their owner to stop a run that means others."""
    return [f"{role}: context {contexts[role]} leads to {kube.server}" for role, kube in kubes.items()]


def uid_of(kube: Kube) -> str:
    """A cluster's identity, by whatever name or address it is reached."""
    system = kube.get("Namespace", "kube-system") or {"metadata": {}}
    return str(system["metadata"].get("uid", ""))


def remove_namespace(kube: Kube, namespace: str) -> None:
    """Remove our namespace, and wait until it is gone."""
    kube.delete("Namespace", namespace, gone_within=timeouts().namespace_gone)


def _connect(role: Role, context: str, options: Options, folder: Path) -> Kube:
    named = _named_file(role, options)
    files = [named] if named else kubeconfig.default_files()
    target = folder / f"{role}.kubeconfig"
    kubeconfig.extract(context, files, target)
    return Kube(target, role, kubectl=kubeconfig.kubectl(named, context))


def _named_file(role: Role, options: Options) -> Path | None:
    return {Role.PRIMARY: options.kubeconfig_primary, Role.REMOTE: options.kubeconfig_remote}[role]


def _scope(options: Options, kubes: Mapping[Role, Kube], facts: MeshInfo, run_id: str) -> Scope:
    clusters = {}
    for role, kube in kubes.items():
        found, named = facts.clusters[role], _named_file(role, options)
        clusters[str(role)] = ScopeCluster(
            context=found.name,
            uid=uid_of(kube),
            system_namespace=found.system_namespace,
            kubectl=kube.kubectl,
            file=str(named.absolute()) if named else "",
        )
    return Scope(run_id, False, facts.namespace, clusters, ownership.kubeconfig_variable())


def _settle(
    kube: Kube, role: Role, facts: MeshInfo, labels: dict[str, str], options: Options, progress: Progress
) -> None:
    with progress.step("our namespace and workloads", role=role):
        images = workloads.images_for(kube, options.sample_hub)
        deploy = partial(workloads.deploy, kube, role, images, namespace=facts.namespace, labels=labels)
        eventually(f"the {role} takes our workloads", deploy, within=timeouts().object_appears)
        if role is Role.PRIMARY:
            kube.apply(manifests.load(_ACCESS_LOG), namespace=facts.namespace)
        for name in (workloads.CLIENT, workloads.helloworld_of(role)):
            await_rollout(kube, name, facts.namespace, within=timeouts().workload_ready)


def _leave(kubes: dict[Role, Kube], namespace: str, progress: Progress) -> None:
    with progress.step("our namespaces deleted"):
        process.side_by_side(**{str(role): partial(remove_namespace, kube, namespace) for role, kube in kubes.items()})
