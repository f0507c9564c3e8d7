"""Reads arguments that several commands take in the same form."""

from __future__ import annotations

import os
from collections.abc import Mapping

from splithorizon.base.errors import UsageProblem

FROM_ENVIRONMENT = "env"
VARIABLES = ("CTX_CLUSTER1", "CTX_CLUSTER2")
"""The contexts of Istio's installation guide, which it exports."""
_FEWEST = 2


def contexts(text: str, environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """The contexts that a text names; ``env`` stands for those of Istio's own instructions. Raises UsageProblem."""
    if text == FROM_ENVIRONMENT:
        if missing := [name for name in VARIABLES if not environment.get(name)]:
            raise UsageProblem(f"{text}: {' and '.join(missing)} not set")
        return tuple(environment[name] for name in VARIABLES)
    named = tuple(name.strip() for name in text.split(","))
    if len(named) < _FEWEST or not all(named):
        raise UsageProblem(f"{text}: at least two contexts are needed, A,B, with a comma between")
    return named


def namespaced_name(text: str) -> tuple[str, str] | None:
    """Namespace and name of ``NAMESPACE/NAME``; None for a text that has not both, or more."""
    namespace, _, name = text.partition("/")
    return (namespace, name) if namespace and name and "/" not in name else None
