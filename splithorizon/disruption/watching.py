"""Whether an istiod watches another cluster, and what is done where it does not watch it again."""

from __future__ import annotations

from contextlib import suppress
from functools import partial

from splithorizon.base.errors import EnvironmentBroke, TimedOut
from splithorizon.base.timeouts import current as timeouts
from splithorizon.base.waiting import NotYet, eventually
from splithorizon.disruption.experiment import Experiment
from splithorizon.disruption.istiod import IstiodDisruption
from splithorizon.istio.names import NO_TRUST_DOMAIN
from splithorizon.istio.topology import Watch
from splithorizon.mesh import injection
from splithorizon.mesh.cluster import Cluster
from splithorizon.mesh.mesh import Mesh
from splithorizon.traffic import new_connections
from splithorizon.traffic.proxy import Endpoint
from splithorizon.undo import ownership, remarks
from splithorizon.undo.not_restored import NotRestored

_SYNCED = "synced"
_NOT_WATCHED, _NOT_IDENTIFIED = "does-not-watch", "has-no-identities-of"


def require_known(mesh: Mesh, watch: Watch, status: str = "") -> None:
    """Raise NotYet unless every pod of the watching istiod knows the other cluster, in ``status`` where it is given."""
    cluster_id = mesh.info.clusters[watch.watched].cluster_id
    for pod, clusters in mesh.istiods[watch.watching].clusters().items():
        states = {cluster.cluster_id: cluster.status for cluster in clusters}
        if cluster_id not in states or (status and states[cluster_id] != status):
            raise NotYet(f"{pod} says of its clusters: {states}")


def restart_unless_watched(experiment: Experiment, watch: Watch) -> None:
    """Restart istiod where it stopped watching the other cluster: a mesh must be left as it was before.

    Istio before 1.30 stops for good when the secret of a cluster that it manages is updated. The istiod of an existing
    mesh is not restarted: its owner decides, and the run's summary has the command.
    """
    if not experiment.mesh.info.owned:
        _await_watched(experiment, watch)
        return
    with suppress(TimedOut):
        probe = partial(require_known, experiment.mesh, watch, _SYNCED)
        eventually(str(watch), probe, within=timeouts().secret_processed)
        return
    restart_and_await(experiment, watch)


def restart_and_await(experiment: Experiment, watch: Watch) -> None:
    """Replace istiod where the run owns the mesh, so that it forgets a cluster that it could never synchronise.

    Istio 1.29 goes on registering a cluster that was removed meanwhile, and then has its gateways and pods twice.
    """
    mesh = experiment.mesh
    if not mesh.info.owned:
        _await_watched(experiment, watch)
        return
    IstiodDisruption(experiment, mesh[watch.watching]).replace()
    eventually(f"{watch} again", partial(require_known, mesh, watch, _SYNCED), within=timeouts().istiod_replaced)
    for managed in mesh.info.managed_by(watch.watching):
        injection.await_injection(mesh[managed.name])


def restart_unless_identified(experiment: Experiment, watch: Watch) -> None:
    """Restart istiod where its clients expect identities without a trust domain of the other cluster's pods.

    Istio 1.29.0 and 1.29.1 may read those pods before the trust domain when a remote secret comes back, and refuse
    them from then on (istio/istio#59474). The istiod of an existing mesh is not restarted: its owner decides.
    """
    mesh, remark = experiment.mesh, _remark_of(watch, _NOT_IDENTIFIED)
    try:
        eventually(
            f"the pods of {watch.watched} are trusted", partial(require_identified, mesh, watch),
            within=timeouts().secret_processed,
        )  # fmt: skip
    except TimedOut as late:
        if NO_TRUST_DOMAIN not in late.seen:
            return
        if mesh.info.owned:
            restart_and_await(experiment, watch)
            return
        reason = (
            f"its clients refuse the pods of the {watch.watched}: Istio 1.29.0 and 1.29.1 read pods before their trust "
            "domain at times, when a remote secret comes back (istio/istio#59474), and need a restart then, which this "
            f"run leaves to you ({late.seen})"
        )
        remarks.write(mesh.folder, remark, _restart_needed(experiment, watch, reason))
    else:
        remarks.forget(mesh.folder, remark)


def require_identified(mesh: Mesh, watch: Watch) -> None:
    """Raise NotYet unless the watching istiod's clients know pods of the other cluster, with the trust domain."""
    for managed in mesh.info.managed_by(watch.watching):
        cluster = mesh[managed.name]
        if cluster.name == watch.watched:
            continue
        try:
            endpoints = endpoints_of_alone(mesh, cluster, watch.watched)
            expected = cluster.client.proxy.expected_identities(_envoy_cluster_of_alone(mesh, watch.watched))
        except EnvironmentBroke as broke:
            raise NotYet(str(broke)) from broke
        if not endpoints or not expected:
            raise NotYet(f"the client of {cluster} knows no pod of {watch.watched}")
        if any(one.startswith(NO_TRUST_DOMAIN) for one in expected):
            raise NotYet(f"its clients expect {', '.join(sorted(expected))} of pods in the {watch.watched}")


def endpoints_of_alone(mesh: Mesh, client: Cluster, name: str) -> tuple[Endpoint, ...]:
    """What the client of a cluster holds of the Service whose pods are all in the cluster of that name."""
    return client.client.proxy.endpoints(_envoy_cluster_of_alone(mesh, name))


def _envoy_cluster_of_alone(mesh: Mesh, name: str) -> str:
    service = new_connections.service_of(mesh.info.clusters[name].version)
    return f"outbound|{new_connections.PORT}||{mesh.info.host_of(service)}"


def settle_remarks(mesh: Mesh) -> None:
    """At the end of a run: forget what istiod did not do after a remote secret came back, where it does by now."""
    for watch in mesh.watches:
        for what, require in (
            (_NOT_WATCHED, partial(require_known, mesh, watch, _SYNCED)),
            (_NOT_IDENTIFIED, partial(require_identified, mesh, watch)),
        ):
            if remarks.exists(mesh.folder, _remark_of(watch, what)):
                with suppress(NotYet, EnvironmentBroke):
                    require()
                    remarks.forget(mesh.folder, _remark_of(watch, what))


def _await_watched(experiment: Experiment, watch: Watch) -> None:
    """Wait until istiod watches the other cluster again by itself; where it does not, the run's summary says so."""
    mesh = experiment.mesh
    try:
        eventually(str(watch), partial(require_known, mesh, watch, _SYNCED), within=timeouts().mesh_recovered)
    except TimedOut as late:
        reason = (
            f"it does not watch the {watch.watched} again, although the remote secret is back: Istio before 1.30 may "
            f"need a restart then, which this run leaves to you ({late.seen})"
        )
        remarks.write(mesh.folder, _remark_of(watch, _NOT_WATCHED), _restart_needed(experiment, watch, reason))
    else:
        remarks.forget(mesh.folder, _remark_of(watch, _NOT_WATCHED))


def _restart_needed(experiment: Experiment, watch: Watch, reason: str) -> NotRestored:
    watching = experiment.mesh[watch.watching]
    deployment = IstiodDisruption(experiment, watching).deployment
    command = f"{watching.kube.kubectl} --namespace {watching.system_namespace} rollout restart deployment/{deployment}"
    return NotRestored(f"istiod of the {watching}", reason, command, pending=True)


def _remark_of(watch: Watch, what: str) -> str:
    return f"istiod-of-{ownership.name_part(watch.watching)}-{what}-{ownership.name_part(watch.watched)}"
