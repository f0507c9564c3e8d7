"""What a run could not put back in a mesh, or left alone because somebody else had changed it meanwhile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import MinLen


@dataclass(frozen=True)
class NotRestored:
    """One object of a mesh that is not as it was before the run."""

    # For the report, which takes it as it is.
    __pydantic_config__: ClassVar[Mapping[str, object]] = {"extra": "forbid", "use_attribute_docstrings": True}

    object: Annotated[str, MinLen(1)]
    """Kind, namespace and name, and the cluster."""
    reason: Annotated[str, MinLen(1)]
    """Why it is not as it was; values of a Secret by digest alone."""
    command: str = ""
    """The command that restores it or, where it was left alone, shows it."""
    pending: bool = True
    """Whether it is still to be restored; false where somebody else changed it meanwhile, and it was left alone."""
