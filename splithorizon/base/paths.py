"""Folders that come with the code."""

from __future__ import annotations

from pathlib import Path

MANIFESTS = Path(__file__).resolve().parents[2] / "manifests"
"""The manifests: plain YAML files for ``kubectl apply``."""
