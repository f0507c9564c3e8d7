"""``python -m proof.by_hand NAME --mesh FILE``: one fault on a mesh that stands, and what the suite makes of it.

For what the proof leaves out: disruptive behaviours take minutes when they fail, and are looked at one by one.
"""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import ExitStack
from pathlib import Path

from proof import CONTROL, missing
from splithorizon import catalogue, process, report, soundness
from splithorizon.durations import current as durations
from splithorizon.faults import every_fault
from splithorizon.mesh.facts import MeshFacts
from splithorizon.mesh.model import Mesh

_REPOSITORY = Path(__file__).resolve().parents[1]


def main(arguments: list[str] | None = None) -> int:
    """Break, look once, mend, wait until the mesh is sound; 0 where the fault was detected with its causes."""
    asked = _parser().parse_args(arguments)
    (fault,) = (fault for fault in every_fault() if fault.name == asked.name)
    mesh = Mesh(MeshFacts.from_json(asked.mesh.read_text()))
    behaviours = {asked.behaviour} if asked.behaviour else set(fault.breaks)
    known = catalogue.behaviours(_REPOSITORY / "suites")
    paths = [str(one.path) for one in known if one.name in behaviours | {CONTROL}]
    command = [sys.executable, "-m", "pytest", "-q", *paths, "--mesh", str(asked.mesh), "--requests", "100"]
    command += [f"--report-dir={asked.reports}", f"--timeout-scale={asked.timeout_scale}", "-o", "timeout=900"]
    with ExitStack() as undo:
        undo.callback(soundness.await_sound, mesh)
        fault.inject(mesh, undo)
        done = process.run(command, within=durations().suite_run * 4, cwd=_REPOSITORY, check=False)
    print(done.stdout)
    found = report.load(asked.reports / report.LATEST / report.NAME)
    lacking = [problem for problem in missing(fault, found) if any(name in problem for name in behaviours | {CONTROL})]
    print(json.dumps({"fault": fault.name, "looked_at": sorted(behaviours), "lacking": lacking}, indent=2))
    return int(bool(lacking))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m proof.by_hand", description="One fault on a mesh that stands.")
    parser.add_argument("name", choices=[fault.name for fault in every_fault()], metavar="NAME")
    parser.add_argument("--mesh", type=Path, required=True, help="mesh.json of a mesh that another process holds")
    parser.add_argument("--behaviour", default="", help="only this one of those that the fault breaks")
    parser.add_argument("--reports", type=Path, default=_REPOSITORY / "reports" / "by-hand")
    parser.add_argument("--timeout-scale", type=float, default=0.5, help="less waiting for what will not come")
    return parser


if __name__ == "__main__":
    sys.exit(main())
