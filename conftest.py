"""The plug-ins of this suite, by name; nothing else belongs here."""

from __future__ import annotations

pytest_plugins = [
    "fixtures.behaviours",
    "fixtures.lab",
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
