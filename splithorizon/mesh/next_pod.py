"""What the next pod and its proxy would meet: injection now, and istiod as a new connection finds it."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from cryptography import x509

from splithorizon.base import parallel
from splithorizon.istio import service_addresses, webhooks
from splithorizon.istio.info import Address
from splithorizon.istio.names import REVISION_LABEL, revision_name
from splithorizon.istio.webhooks import InjectionWebhook
from splithorizon.kube import pod_status
from splithorizon.kube.api_server import Refused
from splithorizon.mesh import injection
from splithorizon.mesh.cluster import Cluster
from splithorizon.mesh.mesh import Mesh
from splithorizon.traffic.client import PAST_THE_SIDECAR
from splithorizon.traffic.tls_probe import TlsProbeResult

_STATUS = "sidecar.istio.io/status"


@dataclass(frozen=True)
class AdmittedPod:
    """What the API server makes of a pod: its proxy's settings, or in ``refused`` why it admits none."""

    sidecar: bool = False
    network: str = ""
    cluster_id: str = ""
    revision: str = ""
    refused: str = ""


@dataclass(frozen=True)
class IstiodProbe:
    """An address at which a cluster expects istiod: by which name, what it trusts there, and what is served.

    ``place`` says who looks there.
    """

    place: str
    host: str
    address: Address
    trusted: tuple[x509.Certificate, ...]
    served: TlsProbeResult


@dataclass(frozen=True)
class NextPod:
    """The mesh, for a pod that does not exist yet."""

    mesh: Mesh

    def admitted(self, name: str) -> AdmittedPod:
        """What the API server of a cluster would make of a pod of our namespace now: a dry run, which stores nothing.

        Raises Refused where something else than Istio's injection webhooks refuses it.
        """
        cluster = self.mesh[name]
        try:
            pod = cluster.kube.as_admitted(injection.new_pod(cluster), cluster.namespace)
        except Refused as refused:
            # The API server names the webhook that it could not call. Of other people's webhooks nothing is said.
            if not any(f'webhook "{one.name}"' in refused.message for one in self.webhooks(name)):
                raise
            return AdmittedPod(refused=refused.message)
        annotations = pod["metadata"].get("annotations") or {}
        status = json.loads(annotations.get(_STATUS) or "{}")
        environment = injection.environment_of_proxy(pod)
        return AdmittedPod(
            sidecar=pod_status.of_pod(pod).sidecar,
            network=environment.get("ISTIO_META_NETWORK", ""),
            cluster_id=environment.get("ISTIO_META_CLUSTER_ID", ""),
            revision=str(annotations.get(REVISION_LABEL) or status.get("revision") or ""),
        )

    def revision(self, name: str) -> str:
        """The revision that a new pod of a cluster must have: that of the istiod which manages the cluster."""
        return revision_name(self.mesh.info.revision_of(name))

    def webhooks(self, name: str) -> list[InjectionWebhook]:
        """The injection webhooks of a cluster that belong to the revision of its istiod."""
        return webhooks.of_revision(self.mesh[name].kube, self.mesh.info.revision_of(name))

    def webhook_probes(self, name: str) -> list[IstiodProbe]:
        """What is served at every address behind an injection webhook of a cluster, as seen from its client."""
        wanted = {
            (one.host, address): (one.place, one.trusted) for one in self.webhooks(name) for address in one.addresses
        }
        return _probed(self.mesh[name], wanted)

    def istiod_probes(self, name: str, trusted: tuple[x509.Certificate, ...]) -> list[IstiodProbe]:
        """What a managed cluster is served where its proxies and its webhooks look for istiod.

        That is at the gateway of istiod's cluster; an existing mesh may lead elsewhere, and is followed. ``trusted`` is
        what the pods of our namespace trust there; webhooks have separate CA bundles. No probe for ports other than
        those at which the client's own sidecar stays out of the way.
        """
        cluster = self.mesh[name]
        asked = cluster.client.proxy.identity.discovery_address
        host, _, port = asked.rpartition(":")
        found = service_addresses.resolve(cluster.kube, asked)
        wanted = {(host, one): (f"proxies of the {name}", trusted) for one in self._entrances(name, found, int(port))}
        for webhook in self.webhooks(name):
            for port_of in {address.port for address in webhook.addresses}:
                for one in self._entrances(name, webhook.addresses, port_of):
                    wanted[webhook.host, one] = (f"webhooks of the {name}", webhook.trusted)
        return _probed(cluster, wanted)

    def served_chains(self, name: str) -> dict[str, tuple[x509.Certificate, ...]]:
        """Every chain that a cluster's proxies serve, and those that its istiod serves at the ports of proxies.

        By who serves it: proxies by pod and namespace, istiod by the address at which the cluster finds it. An istiod
        that serves none is left out: others claim that it does.
        """
        cluster = self.mesh[name]
        proxies = {one.proxy.name: one.proxy for one in cluster.injected_pods}
        asked = cluster.client.proxy.identity.discovery_address
        found = service_addresses.resolve(cluster.kube, asked)
        host = asked.rpartition(":")[0]
        probes = _probed(cluster, {(host, address): ("", ()) for address in found})
        chains = parallel.for_each(proxies, lambda proxy: proxies[proxy].chain)
        return chains | {f"istiod at {one.address}": one.served.chain for one in probes if one.served.chain}

    def _entrances(self, name: str, found: Collection[Address], port: int) -> list[Address]:
        """Where a cluster has to find istiod at a port: as it does in an existing mesh, else at the gateway."""
        if not self.mesh.info.owned:
            return sorted({one for one in found if one.port == port}, key=str)
        gateways = {gateway.host for gateway in self.mesh.control_plane_of(name).info.gateways}
        return [Address(gateway, port) for gateway in sorted(gateways)]


def _probed(
    cluster: Cluster, wanted: Mapping[tuple[str, Address], tuple[str, tuple[x509.Certificate, ...]]]
) -> list[IstiodProbe]:
    """One connection to each address; none to a port at which the client's own sidecar would answer."""
    client = cluster.client

    def probe(key: tuple[str, Address]) -> IstiodProbe:
        (host, address), (place, trusted) = key, wanted[key]
        return IstiodProbe(place, host, address, trusted, client.begin_tls(address, host))

    reached = [key for key in wanted if key[1].port in PAST_THE_SIDECAR]
    return list(parallel.for_each(reached, probe).values())
