"""``python -m proof``: healthy meshes, every fault in turn on one of them, and the table of what the checks said."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import deque
from collections.abc import Callable, Container, Iterable, Set
from contextlib import ExitStack
from functools import cache, partial
from pathlib import Path

import splithorizon
from lab import ending, preflight, suite_run
from lab.session import LabSession, disk_gib, memory_gib
from lab.suite_run import REPOSITORY
from proof import (
    CONTROL,
    Proven,
    account,
    apart,
    as_json,
    cause_ids_of,
    choice,
    core_seconds_of,
    missing,
    peers,
    root_causes_of,
    table,
    together,
    undiagnosed,
    unsound,
    verdicts_of,
)
from proof.faults import every_fault
from proof.faults.registry import UNSEEN, Fault
from proof.peers import Comparison, Judged
from splithorizon.base import process
from splithorizon.base.errors import Cancelled, EnvironmentBroke, UsageProblem
from splithorizon.base.timeouts import current as timeouts
from splithorizon.base.waiting import NotYet, eventually
from splithorizon.istio.topology import Topology
from splithorizon.mesh import injection
from splithorizon.mesh.mesh import Mesh
from splithorizon.run import catalogue
from splithorizon.run.catalogue import Profile
from splithorizon.run.options import Options
from splithorizon.run.progress import Progress
from splithorizon.run.report import RunReport
from splithorizon.run.verdict import Verdict

Take = Callable[[deque[Fault]], Fault]

_SUITES = REPOSITORY / "suites"
_REQUESTS = "100"
# For what, with a fault, is waited for and does not come: enough for whatever does.
_DISRUPTED = ("--timeout-scale", "0.4")


class Prover:
    """Holds one mesh, and judges it by the suite's own command, as a user would."""

    def __init__(self, session: LabSession, comparison: Comparison | None = None) -> None:
        """Describe the session's mesh to the runs to come; with a ``comparison`` others are asked too."""
        info = session.provision()
        self._mesh_file = info.clusters[next(iter(info.clusters))].kubeconfig.with_name("mesh.json")
        self._mesh_file.write_text(info.to_json())
        self._mesh = Mesh(info)
        self._reports = session.report_folder
        self._progress = session.progress
        self._comparison = comparison
        self._said_of_the_sound: dict[str, tuple[str, ...]] = {}
        self._runs = 0

    def prove(self, fault: Fault) -> Proven:
        """Break the mesh, wait until the suite says what it must, mend it, wait until it is sound again.

        Raises EnvironmentBroke where the fault cannot be made or the mesh does not heal.
        """
        last: RunReport | None = None

        def detected() -> None:
            nonlocal last
            others = {CONTROL} if _disrupts(fault) else _of(Profile.CORE)
            last = self.run_suite(_beside(fault, others), disrupted=_disrupts(fault))
            if lacking := [*missing(fault, last), *undiagnosed(fault, last)]:
                raise NotYet("; ".join(lacking))

        problems: tuple[str, ...] = ()
        with ExitStack() as undo:
            begun = time.monotonic()
            with self._progress.step(f"{fault.name} detected"):
                fault.inject(self._mesh, undo)
                try:
                    eventually(f"{fault.name} is detected", detected, within=timeouts().fault_detected)
                except EnvironmentBroke as undetected:
                    problems = (undetected.seen or str(undetected),)
            detected_after = time.monotonic() - begun
            judged = self._ask_others(fault)
        begun = time.monotonic()
        with self._progress.step(f"{fault.name} healed"):
            self._require_healed(fault)
        found = verdicts_of(last) if last else {}
        carried = cause_ids_of(fault, last) if last else {}
        named = root_causes_of(last) if last else ()
        core = core_seconds_of(last) if last else None
        healed_after = time.monotonic() - begun
        if self._comparison is not None and judged:
            # Not before: of a fault that did not get this far there is no answer of the suite to compare with.
            self._comparison.faults.setdefault(fault.name, judged)
        return Proven(fault, found, detected_after, healed_after, problems, carried, named, core, judged)

    def ask_others_of_the_sound_mesh(self) -> None:
        """Keep what others say of the mesh without a fault: what they say with one is compared with it."""
        if self._comparison is None:
            return
        with self._progress.step("others asked of the sound mesh"):
            self._said_of_the_sound = peers.ask(self._mesh)
        for name, said in self._said_of_the_sound.items():
            self._comparison.sound[name] = tuple(dict.fromkeys((*self._comparison.sound.get(name, ()), *said)))

    def _ask_others(self, fault: Fault) -> dict[str, Judged]:
        # A control breaks nothing that anybody could notice, and uninstalling takes away who could be asked.
        if self._comparison is None or fault.sound or _ends_the_mesh(fault):
            return {}
        with self._progress.step(f"{fault.name}: others asked"):
            return peers.judge(fault, peers.ask(self._mesh), self._said_of_the_sound)

    def require_sound(self, modules: Iterable[str]) -> None:
        """Wait until all of these are conformant; raises EnvironmentBroke where one stays otherwise."""

        def sound() -> None:
            if wrong := unsound(self.run_suite(modules)):
                raise NotYet("; ".join(wrong))

        eventually("the mesh is sound", sound, within=timeouts().fault_healed)

    def _require_healed(self, fault: Fault) -> None:
        if not _disrupts(fault):
            self.require_sound(_beside(fault, {CONTROL}))
            return
        # The core looks at the pods that there are; the next disruption asks for new ones.
        for cluster in self._mesh:
            injection.await_injection(cluster)
        self.require_sound(_modules(_of(Profile.CORE)))

    def run_suite(self, modules: Iterable[str], *, disrupted: bool = False) -> RunReport:
        """Run these modules of the suites, and return the report whatever the verdict.

        ``disrupted`` where disruptive checks among them will wait for what, with their fault, does not come.
        """
        self._runs += 1
        # The proof breaks a mesh on purpose, hundreds of times.
        arguments = [*modules, "--requests", _REQUESTS, "--diagnostics", "never"]
        arguments += [*_DISRUPTED, "--fault-stays"] if disrupted else []
        return suite_run.judged(
            self._mesh_file,
            arguments,
            folder=self._reports / f"{self._runs:03}",
            log=self._reports / "runs.log",
            within=timeouts().disruptive_test if disrupted else timeouts().suite_run,
        )


