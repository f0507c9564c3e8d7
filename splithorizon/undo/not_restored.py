"""An object of a mesh that a run did not restore, by failure or because somebody else changed it meanwhile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import MinLen


@dataclass(frozen=True)
class NotRestored:
    """One object of a mesh whose state differs from the state before the run."""

    # Pydantic configuration for the report, which contains these objects.
    __pydantic_config__: ClassVar[Mapping[str, object]] = {"extra": "forbid", "use_attribute_docstrings": True}

    object: Annotated[str, MinLen(1)]
    """Kind, namespace and name, and the cluster."""
    reason: Annotated[str, MinLen(1)]
    """Why it is not restored. Values of a Secret are shown as digests only."""
    command: str = ""
    """The command that restores the object, or shows it if somebody else changed it."""
    pending: bool = True
    """Whether it has still to be restored; false if somebody else changed it meanwhile, so that it was left alone."""
