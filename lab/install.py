"""Installs a primary and a remote Istio on two networks, as a person would: with istioctl and kubectl."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from lab import gateway_address
from lab.ca import Trust
from lab.images import ImageSet
from lab.kind import MeshCluster
from lab.topology import PRIMARY, REMOTE
from splithorizon.base import private_file, process
from splithorizon.base.errors import CommandFailed
from splithorizon.base.paths import MANIFESTS
from splithorizon.base.timeouts import current as timeouts
from splithorizon.base.waiting import NotYet, eventually
from splithorizon.istio import names, remote_secret
from splithorizon.istio.info import Address, NetworkMode
from splithorizon.istio.names import ROOT_CONFIG_MAP
from splithorizon.kube import manifests
from splithorizon.kube.client import Kube
from splithorizon.kube.rollout import await_rollout
from splithorizon.run.progress import Progress

_ISTIO = MANIFESTS / "istio"
_ISTIOD_PORT = 15012


class Installation:
    """The steps of an installation; their order is the caller's, who knows which of them are ready."""

    def __init__(
        self,
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
    ) -> None:
        """Describe the installation; nothing is applied yet."""
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

    def prepare(self, name: str) -> None:
        """Make the system namespace with its network, and the cluster's own CA below the common root."""
        with self._progress.step("system namespace and CA", cluster=name):
            self._kubes[name].apply(self._for_mode(_ISTIO / f"{name}-namespace.yaml", "namespace"))
            self._kubes[name].apply(self._trust.cacerts(name))

    def control_plane(self) -> None:
        """Install istiod into the primary."""
        overlays = ["upstream-envoy"] if self._images.upstream_envoy else []
        overlays += ["json-access-log"] if self._encoding == "json" else []
        files = [
            _ISTIO / "primary.yaml",
            *(_ISTIO / "overlays" / f"{name}.yaml" for name in overlays),
        ]
        with self._progress.step("istioctl installs istiod", cluster=PRIMARY):
            self._istioctl(PRIMARY, files)

    def await_control_plane(self) -> None:
        """Wait until istiod is ready; istioctl would say so seconds later."""
        with self._progress.step("istiod ready", cluster=PRIMARY):
            self._await_rollout(PRIMARY, "istiod")
            eventually("istiod answers at its Service", self._dial_istiod, within=timeouts().object_appears, every=0.2)

    def expose(self) -> None:
        """Let the remote reach istiod, and both networks each other's services, under strict mTLS."""
        with self._progress.step("istiod and services exposed, mTLS strict", cluster=PRIMARY):
            for file in ("expose-istiod", "cross-network-gateway", "strict-mtls"):
                self._kubes[PRIMARY].apply(manifests.load(_ISTIO / f"{file}.yaml"))

    def _dial_istiod(self) -> None:
        """Raise NotYet while kube-proxy does not lead to it: a proxy that is refused asks again only seconds later."""
        service = self._kubes[PRIMARY].get("Service", "istiod", names.SYSTEM_NAMESPACE)
        if service is None:
            raise NotYet(f"there is no Service {names.SYSTEM_NAMESPACE}/istiod")
        dial = f"exec 3<>/dev/tcp/{service['spec']['clusterIP']}/{_ISTIOD_PORT}"
        try:
            self._clusters[PRIMARY].in_node("timeout", "2", "bash", "-c", dial)
        except CommandFailed as refused:
            raise NotYet(refused.seen) from None

    def gateway(self, name: str) -> None:
        """Install a network's east-west gateway."""
        with self._progress.step("istioctl installs the gateway", cluster=name):
            operator = self._for_mode(_ISTIO / f"{name}-eastwest-gateway.yaml", "eastwest-gateway")
            file = self._folder / f"{name}-eastwest-gateway.yaml"
            private_file.write(file, yaml.safe_dump(operator))
            self._istioctl(name, [file])

    def await_gateway(self, name: str) -> Address:
        """Wait until a network's gateway is ready, and return the address it is reached at."""
        with self._progress.step("east-west gateway ready", cluster=name):
            address = gateway_address.give_address(self._kubes[name], self._clusters[name].address, self._addressing)
            self._await_rollout(name, names.EASTWEST_GATEWAY)
            return address

    def tell_networks(self, gateways: Mapping[str, Address]) -> None:
        """Write both gateways' addresses into istiod's ConfigMap, where that is how it learns of networks."""
        if self._mode is not NetworkMode.MESH_NETWORKS:
            return
        with self._progress.step("networks set in istiod's ConfigMap", cluster=PRIMARY):
            (document,) = manifests.load(_ISTIO / "mesh-networks.yaml")
            networks = yaml.safe_load(document["data"]["meshNetworks"])
            for name, address in gateways.items():
                (told,) = networks["networks"][self._clusters[name].plan.network]["gateways"]
                told |= {"address": address.host, "port": address.port}
            metadata, data = document["metadata"], {"meshNetworks": yaml.safe_dump(networks)}
            self._kubes[PRIMARY].patch("ConfigMap", metadata["name"], metadata["namespace"], {"data": data})

    def remote(self, primary_address: str) -> None:
        """Install the remote's part: its injection webhook, and the address of the primary's istiod."""
        with self._progress.step("istioctl installs webhook and istiod's address", cluster=REMOTE):
            values = {"values.global.remotePilotAddress": primary_address}
            self._istioctl(REMOTE, [_ISTIO / "remote.yaml"], values)

    def remote_secret(self) -> None:
        """Let the primary's istiod watch the remote's API server, as soon as the remote has Istio's reader account."""
        remote = self._clusters[REMOTE]
        with self._progress.step("remote secret", cluster=PRIMARY):
            secret = remote_secret.build(
                self._kubes[REMOTE],
                cluster_id=remote.plan.cluster_id,
                server=f"https://{remote.address}:6443",
            )
            self._secrets.append(remote_secret.token_of(secret))
            self._kubes[PRIMARY].apply(secret)

    def await_injection(self, name: str) -> None:
        """Wait until istiod has put its CA into the webhooks; before that a new pod would get no sidecar."""

        def enabled() -> None:
            webhooks = self._kubes[name].list("MutatingWebhookConfiguration", labels="app=sidecar-injector")
            bundles = [hook["clientConfig"].get("caBundle") for item in webhooks for hook in item["webhooks"]]
            if not bundles or not all(bundles):
                raise NotYet(f"{sum(map(bool, bundles))} of {len(bundles)} webhooks carry istiod's CA bundle")

        with self._progress.step("injection enabled by the primary's istiod", cluster=name):
            claim = f"the {name}'s injection webhooks carry istiod's CA bundle"
            eventually(claim, enabled, within=timeouts().webhook_ready)

    def await_root(self, name: str, *namespaces: str) -> None:
        """Wait until the namespaces hold istiod's root: a pod that mounts it earlier starts up to 15 s later.

        The kubelet mounts a ConfigMap that is not there yet again after 0.5, 1, 2, 4 and 8 s.
        """

        def told() -> None:
            kube = self._kubes[name]
            without = [space for space in namespaces if kube.get("ConfigMap", ROOT_CONFIG_MAP, space) is None]
            if without:
                raise NotYet(f"no ConfigMap {ROOT_CONFIG_MAP} in {', '.join(without)}")

        with self._progress.step("istiod's root in the namespaces", cluster=name):
            claim = f"istiod's root is in the {name}'s namespaces"
            eventually(claim, told, within=timeouts().object_appears, every=0.2)

    def _for_mode(self, file: Path, overlay: str) -> manifests.Object:
        (document,) = manifests.load(file)
        if self._mode is NetworkMode.MESH_NETWORKS:
            (patch,) = manifests.load(_ISTIO / "overlays" / "mesh-networks" / f"{overlay}.yaml")
            document = manifests.overlay(document, patch)
        return document

    def _await_rollout(self, name: str, deployment: str) -> None:
        await_rollout(self._kubes[name], deployment, names.SYSTEM_NAMESPACE, within=timeouts().istio_installed)

    def _istioctl(self, name: str, files: Sequence[Path], values: Mapping[str, str] | None = None) -> None:
        command = [str(self._images.istioctl), "install", "--skip-confirmation"]
        command += ["--kubeconfig", str(self._clusters[name].kubeconfig_path)]
        for file in files:
            command += ["--filename", str(file)]
        chosen = {
            "hub": self._images.istio_hub,
            "tag": self._images.istio_version,
            **(values or {}),
        }
        for key, value in chosen.items():
            command += ["--set", f"{key}={value}"]
        process.run(command, within=timeouts().istio_installed, log=self._folder / "istioctl.log")
