"""What can happen to a mesh, by subject: a facade over the disruptions of one test."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import ParamSpec

from splithorizon.base.paths import MANIFESTS
from splithorizon.disruption.answering import Answering, ExpectedAnswers
from splithorizon.disruption.experiment import Experiment
from splithorizon.disruption.gateway import GatewayDisruption
from splithorizon.disruption.istiod import IstiodDisruption
from splithorizon.disruption.observation import Observation
from splithorizon.disruption.recovery import Batch, Recovery, Traffic
from splithorizon.disruption.remote_secret import ApiServerDisruption, RemoteSecretDisruption
from splithorizon.disruption.watching import settle_remarks
from splithorizon.disruption.workloads import HelloworldDisruption
from splithorizon.istio.topology import Watch
from splithorizon.mesh.mesh import Mesh
from splithorizon.traffic.new_connections import NewConnections

__all__ = ["Disruption", "settle_remarks"]

Acted = ParamSpec("Acted")

_PREFER_OWN_NETWORK = MANIFESTS / "resilience" / "prefer-own-network.yaml"


class Disruption:
    """Changes parts of a mesh, and measures how it is then. One test holds it, and the mesh alone."""

    def __init__(self, mesh: Mesh, undo: ExitStack, *, times: int) -> None:
        """Take the stack that undoes at the test's end, and how many requests a judged batch has."""
        self._experiment = Experiment(mesh, undo)
        self._observation = Observation(self._experiment, times=times)

    @property
    def expected(self) -> ExpectedAnswers:
        """The states that disruptions of this mesh lead to."""
        return self._observation.expected

    def remote_secret(self, watch: Watch) -> RemoteSecretDisruption:
        """The secret by which one istiod watches another cluster."""
        return RemoteSecretDisruption(self._observation, watch)

    def api_server(self, watch: Watch) -> ApiServerDisruption:
        """The way of one istiod to the API server of another cluster."""
        return ApiServerDisruption(self._observation, watch)

    def istiod(self, name: str) -> IstiodDisruption:
        """The istiod in a cluster."""
        return IstiodDisruption(self._experiment, self._experiment.mesh[name])

    def gateway(self, name: str) -> GatewayDisruption:
        """The east-west gateway of a cluster's network."""
        return GatewayDisruption(self._observation, self._experiment.mesh[name])

    def gateway_deployments(self, name: str) -> int:
        """How many Deployments make the gateways of a cluster's network, in all clusters of that network."""
        return sum(len(self.gateway(one.name).deployments) for one in self._experiment.mesh.sharing_network(name))

    def configured_by(self, control_plane: str) -> str:
        """A cluster whose pods that istiod injects and configures: one without an istiod where it manages any."""
        managed = [one.name for one in self._experiment.mesh.info.managed_by(control_plane)]
        return next((name for name in managed if name != control_plane), control_plane)

    def helloworld(self, name: str) -> HelloworldDisruption:
        """The helloworld of a cluster."""
        return HelloworldDisruption(self._experiment, self._experiment.mesh[name])

    def prefer_own_network(self) -> None:
        """Let clients prefer endpoints of their own network, and fail over to the others: a DestinationRule."""
        self._experiment.begin()
        self._experiment.mesh.apply_rules(_PREFER_OWN_NETWORK, self._experiment.undo)

    def restore(self) -> None:
        """Undo every change so far, now."""
        self._experiment.restore()

    def until(self, answering: Answering) -> Recovery:
        """Probe until every client is answered by exactly these clusters without a loss; measured from the change."""
        return self._observation.until(answering)

    def until_held(self, answering: Answering) -> Recovery:
        """Probe until every client's sidecar holds exactly what its istiod knows then; measured from the change."""
        return self._observation.until_held(answering)

    def batches(self, answering: Answering) -> tuple[Batch, ...]:
        """Send one batch of each client, each request once, to be judged by version and path."""
        return self._observation.batches(answering)

    def new_connections(self, watch: Watch) -> NewConnections:
        """New connections of the watching cluster's client to pods that the watched one alone has."""
        return self._observation.new_connections(watch)

    def local_batches(self, *clients: str) -> tuple[Batch, ...]:
        """Send one batch from each of these clients to the service that only its own cluster has."""
        return self._observation.local_batches(*clients)

    def under_traffic(self, change: Callable[Acted, Recovery], *how: Acted.args, **named: Acted.kwargs) -> Traffic:
        """Change the mesh while every client sends without a pause, and go on for some time after the recovery."""
        return self._observation.under_traffic(change, *how, **named)
