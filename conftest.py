"""The plug-ins of this suite, by name; nothing else belongs here."""

from __future__ import annotations

pytest_plugins = [
    "fixtures.claims",
    "fixtures.options",
    "fixtures.lifecycle",
    "fixtures.selection",
    "fixtures.reporting",
    "fixtures.mesh",
    "fixtures.protocols",
    "fixtures.security",
    "fixtures.changes",
    "fixtures.disruption",
]
