"""Disruptions of a remote secret, and of the API server that it leads to."""

from __future__ import annotations

import base64
from functools import partial
from typing import NamedTuple
from urllib.parse import urlsplit

import yaml

from splithorizon.base.errors import EnvironmentBroke
from splithorizon.base.paths import MANIFESTS
from splithorizon.base.timeouts import current as timeouts
from splithorizon.base.waiting import NotYet, eventually
from splithorizon.disruption import watching
from splithorizon.disruption.answering import Answering
from splithorizon.disruption.bad_secret import BadSecret
from splithorizon.disruption.observation import Observation
from splithorizon.disruption.recovery import Recovery
from splithorizon.istio import remote_secret
from splithorizon.istio.info import is_address
from splithorizon.istio.topology import Watch
from splithorizon.kube import manifests
from splithorizon.kube.client import Object
from splithorizon.mesh import settling
from splithorizon.undo import mutations

_PROXY = MANIFESTS / "resilience" / "remote-api-server.yaml"
_LAST_USED = "kubernetes.io/legacy-token-last-used"
_ROTATED = "rotated"


_CORRUPTED = {
    BadSecret.LOOPBACK: {"server": "https://127.0.0.1:6443"},
    BadSecret.REFUSED: {"token": "of-no-use"},
}


class ApiServerProxy(NamedTuple):
    """An API server as a Service of our own can lead to it: its name in the secret, an address and its port."""

    host: str
    address: str
    port: int


