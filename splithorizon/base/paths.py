"""Where the files lie that come with the code."""

from __future__ import annotations

from pathlib import Path

MANIFESTS = Path(__file__).resolve().parents[2] / "manifests"
"""The plain YAML files, as a person would apply them."""