class Proof:
    """Every fault that was chosen, shared out among meshes side by side: each takes the next free one.

    Those of disruptive behaviours stand first, once for each of them: one that is refuted leaves a mesh, with the fault
    still in it, unfit for the next. They mostly wait, the others mostly compute, so every other mesh takes the last;
    and what the core sees, which is the quickest, comes where they meet.
    """

    def __init__(
        self, chosen: Iterable[Fault], sessions: Iterable[LabSession], comparison: Comparison | None = None
    ) -> None:
        """Plan; nothing is created yet. With a ``comparison`` others are asked of each fault as well."""
        chosen = list(chosen)
        disrupting = [part for fault in chosen if _disrupts(fault) for part in apart(fault)]
        self._sessions = tuple(sessions)
        passing = sorted((one for one in chosen if not (_disrupts(one) or _ends_the_mesh(one))), key=_beyond_the_core)
        self.passing = deque([*disrupting, *passing])
        self.ending = deque(filter(_ends_the_mesh, chosen))
        self.proven: list[Proven] = []
        self._comparison = comparison
        self._reason: EnvironmentBroke | UsageProblem | None = None

    def run(self) -> None:
        """Prove all of them; raises what kept the first mesh from going on, once the others have stopped too."""
        try:
            process.side_by_side(
                **{
                    session.run_id: partial(self._work, session, deque.pop if number % 2 else deque.popleft)
                    for number, session in enumerate(self._sessions)
                }
            )
        except Cancelled:
            # Those that were stopped say no more than that.
            if self._reason is None:
                raise
            raise self._reason from None

    def _work(self, session: LabSession, take: Take) -> None:
        try:
            prover = Prover(session, self._comparison)
            with session.progress.step("the mesh is sound"):
                prover.require_sound(["suites/", "--profile", Profile.CORE])
            prover.ask_others_of_the_sound_mesh()
            self._prove(prover, self.passing, take)
            if self._reason:
                return
            with session.progress.step("the mesh is sound, once all faults are gone"):
                prover.require_sound(["suites/", "--profile", Profile.CORE])
            self._prove(prover, self.ending, take)
        except BaseException as error:
            if isinstance(error, EnvironmentBroke | UsageProblem):
                self._reason = self._reason or error
            self.passing.clear()
            self.ending.clear()
            raise

    def _prove(self, prover: Prover, faults: deque[Fault], take: Take) -> None:
        while True:
            try:
                # Asking first whether there is one would let another mesh take it meanwhile.
                fault = take(faults)
            except IndexError:
                return
            self.proven.append(prover.prove(fault))


