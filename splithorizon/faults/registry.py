"""Every fault: what it does, which behaviours it must turn red, and the cause that a failure must then name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass

from splithorizon.mesh.facts import NetworkMode
from splithorizon.mesh.model import Mesh
from splithorizon.verdict import Verdict

Inject = Callable[[Mesh, ExitStack], None]


@dataclass(frozen=True)
class Fault:
    """One way to break a mesh. ``breaks`` names modules of the suites; one of their tests each must say ``verdict``.

    ``causes`` has for each a part of what it then says. ``spares_local`` tells whether traffic within each cluster
    must stay sound meanwhile, ``modes`` in which network modes there is such a thing to break, and ``hangs`` whether
    requests then wait for nobody, or a log is read for lines that never come, each until its time is up.
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
    cause: str = "",
    causes: Mapping[str, str] | None = None,
    verdict: Verdict = Verdict.NOT_CONFORMANT,
    spares_local: bool = True,
    modes: tuple[NetworkMode, ...] = tuple(NetworkMode),
    hangs: bool = False,
) -> Callable[[Inject], Inject]:
    """Register a function as a fault, by its name and docstring; it gets the mesh and the stack of undos.

    Those in ``breaks`` all say ``cause``; ``causes`` is for those that say something else.
    """

    def register(inject: Inject) -> Inject:
        name = inject.__name__.replace("_", "-")
        story = " ".join((inject.__doc__ or "").split())
        said = dict.fromkeys(breaks, cause) | dict(causes or {})
        FAULTS.append(Fault(name, story, said, inject, verdict, spares_local, modes, hangs))
        return inject

    return register
