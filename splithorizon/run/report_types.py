"""The types that the classes of a report are made of."""

from __future__ import annotations

from typing import Annotated, Any

from annotated_types import Ge, MinLen
from pydantic import ConfigDict, Strict

Text = Annotated[str, MinLen(1)]
Seconds = Annotated[float, Ge(0)]
Count = Annotated[int, Ge(0)]
# Strict types: a number is not converted to a text, nor a text to a number.
Number = Annotated[int, Strict()] | Annotated[float, Strict()]
Scalar = Annotated[bool, Strict()] | Number | str | None


def config(**rules: Any) -> ConfigDict:
    """The configuration of a class; the texts below fields describe them. ``rules`` are added to the JSON schema."""
    return ConfigDict(
        extra="forbid",
        use_attribute_docstrings=True,
        ser_json_inf_nan="constants",
        allow_inf_nan=False,
        json_schema_serialization_defaults_required=True,
        json_schema_extra=rules,
    )