class RemoteSecretDisruption:
    """Removes, replaces or corrupts the secret by which one istiod watches another cluster."""

    def __init__(self, observation: Observation, watch: Watch) -> None:
        """Name the watching and the watched cluster; nothing is changed yet."""
        self._observation = observation
        self._experiment = observation.experiment
        self._watch = watch
        self._watching = observation.experiment.mesh[watch.watching]
        self._watched = observation.experiment.mesh[watch.watched]
        self._good: Object = {}

    def remove(self) -> None:
        """Delete the secret, once istiod can push to every proxy what follows from that."""
        settling.await_connected(self._experiment.mesh)
        metadata = self._read()["metadata"]
        self._experiment.at_the_end.callback(watching.restart_unless_identified, self._experiment, self._watch)
        self._experiment.begin()
        mutations.delete(self._watching.kube, "Secret", metadata["name"], metadata["namespace"], self._experiment.undo)

    def rotate(self) -> Recovery:
        """Write a new token of the same account into the secret, as `kubectl apply` of a new one does.

        Returns how long until every version answers every client.
        """
        secret, token = self._read(), self._new_token()
        metadata = secret["metadata"]
        self._experiment.at_the_end.callback(watching.restart_unless_identified, self._experiment, self._watch)
        self._experiment.undo.callback(watching.restart_unless_watched, self._experiment, self._watch)
        self._experiment.begin()
        changed = {"data": self._with(secret, token=token)["data"]}
        kube, undo = self._watching.kube, self._experiment.undo
        mutations.patch(kube, "Secret", metadata["name"], metadata["namespace"], changed, undo)
        return self._observation.until(self._observation.expected.everyone)

    def await_new_token(self) -> Recovery:
        """Wait until the watched API server has been asked with the new token; how long since the last change.

        Source: Kubernetes notes at a token's Secret when it was last used, which the old one's validity cannot hide.
        """
        kube, namespace = self._watched.kube, self._watched.system_namespace

        def used() -> None:
            secret = kube.get("Secret", self._experiment.name_for(_ROTATED), namespace) or {"metadata": {}}
            if _LAST_USED not in secret["metadata"].get("labels", {}):
                raise NotYet(f"the {self._watched}'s API server was never asked with the new token")

        claim, within = "istiod uses the new token", timeouts().mesh_recovered
        return self._experiment.measure(claim, used, within=within, cluster=self._watching.name)

    def exchange(self) -> Recovery:
        """Delete the secret and, once its endpoints have left, make it again with a new token of the account.

        Returns how long until every version answers every client.
        """
        exchanged = self._with(self._read(), token=self._new_token())
        self._experiment.undo.callback(watching.restart_unless_watched, self._experiment, self._watch)
        return self._replace(exchanged, then=self._observation.expected.everyone)

    def corrupt(self, flaw: BadSecret) -> Recovery:
        """Delete the secret and, once its endpoints have left, make one that is of no use in its place.

        Returns how long until the watched cluster answers no proxy of this istiod, which then knows the bad secret.
        """
        self._good = self._read()
        self._experiment.undo.callback(watching.restart_and_await, self._experiment, self._watch)
        corrupted = self._with(self._good, **_CORRUPTED[flaw])
        return self._replace(corrupted, then=self._observation.expected.unwatched(self._watch))

    def restore(self) -> None:
        """Write the good secret over the corrupted one, as `kubectl apply` does."""
        metadata = self._good["metadata"]
        self._experiment.begin()
        written = {"data": self._good["data"]}
        mutations.change_created(self._watching.kube, "Secret", metadata["name"], metadata["namespace"], written)

    @property
    def api_server_proxy(self) -> ApiServerProxy | None:
        """How a Service of our own can lead to the watched API server.

        None where that takes more than its address: a proxy before it, a path below its name, or IPv6.
        """
        cluster = self._kubeconfig(self._read())["clusters"][0]["cluster"]
        server = urlsplit(cluster["server"])
        host = server.hostname or ""
        if "proxy-url" in cluster or server.path.strip("/"):
            return None
        known = [host] if is_address(host) else sorted(self._watching.client.resolve(host))
        addresses = [address for address in known if ":" not in address]
        return ApiServerProxy(host, addresses[0], server.port or 443) if addresses else None

    def lead_through_proxy(self) -> tuple[Recovery, str, ApiServerProxy]:
        """Have the secret lead to a Service of our own, which leads nowhere yet.

        Returns how long until the watched cluster answers no proxy of this istiod, the Service's name and what it has
        to lead to. Raises EnvironmentBroke where ``api_server_proxy`` is None.
        """
        secret, namespace = self._read(), self._watching.system_namespace
        proxy = self.api_server_proxy
        if proxy is None:
            raise EnvironmentBroke("no Service of our own can lead to the API server of the remote secret")
        self._experiment.undo.callback(watching.restart_and_await, self._experiment, self._watch)
        service, slice_ = manifests.load(_PROXY)
        name = service["metadata"]["name"] = slice_["metadata"]["name"] = self._experiment.name_for("remote-api-server")
        slice_["metadata"]["labels"]["kubernetes.io/service-name"] = name
        service["spec"]["ports"][0]["port"] = slice_["ports"][0]["port"] = proxy.port
        mutations.apply(self._watching.kube, [service, slice_], namespace, self._experiment.undo)
        proxied = self._with(secret, server=f"https://{name}.{namespace}.svc:{proxy.port}", certified_for=proxy.host)
        return self._replace(proxied, then=self._observation.expected.unwatched(self._watch)), name, proxy

    def _read(self) -> Object:
        """The secret whose data has the watched cluster's id for a key."""
        kube, cluster_id = self._watching.kube, self._watched.info.cluster_id
        for secret in kube.list("Secret", self._watching.system_namespace, "istio/multiCluster=true"):
            if cluster_id in (secret.get("data") or {}):
                return secret
        raise EnvironmentBroke(f"the {self._watching} has no remote secret for the cluster {cluster_id}")

    def _replace(self, secret: Object, *, then: Answering) -> Recovery:
        """Delete the secret, make this one in its place once the endpoints have left, and wait for istiod.

        Returns how long until ``then``; or, where the endpoints did not leave, for how long they stayed.

        From Istio 1.30 on a secret that is made again at once counts as changed: istiod keeps the endpoints of before
        until it is synced by the new one, which one of no use never is.
        """
        self.remove()
        gone = self._observation.until(self._observation.expected.unwatched(self._watch))
        if not gone.reached:
            return gone
        self._experiment.begin()
        undo, namespace = self._experiment.undo, self._watching.system_namespace
        mutations.apply(self._watching.kube, [secret], namespace, undo)
        known = partial(watching.require_known, self._experiment.mesh, self._watch)
        eventually("istiod has read the secret", known, within=timeouts().secret_processed)
        return self._observation.until(then)

    def _kubeconfig(self, secret: Object) -> Object:
        content: Object = yaml.safe_load(base64.b64decode(secret["data"][self._watched.info.cluster_id]))
        return content

    def _with(self, secret: Object, *, server: str = "", certified_for: str = "", token: str = "") -> Object:
        """The same secret, as one would write it, with another server or another token."""
        cluster_id, kubeconfig = self._watched.info.cluster_id, self._kubeconfig(secret)
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
        kube, namespace = self._watched.kube, self._watched.system_namespace
        name = self._experiment.name_for(_ROTATED)
        request = remote_secret.token_request(name, namespace)
        mutations.apply(kube, [request], namespace, self._experiment.undo)
        claim = f"the {self._watched}'s reader account has a second token"
        read = partial(remote_secret.token, kube, name, namespace)
        _, token = eventually(claim, read, within=timeouts().object_appears)
        return token


class ApiServerDisruption:
    """Cuts the way of one istiod to the API server that it watches, by a Service of our own, and opens it again."""

    def __init__(self, observation: Observation, watch: Watch) -> None:
        """Name the watching and the watched cluster; nothing is changed yet."""
        self._experiment = observation.experiment
        self._watching = observation.experiment.mesh[watch.watching]
        self._secret = RemoteSecretDisruption(observation, watch)
        self._service = ""
        self._proxy: ApiServerProxy | None = None

    @property
    def is_possible(self) -> bool:
        """Whether a Service of our own can lead to that API server."""
        return self._secret.api_server_proxy is not None

    def cut(self) -> Recovery:
        """Lead istiod to the API server by a Service that leads nowhere.

        Returns how long until the watched cluster answers no proxy of this istiod. Raises EnvironmentBroke where it is
        not possible.
        """
        recovery, self._service, self._proxy = self._secret.lead_through_proxy()
        return recovery

    def reconnect(self) -> None:
        """Let the Service lead to the API server; the secret stays as it is. Raises EnvironmentBroke before a cut."""
        if self._proxy is None:
            raise EnvironmentBroke("the way to the API server was not cut")
        self._experiment.begin()
        kube, namespace = self._watching.kube, self._watching.system_namespace
        endpoints = {"endpoints": [{"addresses": [self._proxy.address]}]}
        mutations.change_created(kube, "EndpointSlice", self._service, namespace, endpoints)
