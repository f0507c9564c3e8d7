"""``python -m bench``: measures the procedure by hand and the suite, and prints the ratio, unless a run fails.

``python -m bench scale`` is ``bench.scale``.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from bench import (
    Half,
    Pair,
    as_json,
    cores_worked,
    median_run,
    scale,
    steps_by_hand,
    steps_of_suite,
    table,
    where_time_went,
)
from lab import ending, kind, topology
from lab.engine import Engine, network
from lab.engine.find import find_engine
from lab.images import ImageSet, supply
from lab.sweep import sweep_dead
from lab.topology import Topology
from splithorizon.base import process
from splithorizon.base.errors import EnvironmentBroke, UsageProblem
from splithorizon.run import report, report_file
from splithorizon.run.journal import Journal
from splithorizon.run.options import Options
from splithorizon.run.progress import Progress
from splithorizon.run.verdict import Verdict

_REPOSITORY = Path(__file__).resolve().parents[1]
_REPORTS = _REPOSITORY / "reports"
# Several times the duration of a run on two busy cores. A run that hangs ends the measurement.
_HALF_WITHIN = 1800.0
_HEARTBEAT = 30.0
# Istio's instructions set these variables, possibly for a mesh that is not to be measured.
_NO_CONTEXTS = {"CTX_CLUSTER1": "", "CTX_CLUSTER2": ""}


@dataclass(frozen=True)
class Bench:
    """The engine, images and programs that both kinds of runs use."""

    options: Options
    engine: Engine
    images: ImageSet
    plan: Topology
    folder: Path
    """For keys and kubeconfigs; removed after the measurement."""
    reports: Path
    """For the output of the runs and the suite's reports; kept."""
    progress: Progress

    def by_hand(self, number: int) -> Half:
        """Run the procedure by hand once. Raises EnvironmentBroke if it fails."""
        folder = self.folder / f"by-hand-{number}"
        folder.mkdir(mode=0o700)
        environment = {
            **self.engine.environment,
            **environment_by_hand(self.engine, self.images, self.plan, folder),
        }
        script = ["bash", str(_REPOSITORY / "bench" / "by_hand.sh")]
        log = self.reports / f"by-hand-{number}.log"
        # Otherwise kind would create a network that nothing removes.
        self.engine.make_network(self.engine.network)
        begun = _cores_worked()
        with self.progress.step(f"by-hand-{number}"):
            done = process.run(script, within=_HALF_WITHIN, env=environment, cwd=folder, log=log)
        return Half(done.seconds, _cores_worked() - begun, steps_by_hand(done.stdout))

    def suite(self, name: str) -> Half:
        """Run the suite once. Raises EnvironmentBroke if the verdict is not conformant."""
        reports = self.reports / name
        # Other profiles have no counterpart in the procedure by hand.
        command = [sys.executable, "-m", "pytest", "suites/", "--images", "built", "--profile", "core"]
        command += ["--provider", self.options.provider, "--cluster-name", self.options.cluster_name]
        command += ["--report-dir", str(reports)]
        log = self.reports / f"{name}.log"
        begun = _cores_worked()
        with self.progress.step(name):
            done = process.run(command, within=_HALF_WITHIN, env=_NO_CONTEXTS, cwd=_REPOSITORY, log=log)
        worked = _cores_worked() - begun
        result = report_file.load(reports / report_file.LATEST / report_file.NAME)
        if result.verdict is not Verdict.CONFORMANT:
            raise EnvironmentBroke(f"the suite's verdict is {result.verdict}", next_command=f"cat {log}")
        return Half(done.seconds, worked, steps_of_suite(result))


def environment_by_hand(engine: Engine, images: ImageSet, plan: Topology, folder: Path) -> Mapping[str, str]:
    """The environment of ``by_hand.sh``. Writes the configurations of both kind clusters into the folder."""
    told = {
        "ENGINE": str(engine.command),
        "KIND": str(images.kind),
        "KUBECTL": str(images.kubectl),
        "ISTIOCTL": str(images.istioctl),
        "KUBECONFIG": str(folder / "kubeconfig"),
        "NODE_IMAGE": images.node,
        "HUB": images.istio_hub,
        "TAG": images.istio_version,
    }
    samples = {"HELLOWORLD_V1": "helloworld-v1:", "HELLOWORLD_V2": "helloworld-v2:", "CURL": "curl:"}
    for variable, part in samples.items():
        (told[variable],) = (ours for published, ours in images.samples.items() if part in published)
    for cluster in plan:
        file = folder / f"{cluster.name}.yaml"
        file.write_text(yaml.safe_dump(kind.config(cluster, images=images, engine=engine)))
        told[cluster.name.upper()] = cluster.kind_name
        told[f"{cluster.name.upper()}_CONFIG"] = str(file)
    return told