def main(arguments: list[str] | None = None) -> int:
    """Prove, print, write; 0 where every fault was detected, 10 where the environment broke.

    1 where a fault was not detected, or a behaviour names a fault that does not refute it.
    """
    asked = _parser().parse_args(arguments)
    if (shape := choice.shape(asked.topology)) is None:
        return ending.MISUSED
    chosen = asked_for(asked, shape)
    if not chosen or asked.meshes < 1:
        option = f"--only {' --only '.join(asked.only or [''])}" if not chosen else f"--meshes {asked.meshes}"
        print(f"{option}: nothing to prove. Nothing was created.", file=sys.stderr)
        return ending.MISUSED
    ending.interrupt_on_first_signal()
    name = f"proof-{time.strftime('%Y%m%d-%H%M%S')}"
    reports = REPOSITORY / "reports" / name
    sessions = [
        LabSession(
            Options(
                provider=asked.provider,
                cluster_name=f"{asked.cluster_name}-{number}",
                snapshot_before_install=any(map(_ends_the_mesh, chosen)),
                network_mode=asked.network_mode,
                topology=shape,
                reports=reports,
            ),
            Progress(partial(_say, number)),
            run_id=f"{name}-{number}",
        )
        for number in range(1, min(asked.meshes, len(chosen)) + 1)
    ]
    comparison = Comparison() if asked.peers else None
    proof = Proof(chosen, sessions, comparison)

    def run() -> None:
        # Each session checks for its own needs only: all of them together may need more than there is.
        clusters = len(shape.clusters)
        preflight.require_memory(memory_gib(clusters) * len(sessions))
        preflight.require_disk({Path("/var"): disk_gib(clusters) * len(sessions)})
        proof.run()

    try:
        if status := ending.status_of(run):
            return status
    finally:
        # Before the meshes go: should removing them fail, what was seen is kept.
        if proof.proven:
            _write(together(proof.proven), reports)
            if comparison:
                _compare(comparison, together(proof.proven), sessions, reports)
        process.side_by_side(**{session.run_id: session.close for session in sessions})
    names = [fault.name for fault in chosen]
    return _print(sorted(together(proof.proven), key=lambda one: names.index(one.fault.name)), shape)


def asked_for(asked: argparse.Namespace, shape: Topology) -> list[Fault]:
    """The faults that the options ask for and that exist in the shape, as they are in it."""
    return [
        fault.in_shape(shape)
        for fault in every_fault()
        if fault.assumes.holds(shape)
        and any(text in fault.name for text in asked.only or [""])
        and asked.network_mode in fault.modes
        and (asked.disruptive or not _disrupts(fault))
    ]


