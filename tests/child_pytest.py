"""Another pytest, which sees no engine, no cache and no run of this machine's user."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]


def pytest_in(folder: Path, *arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    """Run pytest in a folder; whatever it would keep for the user is below ``home``."""
    bare = home / "bin"
    bare.mkdir(parents=True, exist_ok=True)
    own = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTEST", "DOCKER", "CONTAINER", "KIND_", "XDG_", "CTX_"))
    }
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
        cwd=folder,
        env={
            **own,
            "HOME": str(home),
            # Neither docker nor podman nor apt-get: nothing can be created even by mistake.
            "PATH": str(bare),
            "PYTHONPATH": str(REPOSITORY),
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
