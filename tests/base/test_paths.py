"""Where the files lie in a checkout; tests/repository/test_wheel.py asks an installation the same."""

from __future__ import annotations

from splithorizon.base import paths
from tests.support.repository import REPOSITORY


def test_a_checkout_is_its_own_root() -> None:
    assert (paths.INSTALLED, paths.ROOT) == (False, REPOSITORY)
    for found in (paths.SUITES, paths.MANIFESTS, paths.SCHEMA, paths.PYTEST_CONFIGURATION):
        assert found.exists()
