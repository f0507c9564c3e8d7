"""A run that noted in its journal what it was about to create, and was killed."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.child_python import line_of, running

_RUN = """
import json, signal, sys
from pathlib import Path
from splithorizon.run.journal import Journal
base, run, facts, *entries = sys.argv[1:]
journal = Journal.open(run, Path(base))
(journal.folder / "primary.kubeconfig").touch()
for entry in entries:
    kind, _, name = entry.partition("=")
    journal.will_create(kind, name, **json.loads(facts))
print("up", flush=True)
signal.pause()
"""


def killed(base: Path, run: str, *entries: str, **facts: str) -> Path:
    """The folder of the run; ``entries`` are ``kind=name``, each with the facts."""
    with running(_RUN, str(base), run, json.dumps(facts), *entries) as child:
        assert line_of(child) == "up"
    return base / run
