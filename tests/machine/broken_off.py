"""Runs that do not come to their end: what they are told, where they are met, and what is left of them."""

from __future__ import annotations

import subprocess
from itertools import chain

from lab import topology
from lab.engine import Engine
from lab.kind import KIND_LABEL
from splithorizon.run.journal import runs_folder
from tests.machine.conftest import unused

CLUSTERS = unused("broken-off")
SUITE = ("suites/", "--provider", "podman", "--images", "built", "--cluster-name", CLUSTERS, "--profile", "core")
STEPS = {
    "clusters": r"… \[remote\] kind cluster",
    "istiod": r"… \[primary\] istiod",
    "workloads": r"… \[remote\] workloads ready",
    "tests": r"suites/\w+/test_",
}


def left(podman: Engine) -> list[str]:
    """Containers and volumes of the clusters, folders of runs, and programs that a run starts."""
    clusters = [f"{CLUSTERS}-{role}" for role in ("primary", "remote")]
    names = [podman.containers(label=f"{KIND_LABEL}={cluster}") for cluster in clusters]
    volumes = [podman.volumes(label=topology.node_of(cluster)) for cluster in clusters]
    # kind and istioctl are told of the run's folder; other tests' runs may have programs of their own.
    programs = subprocess.run(
        ["pgrep", "--runstates", "R,S,D", "--full", str(runs_folder())], capture_output=True, text=True
    ).stdout
    folders = [str(path) for path in runs_folder().iterdir() if path.is_dir()]
    return [*chain(*names, *volumes), *programs.split(), *folders]
