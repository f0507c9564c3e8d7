"""Asks every rule, and puts what follows together for the set-up of a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from splithorizon.base.errors import UsageProblem
from splithorizon.conditions import (  # noqa: F401  # they register their rules
    control_plane,
    logs,
    own_namespace,
    platform,
    policies,
    traffic,
)
from splithorizon.conditions.condition import Condition, Effect, Object
from splithorizon.conditions.reading import MeshConditions
from splithorizon.conditions.registry import RULES
from splithorizon.istio.info import MeshCondition, MeshInfo


@dataclass(frozen=True)
class Decision:
    """All conditions of a mesh, in the order of the rules."""

    conditions: tuple[Condition, ...] = ()

    def require_accepted(self, contexts: Iterable[str]) -> None:
        """Raise UsageProblem where a condition leaves nothing to judge."""
        if refused := [one for one in self.conditions if one.effect is Effect.REFUSED]:
            said = "; ".join(f"{one.seen}: {one.consequence}" for one in refused)
            raise UsageProblem(f"--contexts {','.join(contexts)}: {said}. Nothing was created.")

    @property
    def objects(self) -> tuple[Object, ...]:
        """What is applied in the run's namespace of each config cluster, each object once."""
        found = {(one["kind"], one["metadata"]["name"]): one for each in self.conditions for one in each.objects}
        return tuple(found.values())

    @property
    def namespace_labels(self) -> dict[str, str]:
        """The labels that the run's namespace gets in addition."""
        return {key: value for one in self.conditions for key, value in one.namespace_labels.items()}

    @property
    def not_claimed(self) -> Mapping[str, str]:
        """The behaviours that are left out, each with the reason."""
        return {name: one.consequence for one in reversed(self.conditions) for name in one.behaviours}

    @property
    def for_report(self) -> tuple[MeshCondition, ...]:
        """The conditions as the description of a mesh has them."""
        return tuple(MeshCondition(one.name, one.seen, f"{one.effect}: {one.consequence}") for one in self.conditions)

    def applied(self, kind: str, name: str) -> Object | None:
        """An object that neutralises a condition; None where it is not needed."""
        return next((one for one in self.objects if (one["kind"], one["metadata"]["name"]) == (kind, name)), None)


def decide(mesh: MeshConditions) -> Decision:
    """What follows from the conditions of a mesh; the same condition of several clusters stands once for each."""
    return Decision(tuple(condition for rule in RULES for condition in rule(mesh)))


def described(info: MeshInfo, mesh: MeshConditions, decision: Decision) -> MeshInfo:
    """The description of a mesh with what its conditions mean for the checks."""
    rule = decision.applied("DestinationRule", traffic.EVENLY)
    return replace(
        info,
        domain=mesh.domain,
        conditions=decision.for_report,
        not_claimed={**info.not_claimed, **decision.not_claimed},
        traffic_policy=rule["spec"]["trafficPolicy"] if rule else {},
        needs_admission=decision.applied("AuthorizationPolicy", policies.ADMIT) is not None,
    )