def _cores_worked() -> float:
    return cores_worked(Path("/proc/stat").read_text())


def main(arguments: list[str] | None = None) -> int:
    """Measure, print and write the results. Return 0, or 1 if a run failed, or 130 if the user stopped it."""
    arguments = sys.argv[1:] if arguments is None else arguments
    ending.interrupt_on_first_signal()
    if arguments[:1] == ["scale"]:
        return scale.main(arguments[1:])
    options = _parser().parse_args(arguments)
    started = datetime.now(UTC)
    name = f"bench-{started:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
    progress = Progress(lambda line: print(line, file=sys.stderr, flush=True), heartbeat=_HEARTBEAT)
    try:
        pairs, facts = _measure(name, options.runs, options.provider, progress)
    except KeyboardInterrupt:
        print("\nstopped, nothing was measured", file=sys.stderr)
        return 130
    except (EnvironmentBroke, UsageProblem, ValueError) as problem:
        print(f"\nFAILED, nothing was measured (output of the runs: {_REPORTS / name}): {problem}", file=sys.stderr)
        return 1
    finally:
        progress.close()
    file = _REPORTS / f"{name}.json"
    cores = os.cpu_count() or 1
    measured = as_json(pairs, cores=cores, started=report.utc(started), finished=report.utc(), **facts)
    file.write_text(json.dumps(measured, indent=2) + "\n")
    by_hand, suite = median_run([pair.by_hand for pair in pairs]), median_run([pair.suite for pair in pairs])
    print("\n".join(["", *table(pairs, cores), "", *where_time_went("by hand, median run", by_hand), ""]))
    print("\n".join([*where_time_went("pytest suites/, median run (steps overlap)", suite), "", str(file)]))
    return 0


def _measure(name: str, runs: int, provider: str, progress: Progress) -> tuple[list[Pair], dict[str, Any]]:
    options = Options(provider=provider, images="built", cluster_name=f"{name}-suite")
    plan = topology.plan(f"{name}-hand")
    supply.check(options)
    journal = Journal.open(name)
    engine = None
    try:
        with progress.step("container engine"):
            engine = find_engine(provider, run_folder=journal.folder, say=progress.say)
        _record(journal, engine, plan)
        images = supply.supply(options, engine, progress)
        reports = _REPORTS / name
        reports.mkdir()
        bench = Bench(options, engine, images, plan, journal.folder, reports, progress)
        # This run is not measured. It fills the page cache with all files that the other runs read.
        bench.suite("suite-warm-up")
        pairs = [Pair(bench.by_hand(number), bench.suite(f"suite-{number}")) for number in range(1, runs + 1)]
    finally:
        _undo(journal, engine, plan, progress)
    facts = {"provider": engine.provider, "versions": dict(images.versions)}
    return pairs, facts


def _record(journal: Journal, engine: Engine, plan: Topology) -> None:
    """Record what will be created, so that the next run removes it if this one is killed."""
    facts = {"engine": engine.to_json(), "folder": str(journal.folder)}
    journal.will_create("network", engine.network, **facts)
    for cluster in plan:
        journal.will_create("cluster", cluster.kind_name, **facts)


def _undo(journal: Journal, engine: Engine | None, plan: Topology, progress: Progress) -> None:
    """Remove what the runs left, and finally the journal."""
    ending.ignore_signals()
    with process.cleaning_up(), progress.step("clusters and networks removed"):
        if engine is not None:
            for cluster in plan:
                engine.remove_container(cluster.node)
        for line in sweep_dead(progress):
            progress.say(f"removed what a dead run left: {line}")
        for entry in journal.entries:
            if engine is not None and entry.kind == "network":
                network.remove(engine, entry.name)
        journal.close()


def _parser() -> argparse.ArgumentParser:
    description = (
        "Measures Istio's split-horizon guide, run by hand, and this suite in turn, and prints the ratio. "
        "With scale as the first argument: what more Services in a mesh cost (python -m bench scale --help)."
    )
    parser = argparse.ArgumentParser(prog="python -m bench", description=description)
    parser.add_argument("--runs", type=_positive, default=3, help="pairs of runs, by hand and suite (default 3)")
    parser.add_argument("--provider", choices=("auto", "podman", "docker"), default="auto", help="container engine")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


if __name__ == "__main__":
    sys.exit(main())
