"""``python -m proof``: a healthy mesh, every fault in turn, and the table of what the checks made of them."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
import types
from collections.abc import Callable, Container, Iterable
from contextlib import ExitStack
from pathlib import Path

from proof import CONTROL, Proven, as_json, missing, table, unsound, verdicts_of
from splithorizon import catalogue, process, report
from splithorizon.catalogue import Profile
from splithorizon.durations import current as durations
from splithorizon.errors import EnvironmentBroke, UsageProblem
from splithorizon.faults import every_fault
from splithorizon.faults.registry import Fault
from splithorizon.mesh.facts import MeshFacts
from splithorizon.mesh.model import Mesh
from splithorizon.options import Options
from splithorizon.progress import Progress
from splithorizon.report import RunReport
from splithorizon.session import Session
from splithorizon.waiting import NotYet, eventually

_REPOSITORY = Path(__file__).resolve().parents[1]
_SUITES = _REPOSITORY / "suites"
_REQUESTS = "100"


class Prover:
    """Holds one mesh, and looks at it with the suite's own command, as a user would."""

    def __init__(self, facts: MeshFacts, folder: Path, reports: Path, progress: Progress) -> None:
        """Describe the mesh to the runs to come."""
        self._facts = folder / "mesh.json"
        self._facts.write_text(facts.to_json())
        self._mesh = Mesh(facts)
        self._reports = reports
        self._progress = progress
        self._runs = 0

    def prove(self, fault: Fault) -> Proven:
        """Break the mesh, wait until the suite says what it must, mend it, wait until it is sound again.

        Raises EnvironmentBroke where the fault cannot be made or the mesh does not heal.
        """
        last: RunReport | None = None

        def detected() -> None:
            nonlocal last
            last = self.look(_beside(fault, _of(Profile.CORE)))
            if lacking := missing(fault, last):
                raise NotYet("; ".join(lacking))

        problems: tuple[str, ...] = ()
        with ExitStack() as undo:
            begun = time.monotonic()
            with self._progress.step(f"{fault.name} detected"):
                fault.inject(self._mesh, undo)
                try:
                    eventually(f"{fault.name} is detected", detected, within=durations().fault_detected)
                except EnvironmentBroke as undetected:
                    problems = (undetected.seen or str(undetected),)
            detected_after = time.monotonic() - begun
        begun = time.monotonic()
        with self._progress.step(f"{fault.name} healed"):
            self.require_sound(durations().fault_healed, _beside(fault, {CONTROL}))
        found = verdicts_of(last) if last else {}
        return Proven(fault, found, detected_after, time.monotonic() - begun, problems)

    def require_sound(self, within: float, modules: Iterable[str]) -> None:
        """Wait until all of these are conformant; raises EnvironmentBroke where one stays otherwise."""

        def sound() -> None:
            if wrong := unsound(self.look(modules)):
                raise NotYet("; ".join(wrong))

        eventually("the mesh is sound", sound, within=within)

    def look(self, modules: Iterable[str]) -> RunReport:
        """Run these modules of the suites; whatever they find is in the report."""
        self._runs += 1
        folder = self._reports / f"{self._runs:03}"
        command = [sys.executable, "-m", "pytest", *modules]
        command += ["--mesh", str(self._facts), "--requests", _REQUESTS]
        command += [f"--report-dir={folder}"]
        process.run(command, within=durations().suite_run, cwd=_REPOSITORY, check=False, log=self._reports / "runs.log")
        if not (folder / report.LATEST / report.NAME).exists():
            raise EnvironmentBroke("a run of the suite left no report", next_command=f"cat {self._reports}/runs.log")
        return report.load(folder / report.LATEST / report.NAME)


def main(arguments: list[str] | None = None) -> int:
    """Prove, print, write; 0 where every fault was detected, 1 where one was not, 10 where the environment broke."""
    asked = _parser().parse_args(arguments)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    progress = Progress(lambda line: print(line, file=sys.stderr, flush=True))
    chosen = [
        fault
        for fault in every_fault()
        if asked.only in fault.name
        and asked.network_mode in fault.modes
        and (asked.disruptive or not _of(Profile.DISRUPTIVE).issuperset(fault.breaks))
    ]
    ending = [fault for fault in chosen if _ends_the_mesh(fault)]
    options = Options(
        provider=asked.provider,
        cluster_name="proof",
        look_before=bool(ending),
        network_mode=asked.network_mode,
        reports=_REPOSITORY / "reports",
    )
    session = Session(options, progress, run_id=f"proof-{time.strftime('%Y%m%d-%H%M%S')}")
    proven: list[Proven] = []
    try:
        facts = session.provision()
        folder = session.report_folder
        prover = Prover(facts, facts.clusters[next(iter(facts.clusters))].kubeconfig.parent, folder, progress)
        with progress.step("the mesh is sound"):
            prover.require_sound(durations().fault_healed, ["suites/", "--profile", Profile.CORE])
        for fault in chosen:
            if fault not in ending:
                proven.append(prover.prove(fault))
        with progress.step("the mesh is sound, by every claim"):
            prover.require_sound(durations().fault_healed, ["suites/"])
        for fault in ending:
            proven.append(prover.prove(fault))
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
    except UsageProblem as problem:
        print(problem, file=sys.stderr)
        return 4
    except EnvironmentBroke as broken:
        print(f"\nINCONCLUSIVE: {broken}", file=sys.stderr)
        return 10
    finally:
        session.close()
        if proven:
            _write(proven, session.report_folder)
    print("\n".join(["", *table(proven), ""]))
    wrong = [f"{one.fault.name}: {problem}" for one in proven for problem in one.problems]
    print(
        "\n".join([*wrong, f"{len(proven) - len({one.split(':')[0] for one in wrong})} of {len(proven)} faults proven"])
    )
    return int(bool(wrong))


def _of(profile: Profile) -> set[str]:
    return {one.name for one in catalogue.behaviours(_SUITES) if one.profile is profile}


def _ends_the_mesh(fault: Fault) -> bool:
    """Whether looking at it takes the mesh away, so that there is nothing else to look at then."""
    return _of(Profile.CLEANUP).issuperset(fault.breaks)


def _beside(fault: Fault, others: set[str]) -> list[str]:
    return _modules({*fault.breaks} if _ends_the_mesh(fault) else {*fault.breaks, *others})


def _modules(behaviours: Container[str]) -> list[str]:
    return [str(one.path) for one in catalogue.behaviours(_SUITES) if one.name in behaviours]


def _write(proven: list[Proven], folder: Path) -> None:
    (folder / "proof.json").write_text(json.dumps([as_json(one) for one in proven], indent=2) + "\n")
    (folder / "proof.md").write_text("```text\n" + "\n".join(table(proven)) + "\n```\n")


def _interrupt(number: int, _: types.FrameType | None) -> None:
    quiet: Callable[..., None] = lambda *_: None  # noqa: E731  # a handler and not SIG_IGN, which children would inherit
    for heard in (signal.SIGINT, signal.SIGTERM):
        signal.signal(heard, quiet)
    raise KeyboardInterrupt(signal.Signals(number).name)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m proof", description="Breaks a mesh in every registered way.")
    parser.add_argument("--only", default="", metavar="TEXT", help="only faults with this in their name")
    parser.add_argument("--provider", choices=("auto", "podman", "docker"), default="auto", help="container engine")
    parser.add_argument("--disruptive", action="store_true", help="also faults of what only disruptive checks see")
    parser.add_argument("--network-mode", choices=("labels", "mesh-networks"), default="labels")
    return parser


if __name__ == "__main__":
    sys.exit(main())
