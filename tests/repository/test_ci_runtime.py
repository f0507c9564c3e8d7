"""The runtime that lets docker run in CI within the limits of the machine: ``.ci/runc-within-bounds``."""

from __future__ import annotations

import runpy
import subprocess
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
CAP_SYS_RESOURCE = 24


def _bounding_set() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1], 16) for line in lines if line.startswith("CapBnd:"))


def test_the_bounded_runtime_cuts_what_this_process_may_not_hand_on() -> None:
    within_bounds = runpy.run_path(str(REPOSITORY / ".ci" / "runc-within-bounds"))["within_bounds"]
    process: dict[str, Any] = {
        "capabilities": {
            "bounding": ["CAP_CHOWN", "CAP_SYS_RESOURCE", "CAP_NO_SUCH_THING"],
            "ambient": None,
        },
        "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1 << 40, "soft": 1 << 40}],
        "oomScoreAdj": -1000,
    }
    within_bounds(process)
    kept = process["capabilities"]["bounding"]
    has = bool(_bounding_set() >> CAP_SYS_RESOURCE & 1)
    assert ("CAP_SYS_RESOURCE" in kept) == has
    assert "CAP_NO_SUCH_THING" not in kept
    assert process["capabilities"]["ambient"] == []
    assert (process["rlimits"][0]["hard"] == 1 << 40) == has
    own = int(Path("/proc/self/oom_score_adj").read_text())
    assert process["oomScoreAdj"] == (-1000 if has else own)


def test_the_bounded_runtime_rewrites_a_bundle_and_hands_everything_on(tmp_path: Path) -> None:
    script = (REPOSITORY / ".ci" / "runc-within-bounds").read_text()
    assert 'RUNC = "/usr/sbin/runc"' in script
    runtime = tmp_path / "runtime"
    runtime.write_text(script.replace('RUNC = "/usr/sbin/runc"', 'RUNC = "/bin/echo"'))
    runtime.chmod(0o755)
    config = tmp_path / "config.json"
    config.write_text('{"process": {"capabilities": {"bounding": ["CAP_NO_SUCH_THING"]}}, "hostname": "kept"}')
    argv = ["--root", "/r", "create", "--bundle", str(tmp_path), "name"]
    done = subprocess.run([runtime, *argv], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == argv
    assert config.read_text() == '{"process": {"capabilities": {"bounding": []}}, "hostname": "kept"}'
