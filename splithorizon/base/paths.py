"""Where the files lie that come with the code: in a checkout, and in an installation."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]
_BUNDLE = _PACKAGE / "_bundle"

INSTALLED = _BUNDLE.is_dir()
"""Whether this code comes from the wheel. A checkout has no bundle, also where it is installed as editable."""
ROOT = _BUNDLE if INSTALLED else _PACKAGE.parent
"""The folder of the suites, manifests and schema; below it both layouts are alike."""
SUITES = ROOT / "suites"
MANIFESTS = ROOT / "manifests"
"""The plain YAML files, as a person would apply them."""
SCHEMA = ROOT / "reports" / "report.schema.json"
PYTEST_CONFIGURATION = ROOT / ("pytest.toml" if INSTALLED else "pyproject.toml")
