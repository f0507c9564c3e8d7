"""How long the machine tests wait. None of them times: what takes two minutes on an idle machine took eight once."""

from __future__ import annotations

HANGS_AFTER = 1200
"""Seconds after which whatever a test started or waits for counts as hanging."""
STOPPED_WITHIN = 300
"""Seconds that a run which a failed test left has to remove what it made."""