def _print(proven: list[Proven], shape: Topology) -> int:
    """Print the table and what is wrong with the proof; 0 where nothing is, else 1."""
    print("\n".join(["", *table(proven), ""]))
    lines, sound = account(proven, catalogue.behaviours(_SUITES))
    print("\n".join(lines))
    for fault in every_fault():
        if not fault.assumes.holds(shape):
            print(f"means nothing in this topology: {fault.name}: it assumes {fault.assumes}")
    for unseen, reason in UNSEEN.items():
        print(f"not seen by any behaviour yet: {unseen}: {reason}")
    return int(not sound)


def _say(mesh: int, line: str) -> None:
    print(f"mesh {mesh} {line}", file=sys.stderr, flush=True)


@cache
def _of(profile: Profile) -> frozenset[str]:
    return frozenset(one.name for one in catalogue.behaviours(_SUITES) if one.profile is profile)


def _disrupts(fault: Fault) -> bool:
    """Whether only disruptive behaviours see it, each of which takes minutes until it gives up."""
    return bool(fault.breaks) and _of(Profile.DISRUPTIVE).issuperset(fault.breaks)


def _beyond_the_core(fault: Fault) -> bool:
    return not _of(Profile.CORE).issuperset(fault.breaks)


def _ends_the_mesh(fault: Fault) -> bool:
    """Whether looking at it takes the mesh away, so that there is nothing else to look at then."""
    return bool(fault.breaks) and _of(Profile.CLEANUP).issuperset(fault.breaks)


def _beside(fault: Fault, others: Set[str]) -> list[str]:
    """The others first: meanwhile the fault takes effect."""
    return _modules(set() if _ends_the_mesh(fault) else others - {*fault.breaks}) + _modules(fault.breaks)


def _modules(behaviours: Container[str]) -> list[str]:
    return [str(one.path) for one in catalogue.behaviours(_SUITES) if one.name in behaviours]


def _write(proven: list[Proven], folder: Path) -> None:
    (folder / "proof.json").write_text(json.dumps([as_json(one) for one in proven], indent=2) + "\n")
    (folder / "proof.md").write_text("```text\n" + "\n".join(table(proven)) + "\n```\n")


def _compare(comparison: Comparison, proven: Iterable[Proven], sessions: Iterable[LabSession], folder: Path) -> None:
    """Write what others noticed; ``python -m docs.peers`` puts the totals into the README."""
    ours = {
        one.fault.name: sorted(one.root_causes) == sorted((one.fault.root_cause, *one.fault.beside))
        for one in proven
        if one.root_causes or Verdict.NOT_CONFORMANT in one.verdicts.values()
    }
    versions = next((session.info.versions for session in sessions if session.info), {})
    content = comparison.as_json({**versions, "splithorizon": splithorizon.__version__}, ours)
    (folder / "peers.json").write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m proof", description="Breaks a mesh in every registered way.")
    parser.add_argument(
        "--only",
        action="append",
        metavar="TEXT",
        help="only faults with this in their name; given several times, with any of the texts",
    )
    parser.add_argument("--provider", choices=("auto", "podman", "docker"), default="auto", help="container engine")
    parser.add_argument(
        "--disruptive",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="also faults of what only disruptive checks see, some minutes each (the default)",
    )
    parser.add_argument(
        "--peers",
        action="store_true",
        help="also ask istioctl analyze, remote-clusters, proxy-status and ten curls of each fault; see peers.json",
    )
    parser.add_argument("--meshes", type=int, default=2, metavar="N", help="number of meshes side by side (default 2)")
    parser.add_argument(
        "--cluster-name", default="proof", metavar="PREFIX", help="the clusters' names begin with it (default proof)"
    )
    parser.add_argument("--network-mode", choices=("labels", "mesh-networks"), default="labels")
    parser.add_argument(
        "--topology", default="primary-remote", metavar="NAME|FILE", help="shape of the meshes (manifests/topologies/)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
