"""Split-horizon EDS, proven: the library behind the suites, without any pytest in it."""

from __future__ import annotations

__version__ = "0.1.0"
