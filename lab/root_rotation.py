"""Rotates the root certificate of a mesh that was made here, while somebody watches it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from lab.ca import Trust
from lab.phased_change import ChangedMesh, PhasedChange, Step
from splithorizon.istio import names


@dataclass
class RootRotation(PhasedChange):
    """From one root to another, by way of both.

    A proxy takes a root and a certificate from istiod when it starts, and istiod reads its CA when it starts: so each
    of them is restarted wherever it has to know a new one.
    """

    before: Trust
    after: Trust

    def steps(self) -> Iterator[Step]:
        """Every proxy trusts both roots before the first certificate below the new one is signed."""
        both = self.before.trusting_too(self.after)
        yield Step("istiods trust both roots", partial(give, self.mesh, both))
        yield from self._restarts("trusting both roots")
        yield Step("istiods sign below the new root", partial(give, self.mesh, self.after.trusting_too(self.before)))
        yield from self._restarts("certified below the new root")
        yield Step("istiods drop the old root", partial(give, self.mesh, self.after))
        yield from self._restarts("without the old root")

    def _restarts(self, purpose: str) -> Iterator[Step]:
        for plan in self.mesh.topology:
            yield Step(f"proxies of {plan.name} {purpose}", partial(self.mesh.restart_proxies, plan.name))


def give(mesh: ChangedMesh, trust: Trust) -> None:
    """Replace the CA of every cluster, and restart the istiods, which read it."""
    for plan in mesh.topology:
        mesh.kubes[plan.name].apply(trust.cacerts(plan.name))
    for plan in mesh.topology.control_planes:
        mesh.restart(plan.name, names.SYSTEM_NAMESPACE, names.istiod_of(""))
