"""Reads again and again what may change in a cluster, by its metadata, its pods' states and its gateways' addresses."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from splithorizon.base.errors import EnvironmentBroke
from splithorizon.istio.gateway_services import external_hosts
from splithorizon.istio.info import Address, ClusterInfo
from splithorizon.istio.names import REVISION_LABEL, config_map_of
from splithorizon.kube import pod_status
from splithorizon.kube.client import Kube, Object, Objects
from splithorizon.traffic import sender, workloads
from splithorizon.watch.events import Change, differences

ISTIOD = "istiod pods"
GATEWAYS = "gateway pods"
TARGETS = "helloworld pods"
SENDERS = "our senders"
ADDRESSES = "gateway addresses"
PROXIES = "proxies"
# What istiod's leader renews every few seconds, and what a run of this suite writes for itself, is no change.
_FLEETING = re.compile(r"leader|election|^splithorizon")
_READY, _NOT_READY, _ENDING = "ready", "not ready", "ending"


@dataclass(frozen=True)
class Seen:
    """Things of one subject by name, each with what is worth noticing; and whether any of them is under way."""

    things: Mapping[str, str]
    settled: bool = True


Reader = Callable[[], Seen]


class ChangeFinder:
    """Compares readings of one cluster, subject by subject."""

    def __init__(self, cluster: str) -> None:
        """Nothing was read yet: the first reading of a subject is no change."""
        self._cluster = cluster
        self._before: dict[str, tuple[float, Seen]] = {}

    def compare(self, subject: str, seen: Seen, *, asked: float, answered: float) -> Iterator[Change]:
        """The changes since the last reading of the subject, which was answered before it was ``asked`` again."""
        known = self._before.get(subject)
        self._before[subject] = (asked, seen)
        if known is None:
            return
        before, last = known
        for text in differences(last.things, seen.things):
            yield Change(before, answered, self._cluster, subject, text, seen.settled)


@dataclass
class ClusterReader:
    """What is read of one cluster. A subject that may not be read is named once, and left out from then on."""

    kube: Kube
    info: ClusterInfo
    namespace: str
    refused: dict[str, str] = field(default_factory=dict)
    """By subject why it is not read."""
    failed: Counter[str] = field(default_factory=Counter)
    """By subject how many readings failed."""

    @property
    def often(self) -> Mapping[str, Reader]:
        """What is read every two seconds, because a loss may follow at once."""
        system, ours = self.info.system_namespace, self.namespace
        return {
            ISTIOD: lambda: self._pods((system, "app=istiod")),
            GATEWAYS: lambda: self._pods(*((one.namespace, one.labels) for one in self.info.gateway_pods)),
            ADDRESSES: self._addresses,
            TARGETS: lambda: self._pods((ours, f"app={workloads.SERVICE}")),
            SENDERS: lambda: self._pods((ours, f"app={sender.NAME}")),
        }

    @property
    def seldom(self) -> Mapping[str, Reader]:
        """What is read less often: metadata alone."""
        return {
            "Secrets": lambda: self._versions("Secret"),
            "mesh configuration": self._mesh_configuration,
            "webhooks": self._webhooks,
            "roll-outs": lambda: self._rollouts("Deployment"),
            "roll-outs of DaemonSets": lambda: self._rollouts("DaemonSet"),
            "revisions of pods": self._revisions,
        }

    def read(self, readers: Mapping[str, Reader]) -> Iterator[tuple[str, Seen]]:
        """What could be read, subject by subject."""
        for subject, reader in readers.items():
            if subject in self.refused:
                continue
            try:
                yield subject, reader()
            except EnvironmentBroke as problem:
                self._note(subject, problem)

    def gateway_addresses(self) -> frozenset[str]:
        """Where requests from other networks go now, by the gateways' Services, as Envoy logs it."""
        ports = {gateway.port for gateway in self.info.gateways} or {pods.port for pods in self.info.gateway_pods}
        hosts = {host for service in self._services() for host in external_hosts(service)}
        return frozenset(str(Address(host, port)) for host in hosts for port in ports)

    def _note(self, subject: str, problem: EnvironmentBroke) -> None:
        self.failed[subject] += 1
        if getattr(problem, "status", None) == 403:
            self.refused[subject] = str(problem)

    @property
    def _namespaces(self) -> tuple[str, ...]:
        gateways = (pods.namespace for pods in self.info.gateway_pods)
        return tuple(dict.fromkeys((self.info.system_namespace, *gateways)))

    def _pods(self, *selections: tuple[str, str]) -> Seen:
        found = [pod for namespace, labels in selections for pod in self.kube.list("Pod", namespace, labels)]
        things = {pod["metadata"]["name"]: _described(pod) for pod in found}
        return Seen(things, settled=all(text.endswith(f" {_READY}") for text in things.values()))

    def _services(self) -> Objects:
        labels = [dict(part.split("=", 1) for part in pods.labels.split(",")) for pods in self.info.gateway_pods]
        return [
            service
            for namespace in dict.fromkeys(pods.namespace for pods in self.info.gateway_pods)
            for service in self.kube.list("Service", namespace)
            if any(one.items() <= (service["spec"].get("selector") or {}).items() for one in labels)
        ]

    def _addresses(self) -> Seen:
        return Seen(
            {one["metadata"]["name"]: ", ".join(sorted({*external_hosts(one)})) or "none" for one in self._services()}
        )

    def _versions(self, kind: str) -> Seen:
        found = [one for namespace in self._namespaces for one in self.kube.list_metadata(kind, namespace)]
        return Seen(dict(_version(one) for one in found if not _FLEETING.search(one["metadata"]["name"])))

    def _webhooks(self) -> Seen:
        kinds = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
        found = [one for kind in kinds for one in self.kube.list_metadata(kind)]
        return Seen(dict(_version(one) for one in found if "istio" in one["metadata"]["name"]))

    def _mesh_configuration(self) -> Seen:
        """The ConfigMap that istiod reads; it holds no secret, and one object by its name may be read."""
        found = self.kube.get("ConfigMap", config_map_of(self.info.revision), self.info.system_namespace)
        return Seen(dict([_version(found)]) if found else {})

    def _rollouts(self, kind: str) -> Seen:
        found = [one for namespace in self._namespaces for one in self.kube.list_metadata(kind, namespace)]
        return Seen({one["metadata"]["name"]: f"generation {one['metadata'].get('generation')}" for one in found})

    def _revisions(self) -> Seen:
        """Of all pods with a sidecar or of a gateway: which revisions there are, and of how many pods where several."""
        found = self.kube.list_metadata("Pod", labels="service.istio.io/canonical-name")
        counts = Counter((one["metadata"].get("annotations") or {}).get(REVISION_LABEL, "") for one in found)
        counts.pop("", None)
        return Seen(pods_by_name(counts))


