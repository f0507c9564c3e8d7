"""A run against a mesh that others installed: a namespace of our own in each cluster, and nothing else."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from pathlib import Path

from splithorizon import kubeconfig, manifests, process, workloads
from splithorizon.durations import current as durations
from splithorizon.journal import Journal
from splithorizon.kube import Kube
from splithorizon.mesh import foreign
from splithorizon.mesh.facts import MeshFacts
from splithorizon.options import Options
from splithorizon.progress import Progress
from splithorizon.rollout import await_rollout
from splithorizon.topology import MANIFESTS, Role
from splithorizon.waiting import eventually

_ACCESS_LOG = MANIFESTS / "foreign" / "access-log.yaml"


def visit(options: Options, journal: Journal, undo: ExitStack, progress: Progress, *, run_id: str) -> MeshFacts:
    """Find out how the mesh is made, and put our workloads into it, in namespaces that go with the run.

    The user's kubeconfigs are read once, and their two contexts copied into the run's folder. Raises
    UsageProblem while nothing is created yet, and EnvironmentBroke from then on.
    """
    contexts = dict(zip(Role, options.contexts, strict=True))
    kubes = {role: _connect(role, context, options, journal.folder) for role, context in contexts.items()}
    namespace = f"splithorizon-{run_id}".lower()
    with progress.step("looked at the mesh"):
        facts = foreign.explore(kubes, contexts, namespace=namespace, revision=options.revision)
    for line in told(facts):
        progress.say(line)
    if options.keep:
        for role, kube in kubes.items():
            progress.say(f"to be kept, and removed with: {kube.kubectl} delete namespace {namespace}", role=role)
    else:
        undo.callback(_leave, kubes, namespace, progress)
        for role, kube in kubes.items():
            journal.will_create("namespace", namespace, kubeconfig=str(kube.kubeconfig), role=role)
    settle = {str(role): partial(_settle, kube, role, facts, options, progress) for role, kube in kubes.items()}
    process.side_by_side(**settle)
    return facts


def told(facts: MeshFacts) -> list[str]:
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


def leave(kube: Kube, namespace: str) -> None:
    """Remove our namespace, and wait until it is gone."""
    kube.delete("Namespace", namespace, gone_within=durations().namespace_gone)


def _connect(role: Role, context: str, options: Options, folder: Path) -> Kube:
    named = {Role.PRIMARY: options.kubeconfig_primary, Role.REMOTE: options.kubeconfig_remote}[role]
    files = [named] if named else kubeconfig.default_files()
    target = folder / f"{role}.kubeconfig"
    kubeconfig.extract(context, files, target)
    return Kube(target, role, kubectl=kubeconfig.kubectl(named, context))


def _settle(kube: Kube, role: Role, facts: MeshFacts, options: Options, progress: Progress) -> None:
    with progress.step("our namespace and workloads", role=role):
        images = workloads.images_for(kube, options.sample_hub)
        labels = {foreign.REVISION_LABEL: facts.revision}
        deploy = partial(workloads.deploy, kube, role, images, namespace=facts.namespace, labels=labels)
        eventually(f"the {role} takes our workloads", deploy, within=durations().object_appears)
        if role is Role.PRIMARY:
            kube.apply(manifests.load(_ACCESS_LOG), namespace=facts.namespace)
        for name in (workloads.CLIENT, workloads.helloworld_of(role)):
            await_rollout(kube, name, facts.namespace, within=durations().workload_ready)


def _leave(kubes: dict[Role, Kube], namespace: str, progress: Progress) -> None:
    with progress.step("our namespaces deleted"):
        process.side_by_side(**{str(role): partial(leave, kube, namespace) for role, kube in kubes.items()})
