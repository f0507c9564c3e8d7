"""Installs Istio in every cluster of a topology, as a person would: with istioctl and kubectl."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import yaml

from lab import gateway_address, operators
from lab.ca import Trust
from lab.images import ImageSet
from lab.kind import MeshCluster
from lab.topology import Topology
from splithorizon.base import private_file, process
from splithorizon.base.errors import CommandFailed
from splithorizon.base.timeouts import current as timeouts
from splithorizon.base.waiting import NotYet, eventually
from splithorizon.istio import names, remote_secret
from splithorizon.istio.info import Address, NetworkMode
from splithorizon.istio.names import ROOT_CONFIG_MAP
from splithorizon.istio.topology import Watch
from splithorizon.kube import manifests
from splithorizon.kube.client import Kube
from splithorizon.kube.rollout import await_rollout
from splithorizon.run.progress import Progress

_ISTIOD_PORT = 15012


class Installation:
    """The steps of an installation; their order is the caller's, who knows which of them are ready."""

    def __init__(
        self,
        topology: Topology,
        clusters: Mapping[str, MeshCluster],
        kubes: Mapping[str, Kube],
        images: ImageSet,
        trust: Trust,
        *,
        addressing: gateway_address.Addressing,
        network_mode: NetworkMode,
        access_log_encoding: str,
        progress: Progress,
        folder: Path,
        secrets: list[bytes],
        revision: str = "",
    ) -> None:
        """Describe the installation; nothing is applied yet. ``revision`` is its istiods'; empty: the default."""
        self._topology = topology
        self._clusters = clusters
        self._kubes = kubes
        self._images = images
        self._trust = trust
        self._addressing = addressing
        self._mode = network_mode
        self._encoding = access_log_encoding
        self._progress = progress
        self._folder = folder
        self._secrets = secrets
        self.revision = revision

    @property
    def version(self) -> str:
        """The version of Istio that it installs."""
        return self._images.istio_version

    def prepare(self, name: str) -> None:
        """Make the system namespace with its network, and the cluster's own CA below the common root."""
        with self._progress.step("system namespace and CA", cluster=name):
            self._kubes[name].apply(operators.namespace(self._topology[name], self._mode))
            self._kubes[name].apply(self._trust.cacerts(name))

    def control_plane(self, name: str) -> None:
        """Install istiod into a cluster."""
        overlays = ["upstream-envoy"] if self._images.upstream_envoy else []
        overlays += ["json-access-log"] if self._encoding == "json" else []
        operator = operators.control_plane(self._topology[name], manages_others=self._topology.manages_others(name))
        with self._progress.step("istioctl installs istiod", cluster=name):
            files = [self._written(name, "istiod", operator)]
            self._install(name, [*files, *(operators.FOLDER / "overlays" / f"{one}.yaml" for one in overlays)])

    def await_control_plane(self, name: str) -> None:
        """Wait until a cluster's istiod is ready; istioctl would say so seconds later."""
        with self._progress.step("istiod ready", cluster=name):
            self._await_rollout(name, names.istiod_of(self.revision))
            dial = partial(self._dial_istiod, name)
            eventually("istiod answers at its Service", dial, within=timeouts().object_appears, every=0.2)

    def expose(self, name: str) -> None:
        """Let other networks reach services, under strict mTLS, by the rules that a cluster's istiod reads.

        Clusters that it manages reach it by its gateway too.
        """
        files = ["cross-network-gateway", "strict-mtls"]
        what = "services exposed, mTLS strict"
        if self._topology.manages_others(name):
            files, what = ["expose-istiod", *files], f"istiod and {what}"
        with self._progress.step(what, cluster=name):
            for file in files:
                self._kubes[name].apply(manifests.load(operators.FOLDER / f"{file}.yaml"))

    def expose_revision(self, name: str) -> None:
        """Let clusters that a cluster's istiod manages reach the one of this revision, beside the default one."""
        with self._progress.step(f"istiod of revision {self.revision} exposed", cluster=name):
            self._kubes[name].apply(operators.revision_route(self.revision))

    def set_tag(self, name: str, tag: str) -> None:
        """Let a revision tag of a cluster lead to this revision: new pods that ask for the tag get its sidecar."""
        with self._progress.step(f"tag {tag} set to revision {names.revision_name(self.revision)}", cluster=name):
            self._istioctl(name, ["tag", "set", tag, "--revision", names.revision_name(self.revision), "--overwrite"])

    def remove_control_plane(self, name: str) -> None:
        """Remove this revision's part of a cluster: its istiod, or what leads to it, and its webhooks."""
        with self._progress.step(f"revision {names.revision_name(self.revision)} uninstalled", cluster=name):
            self._istioctl(name, ["uninstall", "--revision", names.revision_name(self.revision)])

    def _dial_istiod(self, name: str) -> None:
        """Raise NotYet while kube-proxy does not lead to it: a proxy that is refused asks again only seconds later."""
        istiod = names.istiod_of(self.revision)
        service = self._kubes[name].get("Service", istiod, names.SYSTEM_NAMESPACE)
        if service is None:
            raise NotYet(f"there is no Service {names.SYSTEM_NAMESPACE}/{istiod}")
        dial = f"exec 3<>/dev/tcp/{service['spec']['clusterIP']}/{_ISTIOD_PORT}"
        try:
            self._clusters[name].in_node("timeout", "2", "bash", "-c", dial)
        except CommandFailed as refused:
            raise NotYet(refused.seen) from None

    def gateway(self, name: str) -> None:
        """Install a network's east-west gateway."""
        with self._progress.step("istioctl installs the gateway", cluster=name):
            operator = operators.gateway(self._topology[name], self._mode)
            self._install(name, [self._written(name, "eastwest-gateway", operator)])

    def await_gateway(self, name: str) -> Address:
        """Wait until a network's gateway is ready, and return the address it is reached at."""
        with self._progress.step("east-west gateway ready", cluster=name):
            address = gateway_address.give_address(self._kubes[name], self._clusters[name].address, self._addressing)
            self._await_rollout(name, names.EASTWEST_GATEWAY)
            return address

    def set_mesh_networks(self, name: str, gateways: Mapping[str, Address]) -> None:
        """Write all gateways' addresses into the ConfigMap of a cluster's istiod, in the mode that reads them there."""
        if self._mode is not NetworkMode.MESH_NETWORKS:
            return
        with self._progress.step("networks set in istiod's ConfigMap", cluster=name):
            data = operators.mesh_networks(self._topology, gateways)["data"]
            config_map = names.config_map_of(self.revision)
            self._kubes[name].patch("ConfigMap", config_map, names.SYSTEM_NAMESPACE, {"data": data})

    def managed(self, name: str, istiod_address: str) -> None:
        """Install the part of a cluster without istiod: its injection webhook, and the address of its istiod."""
        with self._progress.step("istioctl installs webhook and istiod's address", cluster=name):
            values = {"values.global.remotePilotAddress": istiod_address}
            self._install(name, [self._written(name, "istio", operators.managed(self._topology[name]))], values)

    def remote_secret(self, watch: Watch) -> None:
        """Let an istiod watch the API server of another cluster, as soon as that has Istio's reader account."""
        watched = self._clusters[watch.watched]
        what = "remote secret" if len(self._topology.watches) == 1 else f"remote secret for {watch.watched}"
        with self._progress.step(what, cluster=watch.watching):
            secret = remote_secret.build(
                self._kubes[watch.watched],
                cluster_id=watched.plan.cluster_id,
                server=f"https://{watched.address}:6443",
            )
            self._secrets.append(remote_secret.token_of(secret))
            self._kubes[watch.watching].apply(secret)

    def await_injection(self, name: str) -> None:
        """Wait until istiod has put its CA into the webhooks; before that a new pod would get no sidecar."""

        def enabled() -> None:
            webhooks = self._kubes[name].list("MutatingWebhookConfiguration", labels="app=sidecar-injector")
            bundles = [hook["clientConfig"].get("caBundle") for item in webhooks for hook in item["webhooks"]]
            if not bundles or not all(bundles):
                raise NotYet(f"{sum(map(bool, bundles))} of {len(bundles)} webhooks carry istiod's CA bundle")

        with self._progress.step(
            f"injection enabled by the {self._topology[name].control_plane}'s istiod", cluster=name
        ):
            claim = f"the {name}'s injection webhooks carry istiod's CA bundle"
            eventually(claim, enabled, within=timeouts().webhook_ready)

    def await_root(self, name: str, *namespaces: str) -> None:
        """Wait until the namespaces hold istiod's root: a pod that mounts it earlier starts up to 15 s later.

        The kubelet mounts a ConfigMap that is not there yet again after 0.5, 1, 2, 4 and 8 s.
        """

        def written() -> None:
            kube = self._kubes[name]
            without = [space for space in namespaces if kube.get("ConfigMap", ROOT_CONFIG_MAP, space) is None]
            if without:
                raise NotYet(f"no ConfigMap {ROOT_CONFIG_MAP} in {', '.join(without)}")

        with self._progress.step("istiod's root in the namespaces", cluster=name):
            claim = f"istiod's root is in the {name}'s namespaces"
            eventually(claim, written, within=timeouts().object_appears, every=0.2)

    def _written(self, name: str, part: str, operator: manifests.Object) -> Path:
        file = self._folder / f"{name}-{part}.yaml"
        private_file.write(file, yaml.safe_dump(operator))
        return file

    def _await_rollout(self, name: str, deployment: str) -> None:
        await_rollout(self._kubes[name], deployment, names.SYSTEM_NAMESPACE, within=timeouts().istio_installed)

    def _install(self, name: str, files: Sequence[Path], values: Mapping[str, str] | None = None) -> None:
        arguments = ["install", *(["--revision", self.revision] if self.revision else [])]
        for file in files:
            arguments += ["--filename", str(file)]
        chosen = {
            "hub": self._images.istio_hub,
            "tag": self._images.istio_version,
            **(values or {}),
        }
        for key, value in chosen.items():
            arguments += ["--set", f"{key}={value}"]
        self._istioctl(name, arguments)

    def _istioctl(self, name: str, arguments: Sequence[str]) -> None:
        kubeconfig = str(self._clusters[name].kubeconfig_path)
        command = [str(self._images.istioctl), *arguments, "--skip-confirmation", "--kubeconfig", kubeconfig]
        process.run(command, within=timeouts().istio_installed, log=self._folder / "istioctl.log")