def pods_by_name(counts: Mapping[str, int]) -> dict[str, str]:
    """The number of pods by name, and of a single name no number: pods come and go all day, which is no change."""
    return {name: f"{number} pods" if len(counts) > 1 else "every pod" for name, number in sorted(counts.items())}


def _described(pod: Object) -> str:
    state = _ENDING if "deletionTimestamp" in pod["metadata"] else _NOT_READY
    if pod_status.of_pod(pod).ready:
        state = _READY
    images = {
        one["name"]: one["image"] for part in ("initContainers", "containers") for one in pod["spec"].get(part) or ()
    }
    image = images.get("discovery") or images.get(pod_status.SIDECAR) or next(iter(images.values()), "")
    statuses = pod.get("status", {}).get("containerStatuses") or ()
    restarts = sum(one.get("restartCount", 0) for one in statuses)
    revision = (pod["metadata"].get("labels") or {}).get(REVISION_LABEL) or (
        pod["metadata"].get("annotations") or {}
    ).get(REVISION_LABEL)
    parts = [image.rpartition("/")[2]]
    parts += [f"revision {revision}"] if revision else []
    parts += [f"{restarts} restarts"] if restarts else []
    return f"{', '.join(parts)}, {state}"


def _version(one: Object) -> tuple[str, str]:
    return one["metadata"]["name"], f"version {one['metadata'].get('resourceVersion')}"
