"""The plug-ins of the installed suites: those of the checkout, without what makes clusters."""

from __future__ import annotations

pytest_plugins = [
    "fixtures.behaviours",
    "fixtures.options",
    "fixtures.changes",
    "fixtures.selection",
    "fixtures.start",
    "fixtures.claims",
    "fixtures.evidence",
    "fixtures.topology",
    "fixtures.mesh",
    "fixtures.protocols",
    "fixtures.isolated_changes",
    "fixtures.routing",
    "fixtures.security",
    "fixtures.disruption",
    "fixtures.cleanup",
]
