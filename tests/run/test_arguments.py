from __future__ import annotations

import pytest

from splithorizon.base.errors import UsageProblem
from splithorizon.run import arguments


def test_env_takes_the_variables() -> None:
    variables = {"CTX_CLUSTER1": "east", "CTX_CLUSTER2": "west"}
    assert arguments.contexts("env", variables) == ("east", "west")
    with pytest.raises(UsageProblem, match="env: CTX_CLUSTER2 not set"):
        arguments.contexts("env", {"CTX_CLUSTER1": "east"})


def test_contexts_are_two_or_more() -> None:
    assert arguments.contexts("east, west,north") == ("east", "west", "north")
    for text in ("east", "east,", ""):
        with pytest.raises(UsageProblem, match="at least two contexts are needed"):
            arguments.contexts(text)


@pytest.mark.parametrize("text", ["shop", "/checkout", "shop/", "shop/checkout/v2", ""])
def test_a_namespace_and_a_name_are_needed(text: str) -> None:
    assert arguments.namespaced_name("shop/checkout") == ("shop", "checkout")
    assert arguments.namespaced_name(text) is None
