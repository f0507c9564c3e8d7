"""``python -m proof.blind``: the blind faults of a shape in turn on one mesh; what core says of each, as JSON."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from lab import ending, suite_run
from lab.session import LabSession
from lab.suite_run import REPOSITORY
from lab.topology import node_of
from proof import choice
from proof.blind import DEFAULT_SHAPE, FOLDER, BlindFault, every_fault, row
from splithorizon.base import process
from splithorizon.base.errors import EnvironmentBroke
from splithorizon.base.timeouts import current as timeouts
from splithorizon.base.waiting import NotYet, eventually
from splithorizon.run.options import Options
from splithorizon.run.progress import Progress
from splithorizon.run.report import RunReport
from splithorizon.run.verdict import Verdict

_ALL = ("suites/",)
_FEW_REQUESTS = "200"
# Between two faults: what all of them break. The whole core is asked before the first and after the last.
_TRAFFIC = (
    "suites/readiness",
    "suites/routing/test_both_versions_answer.py",
    "suites/routing/test_each_version_takes_its_own_path.py",
)
# What --short asks: a run takes a minute where the whole core takes four on a loaded machine.
_SHORT = (
    *_TRAFFIC,
    "suites/discovery/test_endpoints_are_near_pods_and_the_far_gateway.py",
    "suites/latent/test_new_pods_are_injected.py",
)


class Runner:
    """Holds one mesh, breaks it by the scripts, and asks the suite's own command about it."""

    def __init__(self, session: LabSession, profile: str, *, short: bool = False) -> None:
        """Make or attach to the session's mesh; ``short`` asks fewer modules, with fewer requests."""
        info = session.provision()
        clusters = info.clusters
        folder = clusters[next(iter(clusters))].kubeconfig.parent
        self._mesh_file = folder / "mesh.json"
        self._mesh_file.write_text(info.to_json())
        self._state = folder / "blind"
        self._state.mkdir(mode=0o700, exist_ok=True)
        self._environment = {
            "KUBECONFIG": ":".join(str(one.kubeconfig) for one in clusters.values()),
            **{name.upper(): f"kind-{one.context}" for name, one in clusters.items()},
            **{f"{name.upper()}_NODE": node_of(one.context) for name, one in clusters.items()},
            "ENGINE": info.provider,
            "STATE": str(self._state),
        }
        self._asked = _SHORT if short else _ALL
        self._options = ["--profile", profile, "--diagnostics", "never"]
        if short:
            self._options += ["--requests", _FEW_REQUESTS]
        self._reports = session.report_folder
        self._log = self._reports / "blind.log"
        self._runs = 0

    def run_suite(self, name: str, modules: tuple[str, ...] = ()) -> RunReport:
        """Run these modules, or all that are asked; the report stays in a folder of that name.

        Raises EnvironmentBroke where there is none.
        """
        self._runs += 1
        return suite_run.judged(
            self._mesh_file,
            [*(modules or self._asked), *self._options],
            folder=self._reports / f"{self._runs:03}-{name}",
            log=self._log,
            within=timeouts().suite_run,
        )

    def require_sound(self, after: str, modules: tuple[str, ...] = ()) -> None:
        """Wait until these modules refute nothing; raises EnvironmentBroke where one still does when time is up."""

        def sound() -> None:
            said = self.run_suite(f"sound-{after}", modules)
            # Some modules of the core alone are a partial run of it.
            if said.verdict not in (Verdict.CONFORMANT, Verdict.PARTIAL):
                raise NotYet(f"{said.verdict.value}: {said.diagnosis or said.undiagnosed or said.inconclusive_reason}")

        eventually("the mesh is sound", sound, within=timeouts().fault_healed)

    def run(self, fault: BlindFault) -> dict[str, object]:
        """Inject, run the suite, undo, wait until the mesh is sound; return what was said, and how long it took."""
        said, problem = None, ""
        try:
            self._call(fault, "inject")
            begun = time.monotonic()
            said = self.run_suite(fault.name)
            seconds = round(time.monotonic() - begun, 1)
        except EnvironmentBroke as failed:
            problem, seconds = str(failed), 0.0
        finally:
            self._call(fault, "undo")
        self.require_sound(fault.name, _TRAFFIC)
        return {**row(fault, said, problem=problem), "seconds": seconds}

    def _call(self, fault: BlindFault, act: str) -> None:
        script = str(FOLDER / fault.script.name)
        process.run(["sh", script, act], within=timeouts().suite_run, env=self._environment, log=self._log)


def main(arguments: list[str] | None = None) -> int:
    """Run and write; 0 where every fault was run, 4 for bad input, 10 where the environment broke."""
    asked = _parser().parse_args(arguments)
    if (shape := choice.shape(asked.topology)) is None:
        return ending.MISUSED
    of_shape = [fault for fault in every_fault() if fault.shape == asked.topology]
    if not (chosen := choice.chosen(of_shape, asked.only)):
        return ending.MISUSED
    ending.interrupt_on_first_signal()
    options = Options(
        cluster_name=asked.cluster_name,
        topology=shape,
        reuse=asked.reuse,
        keep=asked.keep,
        reports=REPOSITORY / "reports",
    )
    name = f"blind-{time.strftime('%Y%m%d-%H%M%S')}"
    session = LabSession(options, Progress(_say), run_id=name)
    rows: list[dict[str, object]] = []

    def run() -> None:
        runner = Runner(session, asked.profile, short=asked.short)
        runner.require_sound("start")
        for fault in chosen:
            rows.append(runner.run(fault))
            asked.output.write_text(json.dumps(rows, indent=2) + "\n")
            _say(f"{fault.name}: {_summary(rows[-1])}")
        runner.require_sound("end")

    try:
        return ending.status_of(run)
    finally:
        session.close()


def _summary(one: dict[str, object]) -> str:
    diagnosis = one.get("diagnosis")
    named = diagnosis["cause_id"] if isinstance(diagnosis, dict) else one.get("undiagnosed") or one["problem"]
    return f"{one.get('verdict', 'not run')}; {named or 'nothing named'}"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m proof.blind", description="Breaks a mesh in every blind way.")
    parser.add_argument("--only", nargs="*", default=[], metavar="NAME", help="only these faults, in this order")
    parser.add_argument("--profile", default="core", help="what the suite is asked (default core)")
    parser.add_argument("--short", action="store_true", help="ask readiness, traffic, endpoints and injection alone")
    parser.add_argument("--topology", default=DEFAULT_SHAPE, metavar="NAME", help="the shape that faults are asked for")
    parser.add_argument("--cluster-name", default="blind", metavar="NAME", help="prefix of the clusters' names")
    parser.add_argument("--reuse", action="store_true", help="a mesh that was kept, instead of a new one")
    parser.add_argument("--keep", action="store_true", help="keep the mesh for another --reuse")
    parser.add_argument("--output", type=Path, default=Path("blind.json"), help="where the result is written, as JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
