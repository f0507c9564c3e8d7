"""Every fault: what it does, which behaviours it must turn red, and the cause that their failures must then carry."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass

from splithorizon.diagnosis.causes import Cause
from splithorizon.istio.info import NetworkMode
from splithorizon.mesh.mesh import Mesh
from splithorizon.run.verdict import Verdict

Inject = Callable[[Mesh, ExitStack], None]


@dataclass(frozen=True)
class Fault:
    """One way to break a mesh. ``breaks`` names modules of the suites; one of their tests each must say ``verdict``.

    ``causes`` has for each the id of the cause that its failure must carry. ``spares_local`` tells whether traffic
    within each cluster must stay sound meanwhile, ``modes`` in which network modes there is such a thing to break, and
    ``hangs`` whether requests then wait for nobody, or a log is read for lines that never come, each until its time is
    up.
    """

    name: str
    story: str
    causes: Mapping[str, str]
    inject: Inject
    verdict: Verdict = Verdict.NOT_CONFORMANT
    spares_local: bool = True
    modes: tuple[NetworkMode, ...] = tuple(NetworkMode)
    hangs: bool = False

    @property
    def breaks(self) -> tuple[str, ...]:
        """The behaviours that it must break."""
        return tuple(self.causes)


FAULTS: list[Fault] = []


def fault(
    *breaks: str,
    cause: Cause | None = None,
    causes: Mapping[str, Cause] | None = None,
    verdict: Verdict = Verdict.NOT_CONFORMANT,
    spares_local: bool = True,
    modes: tuple[NetworkMode, ...] = tuple(NetworkMode),
    hangs: bool = False,
) -> Callable[[Inject], Inject]:
    """Register a function as a fault, by its name and docstring; it gets the mesh and the stack of undos.

    The failures of those in ``breaks`` must all carry ``cause``; ``causes`` is for behaviours with another one.
    Raises ValueError where ``breaks`` are named and no cause.
    """
    demanded = {name: given.id for name, given in (causes or {}).items()}
    if breaks:
        if cause is None:
            raise ValueError(f"{', '.join(breaks)}: the cause is missing that their failures must carry")
        demanded = dict.fromkeys(breaks, cause.id) | demanded

    def register(inject: Inject) -> Inject:
        name = inject.__name__.replace("_", "-")
        story = " ".join((inject.__doc__ or "").split())
        FAULTS.append(Fault(name, story, demanded, inject, verdict, spares_local, modes, hangs))
        return inject

    return register
