"""Every fault: what it does, which behaviours it must turn red, and the cause that their failures must then carry."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from enum import StrEnum

from splithorizon.diagnosis.causes import Cause
from splithorizon.istio.info import NetworkMode
from splithorizon.istio.topology import (
    PRIMARY_REMOTE,
    Topology,
    Watch,
    kept_beside,
    watch_across,
    watch_beside_another,
    watch_of_managed,
)
from splithorizon.mesh.mesh import Mesh
from splithorizon.run.verdict import Verdict

Inject = Callable[[Mesh, ExitStack], None]
# A cluster's or a network's name; that a Secret is a remote one is no name.
_CONFIG_OF_REMOTE = "config-of-remote"
"""In a cite: the cluster in which the istiod reads that manages the remote, or what stands for it."""
_NAME = re.compile(
    r"(?:(?<![\w-])|(?<=istio-remote-secret-))(?:(?:primary|remote)-network|primary|remote)(?!\w)|\bv[12]\b"
)


class Assumes(StrEnum):
    """What a mesh must have for a fault to mean anything in it."""

    ANYTHING = "any mesh"
    MANAGED = "a cluster whose istiod is in another one"
    MANAGED_ALONE = "a cluster alone on its network whose istiod is in another one"
    SEVERAL_PRIMARIES = "several primaries"
    WATCH_BESIDE_ANOTHER = "an istiod that watches several clusters on other networks"

    def holds(self, shape: Topology) -> bool:
        """Whether a mesh of that shape has it."""
        managed = watch_of_managed(shape)
        return {
            Assumes.ANYTHING: True,
            Assumes.MANAGED: managed is not None,
            Assumes.MANAGED_ALONE: managed is not None and managed == watch_across(shape),
            Assumes.SEVERAL_PRIMARIES: sum(one.control_plane == one.name for one in shape) > 1,
            Assumes.WATCH_BESIDE_ANOTHER: watch_beside_another(shape) is not None,
        }[self]

    def watch(self, shape: Topology) -> Watch | None:
        """The clusters of a shape that stand for the primary and the remote in a fault."""
        if self is Assumes.WATCH_BESIDE_ANOTHER and (ending := watch_beside_another(shape)):
            return Watch(ending.watching, kept_beside(shape, ending))
        return watch_of_managed(shape) if self is Assumes.MANAGED else watch_across(shape)


@dataclass(frozen=True)
class Cite:
    """What the evidence of a diagnosis must cite of a fault: parts of an object, of a field of it and of its value."""

    object: str
    field: str
    value: str

    def is_met_by(self, object: str, field: str, value: str) -> bool:  # noqa: A002  # the field's name
        """Whether one fact of the evidence cites it."""
        return self.object in object and self.field in field and self.value in value

    def in_shape(self, shape: Topology, watch: Watch) -> Cite:
        """With the names of another mesh, whose clusters of ``watch`` stand for a primary and a remote."""
        return Cite(*(_renamed(text, shape, watch) for text in (self.object, self.field, self.value)))

    def __str__(self) -> str:
        """As a sentence has it."""
        return f"{self.object}: {self.field}: {self.value}"


@dataclass(frozen=True)
class Fault:
    """One way to break a mesh. ``breaks`` names modules of the suites; one of their tests each must say ``verdict``.

    ``causes`` has for each the id of the cause that its failure must carry; it is empty where the check cannot tell,
    and the diagnosis of the run alone decides. ``root_cause`` is the id of the one root cause that the run must then
    report, with evidence that ``cites`` what the fault changed; ``beside`` has the others of a fault that is several
    at once. Without a root cause ``undecided`` says why it cannot be told yet. A ``sound`` one is a control: nothing
    may fail, and there is no diagnosis. ``spares_local`` tells whether traffic within each cluster must stay sound
    meanwhile, ``modes`` in which network modes there is such a thing to break, and ``assumes`` in which meshes. Names
    of clusters are those of a primary and a remote; ``in_shape`` gives them others.
    """

    name: str
    story: str
    causes: Mapping[str, str]
    inject: Inject
    verdict: Verdict = Verdict.NOT_CONFORMANT
    spares_local: bool = True
    modes: tuple[NetworkMode, ...] = tuple(NetworkMode)
    root_cause: str = ""
    cites: tuple[Cite, ...] = ()
    undecided: str = ""
    sound: bool = False
    beside: tuple[str, ...] = ()
    assumes: Assumes = Assumes.ANYTHING

    @property
    def breaks(self) -> tuple[str, ...]:
        """The behaviours that it must break."""
        return tuple(self.causes)

    def in_shape(self, shape: Topology) -> Fault:
        """The same fault in a mesh that has what it assumes, with the names of the clusters that it breaks there."""
        watch = self.assumes.watch(shape)
        return replace(self, cites=tuple(cite.in_shape(shape, watch) for cite in self.cites)) if watch else self


def _renamed(text: str, shape: Topology, watch: Watch) -> str:
    """A text with the names of the clusters, networks and versions of a shape for those of the default one."""
    names = dict(zip(PRIMARY_REMOTE.names, (watch.watching, watch.watched), strict=True))
    networks = {PRIMARY_REMOTE[old].network: shape[new].network for old, new in names.items()}
    versions = {PRIMARY_REMOTE[old].version: shape[new].version for old, new in names.items()}
    known = networks | names | versions
    renamed = _NAME.sub(lambda found: known.get(found[0], found[0]), text)
    return renamed.replace(_CONFIG_OF_REMOTE, shape[watch.watched].control_plane)


FAULTS: list[Fault] = []
UNSEEN: dict[str, str] = {}
"""Ways to break a mesh that no behaviour sees yet, by name, each with the reason: they are counted, not proven."""


def fault(
    *breaks: str,
    cause: Cause | None = None,
    causes: Mapping[str, Cause] | None = None,
    verdict: Verdict = Verdict.NOT_CONFORMANT,
    spares_local: bool = True,
    modes: tuple[NetworkMode, ...] = tuple(NetworkMode),
    root_cause: Cause | None = None,
    cites: Sequence[tuple[str, str, str]] = (),
    undecided: str = "",
    sound: bool = False,
    beside: Sequence[Cause] = (),
    assumes: Assumes = Assumes.ANYTHING,
) -> Callable[[Inject], Inject]:
    """Register a function as a fault, by its name and docstring; it gets the mesh and the stack of undos.

    The failures of those in ``breaks`` must all carry ``cause``; ``causes`` is for behaviours with another one. The
    run's diagnosis must be ``root_cause``, with evidence that cites each of ``cites``: object, field and value.
    Raises ValueError where ``breaks`` are named and neither kind of cause is, or a root cause without what it cites.
    """
    demanded = {name: given.id for name, given in (causes or {}).items()}
    if breaks:
        if cause is None and root_cause is None:
            raise ValueError(f"{', '.join(breaks)}: the cause is missing that their failures must carry")
        demanded = dict.fromkeys(breaks, cause.id if cause else "") | demanded
    if root_cause is not None and not cites:
        raise ValueError(f"{root_cause.id}: what the evidence must cite is missing")

    def register(inject: Inject) -> Inject:
        name = inject.__name__.replace("_", "-")
        story = " ".join((inject.__doc__ or "").split())
        FAULTS.append(
            Fault(
                name, story, demanded, inject, verdict, spares_local, modes,
                root_cause=root_cause.id if root_cause else "",
                cites=tuple(Cite(*one) for one in cites),
                undecided=undecided,
                sound=sound,
                beside=tuple(one.id for one in beside),
                assumes=assumes,
            )
        )  # fmt: skip
        return inject

    return register
