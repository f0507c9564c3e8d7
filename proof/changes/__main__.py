"""``python -m proof.changes``: every change that is made wrongly, each under a watch on one mesh, as JSON."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from threading import Event

from lab import ending
from lab.images import ImageSet
from lab.phased_change import PhasedChange
from lab.provision import Provisioning
from lab.session import LabSession
from lab.suite_run import REPOSITORY
from proof import choice
from proof.changes import FaultyChange, MadeMesh, OneFault, every_fault
from splithorizon.istio.info import MeshInfo
from splithorizon.run.options import Options
from splithorizon.run.progress import Progress
from splithorizon.run.watch_report import WatchReport
from splithorizon.run.watch_results import not_conformant_phases
from splithorizon.run.watching import watch

_RATE = 20


class ProofSession(LabSession):
    """A session that keeps what its mesh was made of."""

    made: MadeMesh

    def _planned_change(
        self, provisioning: Provisioning, info: MeshInfo, target: ImageSet | None
    ) -> PhasedChange | None:
        del target
        self.made = MadeMesh(provisioning.changed_mesh(info), provisioning.installation, provisioning.trust)
        return None


def row(fault: FaultyChange, seen: WatchReport) -> dict[str, object]:
    """What the watch said of one fault: proven where its phase, and no phase before it, is not conformant."""
    named = [name for name in not_conformant_phases(seen) if name != "mended"]
    (phase,) = (one for one in seen.phases if one.name == fault.name)
    return {
        "fault": fault.name,
        "meaning": fault.sentence,
        "proven": named == [fault.name],
        "not_conformant": named,
        "lost": {route.route: f"{route.lost} of {route.sent}" for route in phase.routes},
        "core": phase.core,
        "refuted": list(phase.refuted),
    }


def main(arguments: list[str] | None = None) -> int:
    """Run and write; 0 where each is proven, 1 where one is not, 4 for bad input, 10 where the environment broke."""
    asked = _parser().parse_args(arguments)
    if not (chosen := choice.chosen(every_fault(), asked.only)):
        return ending.MISUSED
    ending.interrupt_on_first_signal()
    options = Options(cluster_name=asked.cluster_name, reports=REPOSITORY / "reports", rate=_RATE)
    session = ProofSession(options, Progress(print), run_id=f"changes-{time.strftime('%Y%m%d-%H%M%S')}")
    rows: list[dict[str, object]] = []

    def run() -> None:
        info = session.provision()
        for fault in chosen:
            change = OneFault(session.made.mesh, session.made, fault, reports=session.report_folder / fault.name)
            rows.append(row(fault, watch(info, options, session.progress, Event(), change)))
            print(json.dumps(rows[-1]), flush=True)
            if change.broken is not None:
                raise change.broken

    try:
        status = ending.status_of(run)
    finally:
        session.close()
    asked.output.write_text(json.dumps(rows, indent=2) + "\n")
    return status or int(not all(one["proven"] for one in rows))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m proof.changes", description=__doc__)
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="these faults alone")
    parser.add_argument("--cluster-name", default="changes", help="prefix of the clusters' names")
    parser.add_argument("--output", type=Path, default=Path("changes.json"), help="where the result goes")
    return parser


if __name__ == "__main__":
    sys.exit(main())
