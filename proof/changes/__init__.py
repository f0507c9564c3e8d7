"""Changes of a mesh that are made wrongly, and the phase in which a watch has to find each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from lab import root_rotation
from lab.ca import Trust
from lab.install import Installation
from lab.phased_change import ChangedMesh, PhasedChange, Step
from splithorizon.base.errors import EnvironmentBroke
from splithorizon.base.paths import MANIFESTS
from splithorizon.base.timeouts import current as timeouts
from splithorizon.istio import names
from splithorizon.kube import manifests
from splithorizon.kube.manifests import Object
from splithorizon.kube.rollout import await_rollout

_LOST = MANIFESTS / "faults" / "changes" / "one-request-in-a-hundred-lost.yaml"
_TAG, _WEBHOOK = "early", "istio-revision-tag-early"


@dataclass(frozen=True)
class MadeMesh:
    """The mesh that is changed, and what it was made of."""

    mesh: ChangedMesh
    installation: Installation
    trust: Trust


@dataclass(frozen=True)
class FaultyChange:
    """One fault: what the phase does in which the watch has to find it, and what mends the mesh after that."""

    name: str
    sentence: str
    make: Callable[[MadeMesh], None]
    mend: Callable[[MadeMesh], None]


@dataclass
class OneFault(PhasedChange):
    """A phase before the fault, the one with it, and one in which it is mended, which is not judged."""

    made: MadeMesh
    fault: FaultyChange

    def steps(self) -> Iterator[Step]:
        """The phase with the fault, and the one that mends it."""
        yield Step(self.fault.name, partial(self.fault.make, self.made))
        yield Step("mended", partial(self.fault.mend, self.made))


def every_fault() -> tuple[FaultyChange, ...]:
    """All of them."""
    return (
        FaultyChange(
            "gateway-replaced-without-drain",
            "The remote's gateway pod ends at once and before its successor is there.",
            lambda made: _replace_gateway(made, {"type": "Recreate", "rollingUpdate": None}, grace=0),
            lambda made: _replace_gateway(made, {"type": "RollingUpdate"}, grace=30),
        ),
        FaultyChange(
            "old-root-dropped-early",
            "The new root takes the old one's place at once, and only the remote's proxies are restarted.",
            _drop_old_root,
            _restore_root,
        ),
        FaultyChange(
            "tag-moved-early",
            "The revision tag leads to an istiod that does not answer yet: new pods are refused.",
            _move_tag,
            _remove_tag,
        ),
        FaultyChange(
            "one-request-in-a-hundred-lost",
            "The senders' sidecars answer one request in a hundred by 503; core's own requests are not affected.",
            _lose_some,
            _lose_none,
        ),
    )


def _replace_gateway(made: MadeMesh, strategy: Object, *, grace: int) -> None:
    (name,) = (plan.name for plan in made.mesh.topology.managed)
    patch = {"spec": {"strategy": strategy, "template": {"spec": {"terminationGracePeriodSeconds": grace}}}}
    kube = made.mesh.kubes[name]
    kube.patch("Deployment", names.EASTWEST_GATEWAY, names.SYSTEM_NAMESPACE, patch)
    within = timeouts().workload_ready
    await_rollout(kube, names.EASTWEST_GATEWAY, names.SYSTEM_NAMESPACE, within=within)


def _drop_old_root(made: MadeMesh) -> None:
    root_rotation.give(made.mesh, Trust.make(made.mesh.topology.names))
    for plan in made.mesh.topology.managed:
        made.mesh.restart_proxies(plan.name)


def _restore_root(made: MadeMesh) -> None:
    root_rotation.give(made.mesh, made.trust)
    for plan in made.mesh.topology:
        made.mesh.restart_proxies(plan.name)


def _move_tag(made: MadeMesh) -> None:
    """Let the workloads of every cluster ask for a tag, whose webhook calls a Service that is not there."""
    labels = {"istio-injection": None, names.REVISION_LABEL: _TAG}
    for name, kube in made.mesh.kubes.items():
        made.installation.set_tag(name, _TAG)
        webhook = kube.get("MutatingWebhookConfiguration", _WEBHOOK)
        if webhook is None:
            raise EnvironmentBroke(f"there is no {_WEBHOOK} in the {name}, though its tag was set")
        for hook in webhook["webhooks"]:
            hook["clientConfig"]["service"]["name"] = names.istiod_of("not-there-yet")
        kube.patch("MutatingWebhookConfiguration", _WEBHOOK, None, {"webhooks": webhook["webhooks"]})
        kube.patch("Namespace", made.mesh.info.namespace, None, {"metadata": {"labels": labels}})


def _remove_tag(made: MadeMesh) -> None:
    labels = {"istio-injection": "enabled", names.REVISION_LABEL: None}
    for kube in made.mesh.kubes.values():
        kube.patch("Namespace", made.mesh.info.namespace, None, {"metadata": {"labels": labels}})
        kube.delete("MutatingWebhookConfiguration", _WEBHOOK)


def _lose_some(made: MadeMesh) -> None:
    for plan in made.mesh.topology.control_planes:
        for document in manifests.load(_LOST):
            made.mesh.kubes[plan.name].apply(document, namespace=made.mesh.info.namespace)


def _lose_none(made: MadeMesh) -> None:
    for plan in made.mesh.topology.control_planes:
        for document in manifests.load(_LOST):
            name = document["metadata"]["name"]
            made.mesh.kubes[plan.name].delete(document["kind"], name, made.mesh.info.namespace)
