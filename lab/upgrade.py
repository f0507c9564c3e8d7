"""Upgrades Istio in a mesh that was made here, phase by phase, while somebody watches it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial

from lab.install import Installation
from lab.phased_change import PhasedChange, Step
from splithorizon.base.errors import UsageProblem
from splithorizon.istio import names
from splithorizon.istio.info import MeshCondition
from splithorizon.kube.client import Object

# 1.29.1; not the snapshot of a minor version, such as 1.31-alpha.eed52ebb66ad.
_RELEASE = re.compile(r"(?P<major>\d+)\.(?P<minor>\d+)\.")


class Style(StrEnum):
    """How a control plane is upgraded: by a new one beside it, or by replacing it."""

    IN_PLACE = "in-place"
    REVISION = "revision"


# The minor versions that Istio documents to be skipped at once: https://istio.io/latest/docs/setup/upgrade
_MINORS_AT_ONCE = {Style.IN_PLACE: 1, Style.REVISION: 2}
_TAG = "stable"


def revision_of(version: str) -> str:
    """The name of the revision of a version, which has to be part of a DNS name."""
    return re.sub(r"[^a-z0-9]+", "-", version.lower())


def undocumented(before: str, after: str, style: Style) -> str:
    """Why Istio documents no upgrade of a pair of versions in that style; empty where it does."""
    old, new = _RELEASE.match(before), _RELEASE.match(after)
    if old is None or new is None:
        return f"{before if old is None else after} is no release, and Istio documents upgrades of releases"
    if old["major"] != new["major"] or not 0 <= int(new["minor"]) - int(old["minor"]) <= _MINORS_AT_ONCE[style]:
        return f"Istio documents {style} upgrades over at most {_MINORS_AT_ONCE[style]} minor versions, and none back"
    return ""


def allowed_skew(before: str, after: str, style: Style, *, allow: bool) -> tuple[MeshCondition, ...]:
    """What a report says of an upgrade that Istio does not document; nothing of one that it does.

    Raises UsageProblem for the former unless the user allows it.
    """
    why = undocumented(before, after, style)
    if not why:
        return ()
    pair = f"--upgrade-to {after} from {before}"
    if not allow:
        raise UsageProblem(f"{pair}: {why}; --allow-skew tries it. Nothing was created.")
    return (MeshCondition("the upgrade is not documented", f"{pair}: {why}", "it is tried, by --allow-skew"),)


@dataclass
class Upgrade(PhasedChange):
    """The upgrade of a mesh from one installation to another, and back where that is asked for."""

    style: Style
    before: Installation
    after: Installation
    back: bool = False

    def steps(self) -> Iterator[Step]:
        """Control planes first, then what leads to them, gateways, and at last workloads."""
        return self._in_place() if self.style is Style.IN_PLACE else self._by_revision()

    def _in_place(self) -> Iterator[Step]:
        for installation in (self.after, self.before) if self.back else (self.after,):
            yield from _towards(installation, self._control_planes(installation))
            yield from _towards(installation, self._gateways(installation))
            yield from _towards(installation, (self._workloads(name) for name in self.mesh.topology.names))

    def _by_revision(self) -> Iterator[Step]:
        """With a revision tag that the workloads ask for: it moves in one cluster after the other."""
        before, after = self.before, self.after
        yield Step(f"tag {_TAG} on the old revision", self._begin_tag)
        yield from _towards(after, self._control_planes(after))
        yield from _towards(after, self._gateways(after))
        yield from _towards(after, (self._workloads(name, after) for name in self._managed_last))
        if self.back:
            yield from _towards(before, (self._workloads(name, before) for name in reversed(self._managed_last)))
            yield from _towards(before, self._gateways(before))
        left = after if self.back else before
        yield Step(f"istiod {left.version} removed", partial(self._remove, left))

    def _control_planes(self, installation: Installation) -> Iterator[Step]:
        for plan in self.mesh.topology.control_planes:
            yield Step(f"istiod of {plan.name}", partial(self._control_plane, installation, plan.name))
        for plan in self.mesh.topology.managed:
            yield Step(f"webhook of {plan.name}", partial(self._managed, installation, plan.name))

    def _gateways(self, installation: Installation) -> Iterator[Step]:
        for plan in self.mesh.topology:
            if plan.has_gateway:
                yield Step(f"gateway of {plan.name}", partial(self._gateway, installation, plan.name))

    def _workloads(self, name: str, tagged: Installation | None = None) -> Step:
        """``tagged`` is what the cluster's tag is moved to before its workloads are restarted."""
        return Step(f"workloads of {name}", partial(self._restart_workloads, name, tagged))

    @property
    def _managed_last(self) -> tuple[str, ...]:
        """The clusters that run istiod first: the webhook of a cluster without one moves last."""
        plans = self.mesh.topology
        return tuple(plan.name for plan in (*plans.control_planes, *plans.managed))

    def _control_plane(self, installation: Installation, name: str) -> None:
        installation.control_plane(name)
        installation.await_control_plane(name)
        # The old one still configures its proxies until it ends.
        self.mesh.await_replaced(name, names.SYSTEM_NAMESPACE, names.istiod_of(installation.revision))
        gateways = {one.name: one.gateways[0] for one in self.mesh.info.clusters.values() if one.gateways}
        installation.set_mesh_networks(name, gateways)
        if installation.revision and self.mesh.topology.manages_others(name):
            installation.expose_revision(name)

    def _managed(self, installation: Installation, name: str) -> None:
        manager = self.mesh.info.clusters[self.mesh.topology[name].control_plane]
        installation.managed(name, manager.gateways[0].host)
        installation.await_injection(name)

    def _gateway(self, installation: Installation, name: str) -> None:
        template = self._gateway_template(name)
        installation.gateway(name)
        # Only a new pod gets the new version's proxy.
        if self._gateway_template(name) == template:
            self.mesh.restart(name, names.SYSTEM_NAMESPACE, names.EASTWEST_GATEWAY)
        installation.await_gateway(name)
        self.mesh.await_replaced(name, names.SYSTEM_NAMESPACE, names.EASTWEST_GATEWAY)

    def _gateway_template(self, name: str) -> Object | None:
        deployment = self.mesh.kubes[name].get("Deployment", names.EASTWEST_GATEWAY, names.SYSTEM_NAMESPACE)
        return deployment["spec"]["template"] if deployment else None

    def _begin_tag(self) -> None:
        """Let the workloads' namespace ask for the tag, which leads to what injects its sidecars already."""
        labels = {"istio-injection": None, names.REVISION_LABEL: _TAG}
        for name, kube in self.mesh.kubes.items():
            self.before.set_tag(name, _TAG)
            kube.patch("Namespace", self.mesh.info.namespace, None, {"metadata": {"labels": labels}})

    def _restart_workloads(self, name: str, tagged: Installation | None) -> None:
        """Restart each Deployment of the namespace, one after the other."""
        if tagged is not None:
            tagged.set_tag(name, _TAG)
            self._note_revision(name, tagged.revision)
        self.mesh.restart_workloads(name)

    def _note_revision(self, name: str, revision: str) -> None:
        """From here on the cluster is judged by the istiod of this revision, and the others by theirs as before.

        Theirs is named too: a cluster without one is judged by that of the first.
        """
        info = self.mesh.info
        clusters = {
            one.name: replace(one, revision=names.revision_name(one.revision)) for one in info.clusters.values()
        }
        clusters[name] = replace(clusters[name], revision=names.revision_name(revision))
        first = self.mesh.topology.control_planes[0].name
        self.mesh = replace(self.mesh, info=replace(info, clusters=clusters, revision=clusters[first].revision))

    def _remove(self, installation: Installation) -> None:
        for name in reversed(self._managed_last):
            installation.remove_control_plane(name)


def _towards(installation: Installation, steps: Iterable[Step]) -> Iterator[Step]:
    """The steps with the version that they lead to in their names: the way back has steps of the same names."""
    for step in steps:
        yield replace(step, name=f"{step.name} to {installation.version}")
