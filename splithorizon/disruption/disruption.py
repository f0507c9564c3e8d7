"""Takes parts of a mesh away and gives them back, and tells how long it takes; each verb registers its undo first."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from threading import Event
from typing import ParamSpec
from urllib.parse import urlsplit

import yaml

from splithorizon.base import process
from splithorizon.base.errors import EnvironmentBroke, TimedOut
from splithorizon.base.paths import MANIFESTS
from splithorizon.base.timeouts import current as timeouts
from splithorizon.base.waiting import NotYet, eventually
from splithorizon.disruption import recovery
from splithorizon.disruption.recovery import Batch, Recovery, Replacement, Traffic
from splithorizon.istio import remote_secret
from splithorizon.istio.info import NetworkMode, is_address, status_with_address
from splithorizon.istio.topology import ROUTES, Role, Route
from splithorizon.kube import manifests, pod_status, rollout
from splithorizon.kube.client import Kube, Object, Objects
from splithorizon.mesh.mesh import Cluster, Mesh
from splithorizon.traffic import workloads
from splithorizon.traffic.requests import Reply
from splithorizon.undo import mutations, ownership, undo_log
from splithorizon.undo.not_restored import NotRestored

Acted = ParamSpec("Acted")

# That all of them go to one of two versions by chance happens once in 10^11.
_LOOK = 40
# A third of a second: the next follows at once, so that the traffic has no long gap.
_AT_A_TIME = 200
_MANIFESTS = MANIFESTS / "resilience"
_LAST_USED = "kubernetes.io/legacy-token-last-used"
_RESTARTED = "kubectl.kubernetes.io/restartedAt"
_NOT_WATCHED = "istiod-does-not-watch-the-remote"
# A sidecar's own loopback: it refuses at once, where an address that nobody has would hang.
_REFUSES = "127.0.0.9"


class Answering(StrEnum):
    """Whose helloworld each of the two clients is answered by."""

    BOTH = "both clients are answered by both clusters"
    PRIMARY = "both clients are answered by the primary alone"
    REMOTE = "both clients are answered by the remote alone"
    OWN = "each client is answered by its own cluster alone"
    ONE_WAY = "the primary's client is answered by its own cluster alone, the remote's by both"

    def clusters(self, client: Role) -> frozenset[Role]:
        """The clusters that answer the client of a cluster."""
        return {
            Answering.BOTH: frozenset(Role),
            Answering.PRIMARY: frozenset({Role.PRIMARY}),
            Answering.REMOTE: frozenset({Role.REMOTE}),
            Answering.OWN: frozenset({client}),
            Answering.ONE_WAY: frozenset(Role) if client is Role.REMOTE else frozenset({client}),
        }[self]


class BadSecret(StrEnum):
    """What is wrong with a remote secret."""

    LOOPBACK = "loopback-server"
    REFUSED = "refused-token"


_SPOILED = {
    BadSecret.LOOPBACK: {"server": "https://127.0.0.1:6443"},
    BadSecret.REFUSED: {"token": "of-no-use"},
}


class Disruption:
    """What can happen to a mesh, and how it does then. One test holds it, alone with the mesh."""

    def __init__(self, mesh: Mesh, undo: ExitStack, *, times: int) -> None:
        """Take the stack that undoes at the test's end, and how many requests a judged batch has."""
        self._mesh = mesh
        self._undo = undo.enter_context(ExitStack())
        self._times = times
        self._acted = time.monotonic()
        self._good: Object = {}
        self._api_server_is_back: Callable[[], object] = lambda: None
        self._rollouts: set[tuple[str, str, str]] = set()

    def restore(self) -> None:
        """Undo everything so far, now."""
        self._begin()
        self._undo.close()
        self._rollouts.clear()

    def until(self, answering: Answering) -> Recovery:
        """Look until both clients are answered by exactly these clusters, and nothing is lost; since the last act."""
        missed = Role.PRIMARY

        def look(client: Role) -> None:
            nonlocal missed
            wanted = {workloads.VERSION_OF[role] for role in answering.clusters(client)}
            replies = self._mesh.client(client).send(times=_LOOK)
            lost = sum(not reply.answered for reply in replies)
            versions = {str(reply.version) for reply in replies if reply.answered}
            if lost or versions != wanted:
                told, missed = ", ".join(sorted(versions)) or "nobody", client
                raise NotYet(f"the {client}'s client: {lost} of {len(replies)} lost, the others answered by {told}")

        def looks() -> None:
            process.side_by_side(**{str(role): partial(look, role) for role in Role})

        bound = timeouts().mesh_recovered
        back = recovery.measure(f"{answering}, without a loss", looks, since=self._acted, within=bound)
        return replace(back, role=missed)

    def batches(self, answering: Answering) -> tuple[Batch, ...]:
        """Send one batch from each client, each request once, to be judged by who answered and by which path."""
        self._mesh.await_drained()
        with ThreadPoolExecutor(len(ROUTES)) as pool:
            return tuple(pool.map(partial(self._batch, answering), ROUTES))

    def local_batches(self, *clients: Role) -> tuple[Batch, ...]:
        """Send one batch from each of these clients to the service that only its own cluster has."""
        self._mesh.await_drained()
        return tuple(
            Batch(self._mesh.local_sample(role, times=self._times), self._paths(Route(role, role.other), {role}))
            for role in clients
        )

    def under_traffic(self, act: Callable[Acted, Recovery], *how: Acted.args, **named: Acted.kwargs) -> Traffic:
        """Act while both clients send without a pause, and go on for some time after the recovery."""
        stop = Event()

        def send(route: Route) -> tuple[Reply, ...]:
            found: list[Reply] = []
            while not stop.is_set():
                found += self._mesh.client(route.near).send(times=_AT_A_TIME)
            return tuple(found)

        with ThreadPoolExecutor(len(ROUTES)) as pool:
            sent = {route: pool.submit(send, route) for route in ROUTES}
            try:
                back = act(*how, **named)
                stop.wait(timeouts().traffic_watched)
            finally:
                stop.set()
            return Traffic({route: future.result() for route, future in sent.items()}, back)

    def remove_remote_secret(self) -> None:
        """Delete the secret by which istiod watches the remote, once it can tell every proxy of what follows."""
        self._mesh.await_connected()
        name, namespace = self._remote_secret()["metadata"]["name"], self._mesh.primary.system_namespace
        self._begin()
        mutations.delete(self._mesh.primary.kube, "Secret", name, namespace, self._undo)

    def rotate_remote_secret(self) -> Recovery:
        """Write a new token of the same account into the remote secret, as `kubectl apply` of a new one does.

        Returns how long until both versions answer both clients.
        """
        secret, token = self._remote_secret(), self._new_token()
        name, namespace, kube = secret["metadata"]["name"], secret["metadata"]["namespace"], self._mesh.primary.kube
        self._undo.callback(self._require_watched)
        self._begin()
        changed = {"data": self._with(secret, token=token)["data"]}
        mutations.patch(kube, "Secret", name, namespace, changed, self._undo)
        return self.until(Answering.BOTH)

    def use_new_token(self) -> Recovery:
        """Wait until the remote's API server has been asked with the new token; how long since the last act.

        Source: Kubernetes notes at a token's Secret when it was last used, which the old one's validity cannot hide.
        """
        kube, namespace = self._mesh.remote.kube, self._mesh.remote.system_namespace

        def used() -> None:
            secret = kube.get("Secret", self._named("rotated"), namespace) or {"metadata": {}}
            if _LAST_USED not in secret["metadata"].get("labels", {}):
                raise NotYet("the remote's API server was never asked with the new token")

        bound = timeouts().mesh_recovered
        return recovery.measure("istiod uses the new token", used, since=self._acted, within=bound)

    def exchange_remote_secret(self) -> Recovery:
        """Delete the remote secret and, once its endpoints have left, make it again with a new token of the account.

        Returns how long until both versions answer both clients.
        """
        exchanged = self._with(self._remote_secret(), token=self._new_token())
        self._undo.callback(self._require_watched)
        return self._replace_remote_secret(exchanged, then=Answering.BOTH)

    def spoil_remote_secret(self, flaw: BadSecret) -> Recovery:
        """Delete the remote secret and, once its endpoints have left, make one that is of no use in its place.

        Returns how long until the primary alone answers, with istiod aware of the one of no use.
        """
        self._good = self._remote_secret()
        self._undo.callback(self._begin_istiod_anew)
        return self._replace_remote_secret(self._with(self._good, **_SPOILED[flaw]), then=Answering.PRIMARY)

    def mend_remote_secret(self) -> None:
        """Write the good remote secret over the spoiled one, as `kubectl apply` does."""
        metadata = self._good["metadata"]
        self._begin()
        written = {"data": self._good["data"]}
        mutations.change_created(self._mesh.primary.kube, "Secret", metadata["name"], metadata["namespace"], written)

    @property
    def detour(self) -> tuple[str, str, int] | None:
        """The name, address and port of the remote's API server where a way of our own can lead there as well.

        None where it needs more than its address: a proxy before it, a path below its name, or IPv6.
        """
        cluster = self._kubeconfig(self._remote_secret())["clusters"][0]["cluster"]
        server = urlsplit(cluster["server"])
        host = server.hostname or ""
        if "proxy-url" in cluster or server.path.strip("/"):
            return None
        known = [host] if is_address(host) else sorted(self._mesh.client(Role.PRIMARY).resolve(host))
        addresses = [address for address in known if ":" not in address]
        return (host, addresses[0], server.port or 443) if addresses else None

    def lose_remote_api_server(self) -> Recovery:
        """Lead istiod to the remote's API server by a way of our own, and let that lead nowhere.

        Returns how long until the primary alone answers. Raises EnvironmentBroke where ``detour`` tells of none.
        """
        secret, kube, namespace = self._remote_secret(), self._mesh.primary.kube, self._mesh.primary.system_namespace
        way = self.detour
        if way is None:
            raise EnvironmentBroke("no way of our own leads to the server that the remote secret tells of")
        host, address, port = way
        self._undo.callback(self._begin_istiod_anew)
        service, slice_ = manifests.load(_MANIFESTS / "remote-api-server.yaml")
        name = service["metadata"]["name"] = slice_["metadata"]["name"] = self._named("remote-api-server")
        slice_["metadata"]["labels"]["kubernetes.io/service-name"] = name
        service["spec"]["ports"][0]["port"] = slice_["ports"][0]["port"] = port
        mutations.apply(kube, [service, slice_], namespace, self._undo)
        self._api_server_is_back = partial(
            mutations.change_created, kube, "EndpointSlice", name, namespace, {"endpoints": [{"addresses": [address]}]}
        )
        detour = self._with(secret, server=f"https://{name}.{namespace}.svc:{port}", certified_for=host)
        return self._replace_remote_secret(detour, then=Answering.PRIMARY)

    def give_remote_api_server_back(self) -> None:
        """Let the way lead to the remote's API server again; the secret stays as it is."""
        self._begin()
        self._api_server_is_back()

    def restart_istiod(self) -> Recovery:
        """Restart istiod as `kubectl rollout restart` does; how long until the new one is ready.

        The annotation stays, as kubectl leaves it: to take it away would restart istiod once more.
        """
        name, namespace, kube = self._istiod(), self._mesh.primary.system_namespace, self._mesh.primary.kube
        at = {_RESTARTED: datetime.now(UTC).isoformat(timespec="seconds")}
        body = {"spec": {"template": {"metadata": {"annotations": at}}}}
        self._await_at_the_end(kube, name, namespace)
        self._begin()
        mutations.restart(kube, "Deployment", name, namespace, body)
        return self._ready(kube, name, namespace, within=timeouts().istiod_replaced)

    def replace_istiod(self) -> Recovery:
        """Delete every istiod pod; how long until as many new ones are ready. There is nothing to undo."""
        name, namespace, kube = self._istiod(), self._mesh.primary.system_namespace, self._mesh.primary.kube
        self._begin()
        for pod in self._pods_of(kube, name, namespace):
            mutations.delete_pod(kube, pod["metadata"]["name"], namespace, gone_within=timeouts().pod_replaced)
        return self._ready(kube, name, namespace, within=timeouts().istiod_replaced)

    def replace_helloworld(self, role: Role) -> Replacement:
        """Delete a cluster's helloworld pod; the next one, and how long until it is ready."""
        kube, name, namespace = self._helloworld(role)
        (old,) = self._pods_of(kube, name, namespace)
        self._begin()
        mutations.delete_pod(kube, old["metadata"]["name"], namespace, gone_within=timeouts().pod_replaced)
        came = self._ready(kube, name, namespace, within=timeouts().pod_replaced)
        pods = self._pods_of(kube, name, namespace)
        self._begin()
        return Replacement(role, pods[0]["metadata"]["name"] if pods else "", came)

    def scale_helloworld(self, role: Role, replicas: int) -> Recovery:
        """Let a cluster run so many helloworld pods; how long until it does."""
        return self._scale(*self._helloworld(role), replicas)

    def scale_gateway(self, role: Role, replicas: int) -> Recovery:
        """Let a network's east-west gateway have so many pods; how long until it does."""
        return self._scale(*self._gateway(self._mesh[role]), replicas)

    def lose_gateway_pod(self, role: Role) -> Recovery:
        """Delete the gateway's oldest pod; how long until both versions answer both clients."""
        kube, name, namespace = self._gateway(self._mesh[role])
        pods = self._pods_of(kube, name, namespace)
        oldest = min(pods, key=lambda pod: str(pod["metadata"]["creationTimestamp"]))["metadata"]["name"]
        self._begin()
        mutations.delete_pod(kube, oldest, namespace, gone_within=timeouts().pod_replaced)
        return self.until(Answering.BOTH)

    def gateway_deployments(self, role: Role) -> set[tuple[str, str]]:
        """The name and namespace of every Deployment that makes gateway pods of a network; found without the pods."""
        cluster = self._mesh[role]
        return {
            (deployment["metadata"]["name"], pods.namespace)
            for pods in cluster.facts.gateway_pods
            for deployment in cluster.kube.list("Deployment", pods.namespace)
            if dict(label.split("=", 1) for label in pods.labels.split(",")).items()
            <= deployment["spec"]["template"]["metadata"].get("labels", {}).items()
        }

    def prefer_own_network(self) -> None:
        """Let clients prefer endpoints of their own network, and fail over to the other: a DestinationRule."""
        self._begin()
        mutations.apply(
            self._mesh.primary.kube, _MANIFESTS / "prefer-own-network.yaml", self._mesh.facts.namespace, self._undo
        )

    def tell_wrong_gateway_address(self, role: Role) -> None:
        """Tell istiod an address that refuses every connection, where this mesh tells it of the gateway's."""
        if self._mesh.facts.network_mode is NetworkMode.MESH_NETWORKS:
            self._tell_in_mesh_networks(role, _REFUSES)
        else:
            self._tell_in_status(role, _REFUSES)

    def _batch(self, answering: Answering, route: Route) -> Batch:
        paths = self._paths(route, answering.clusters(route.near))
        return Batch(self._mesh.sample(route, times=self._times), paths)

    def _paths(self, route: Route, answering: frozenset[Role] | set[Role]) -> dict[str, frozenset[str]]:
        near, far = self._mesh[route.near], self._mesh[route.far]
        ways = {route.near: near.helloworld_addresses, route.far: far.gateway_addresses}
        return {workloads.VERSION_OF[role]: ways[role] for role in ways if role in answering}

    def _begin(self) -> None:
        self._acted = time.monotonic()

    def _helloworld(self, role: Role) -> tuple[Kube, str, str]:
        cluster = self._mesh[role]
        return cluster.kube, workloads.helloworld_of(role), cluster.namespace

    def _ready(self, kube: Kube, name: str, namespace: str, *, within: float) -> Recovery:
        return recovery.measure(
            f"{name} is ready",
            partial(rollout.require_rolled_out, kube, name, namespace),
            since=self._acted,
            within=within,
            role=Role(kube.role),
        )

    def _scale(self, kube: Kube, name: str, namespace: str, replicas: int) -> Recovery:
        self._await_at_the_end(kube, name, namespace)
        self._let_autoscaler_be(kube, name, namespace, replicas)
        self._begin()
        mutations.patch(kube, "Deployment", name, namespace, {"spec": {"replicas": replicas}}, self._undo)

        def scaled() -> None:
            pods = self._pods_of(kube, name, namespace)
            ready = [pod for pod in pods if pod_status.of_pod(pod).ready]
            if len(ready) != replicas or len(pods) != replicas:
                reasons = sorted({pod_status.of_pod(pod, kube.events(namespace)).reason for pod in pods} - {""})
                raise NotYet(f"{len(ready)} of {len(pods)} pods ready; {' '.join(reasons) or 'others do not come'}")

        state = f"the {kube.role}'s {name} has {replicas} ready pods"
        return recovery.measure(state, scaled, since=self._acted, within=timeouts().pod_replaced, role=Role(kube.role))

    def _let_autoscaler_be(self, kube: Kube, name: str, namespace: str, replicas: int) -> None:
        """Have an autoscaler want so many pods: those above its bounds, or of no use to it, it would take away.

        It leaves a deployment alone that is to have none.
        """
        for scaler in kube.list("HorizontalPodAutoscaler", namespace) if replicas else ():
            spec = scaler["spec"]
            if (spec["scaleTargetRef"]["kind"], spec["scaleTargetRef"]["name"]) == ("Deployment", name):
                body = {"spec": {"minReplicas": replicas, "maxReplicas": max(replicas, spec["maxReplicas"])}}
                mutations.patch(
                    kube, "HorizontalPodAutoscaler", scaler["metadata"]["name"], namespace, body, self._undo
                )

    def _pods_of(self, kube: Kube, name: str, namespace: str) -> Objects:
        """Every pod of a deployment, also those on their way out."""
        selector = self._deployment(kube, name, namespace)["spec"]["selector"]["matchLabels"]
        return kube.list("Pod", namespace, ",".join(f"{key}={value}" for key, value in selector.items()))

    def _deployment(self, kube: Kube, name: str, namespace: str) -> Object:
        found = kube.get("Deployment", name, namespace)
        if found is None:
            raise EnvironmentBroke(f"there is no Deployment {namespace}/{name} in the {kube.role}")
        return found

    def _await_at_the_end(self, kube: Kube, name: str, namespace: str) -> None:
        """Wait for a deployment once all changes of it are undone, and not after each of them."""
        changed = (kube.role, name, namespace)
        if changed not in self._rollouts:
            self._rollouts.add(changed)
            self._undo.callback(self._await_rollout, kube, name, namespace)

    def _await_rollout(self, kube: Kube, name: str, namespace: str) -> None:
        rollout.await_rollout(kube, name, namespace, within=timeouts().workload_ready)

    def _gateway(self, cluster: Cluster) -> tuple[Kube, str, str]:
        """The API, name and namespace of the network's one east-west gateway."""
        found = self.gateway_deployments(cluster.facts.role)
        if len(found) != 1:
            raise EnvironmentBroke(f"{len(found)} Deployments make the {cluster.facts.role}'s gateway pods, not one")
        return cluster.kube, *found.pop()

    def _istiod(self) -> str:
        revision = self._mesh.facts.revision or "default"
        primary = self._mesh.primary
        found = primary.kube.list("Deployment", primary.system_namespace, f"app=istiod,istio.io/rev={revision}")
        if not found:
            raise EnvironmentBroke(f"the primary has no istiod of revision {revision}")
        return str(found[0]["metadata"]["name"])

    def _remote_secret(self) -> Object:
        """The secret whose data has the remote's cluster id for a key."""
        primary, cluster_id = self._mesh.primary, self._mesh.remote.facts.cluster_id
        for secret in primary.kube.list("Secret", primary.system_namespace, "istio/multiCluster=true"):
            if cluster_id in (secret.get("data") or {}):
                return secret
        raise EnvironmentBroke(f"the primary has no remote secret for the cluster {cluster_id}")

    def _replace_remote_secret(self, secret: Object, *, then: Answering) -> Recovery:
        """Delete the remote secret, make this one in its place once the primary alone answers, and wait for istiod.

        Returns how long until ``then``; or, where the endpoints did not leave, for how long they stayed.

        From Istio 1.30 on a secret that is made again at once counts as changed: istiod keeps the endpoints of before
        until it is synced by the new one, which one of no use never is.
        """
        self.remove_remote_secret()
        gone = self.until(Answering.PRIMARY)
        if not gone.came:
            return gone
        self._begin()
        mutations.apply(self._mesh.primary.kube, [secret], self._mesh.primary.system_namespace, self._undo)
        eventually("istiod has taken note of the secret", self._known, within=timeouts().secret_processed)
        return self.until(then)

    def _kubeconfig(self, secret: Object) -> Object:
        content: Object = yaml.safe_load(base64.b64decode(secret["data"][self._mesh.remote.facts.cluster_id]))
        return content

    def _with(self, secret: Object, *, server: str = "", certified_for: str = "", token: str = "") -> Object:
        """The same remote secret, as one would write it, with another server or another token."""
        cluster_id, kubeconfig = self._mesh.remote.facts.cluster_id, self._kubeconfig(secret)
        if server:
            kubeconfig["clusters"][0]["cluster"]["server"] = server
        if certified_for:
            kubeconfig["clusters"][0]["cluster"].setdefault("tls-server-name", certified_for)
        if token:
            kubeconfig["users"][0]["user"]["token"] = token
        written = ("name", "namespace", "labels", "annotations")
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {key: secret["metadata"][key] for key in written if key in secret["metadata"]},
            "data": {cluster_id: base64.b64encode(yaml.safe_dump(kubeconfig).encode()).decode()},
        }

    def _new_token(self) -> str:
        kube, namespace = self._mesh.remote.kube, self._mesh.remote.system_namespace
        name = self._named("rotated")
        request = remote_secret.token_request(name, namespace)
        mutations.apply(kube, [request], namespace, self._undo)
        claim = "the remote's reader account has a second token"
        _, token = eventually(
            claim, partial(remote_secret.token, kube, name, namespace), within=timeouts().object_appears
        )
        return token

    def _named(self, what: str) -> str:
        """The name of an object that this run makes in a system namespace: never another run's."""
        run = ownership.run_of(self._mesh.primary.kube.kubeconfig.parent)
        return f"splithorizon-{what}-{ownership.name_part(run)[-24:].strip('-')}"

    def _require_watched(self) -> None:
        """Restart istiod where it stopped watching the remote: a mesh must be left as it was before.

        Istio before 1.30 does, for good, when the secret of a remote that it manages is updated. An existing mesh's
        istiod is not restarted: its owner decides, and the run's summary says how.
        """
        if not self._mesh.facts.owned:
            self._await_watched()
            return
        with suppress(TimedOut):
            eventually("istiod watches the remote", partial(self._known, "synced"), within=timeouts().secret_processed)
            return
        self._begin_istiod_anew()

    def _await_watched(self) -> None:
        """Wait until istiod watches the remote again by itself; where it does not, the run's summary says so."""
        kube, folder = self._mesh.primary.kube, self._mesh.primary.kube.kubeconfig.parent
        try:
            eventually("istiod watches the remote", partial(self._known, "synced"), within=timeouts().mesh_recovered)
        except TimedOut as late:
            command = (
                f"{kube.kubectl} --namespace {self._mesh.primary.system_namespace} rollout restart "
                f"deployment/{self._istiod()}"
            )
            reason = (
                "it does not watch the remote again, although the remote secret is back: Istio before 1.30 may need a "
                f"restart then, which this run leaves to you ({late.seen})"
            )
            undo_log.remark(folder, _NOT_WATCHED, NotRestored("istiod of the primary", reason, command, pending=True))
        else:
            undo_log.forget_remark(folder, _NOT_WATCHED)

    def _begin_istiod_anew(self) -> None:
        """Let nothing stay of a cluster that istiod never got to know, by a restart where the run owns the mesh.

        Istio 1.29 goes on registering a cluster that was taken away meanwhile, and has its gateways and pods twice.
        """
        if not self._mesh.facts.owned:
            self._await_watched()
            return
        self.replace_istiod()
        eventually("istiod watches the remote again", partial(self._known, "synced"), within=timeouts().istiod_replaced)
        self._mesh.await_injection(Role.REMOTE)

    def _known(self, status: str = "") -> None:
        """Every istiod has the remote among its clusters, and in this state where one is given."""
        require_known(self._mesh, status)

    def _tell_in_status(self, role: Role, host: str) -> None:
        """Every Service that has an address of the network's gateways in its status gets another."""
        kube = self._mesh[role].kube
        known = {address.host for address in self._mesh[role].facts.gateways}
        told = [
            service
            for service in kube.list("Service")
            if known & {entry.get("ip") or entry.get("hostname") for entry in _told(service)}
        ]
        if not told:
            raise EnvironmentBroke(f"no Service of the {role} has its gateway's address in its status: {sorted(known)}")
        self._begin()
        for service in told:
            name, namespace = service["metadata"]["name"], service["metadata"]["namespace"]
            mutations.patch_status(kube, "Service", name, namespace, status_with_address(host), self._undo)

    def _tell_in_mesh_networks(self, role: Role, host: str) -> None:
        ports = sorted({address.port for address in self._mesh[role].facts.gateways})
        self._begin()
        gateways = [{"address": host, "port": port} for port in ports]
        self._mesh.tell_of_network(role, {"gateways": gateways}, self._undo)


def require_known(mesh: Mesh, status: str = "") -> None:
    """Raise NotYet unless every istiod has the remote among its clusters, and in this state where one is given."""
    remote = mesh.remote.facts.cluster_id
    for istiod, clusters in mesh.control_plane.clusters().items():
        states = {cluster.cluster_id: cluster.status for cluster in clusters}
        if remote not in states or (status and states[remote] != status):
            raise NotYet(f"{istiod} says of its clusters: {states}")


def settle_remarks(mesh: Mesh) -> None:
    """At the end of a run: forget that istiod did not watch the remote, where it does by now."""
    folder = mesh.primary.kube.kubeconfig.parent
    if not undo_log.has_remark(folder, _NOT_WATCHED):
        return
    with suppress(NotYet, EnvironmentBroke):
        require_known(mesh, "synced")
        undo_log.forget_remark(folder, _NOT_WATCHED)


def _told(service: Object) -> Objects:
    found: Objects = service.get("status", {}).get("loadBalancer", {}).get("ingress") or []
    return found
