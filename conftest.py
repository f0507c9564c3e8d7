"""The plug-ins of this suite, by name; nothing else belongs here."""

from __future__ import annotations

pytest_plugins = [
    "fixtures.options",
    "fixtures.lifecycle",
    "fixtures.reporting",
    "fixtures.mesh",
    "fixtures.claims",
    "fixtures.changes",
]
