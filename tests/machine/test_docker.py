"""The same verdict with docker, with workers and from JSON logs; and nothing of it is left."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lab.engine.find import find_engine
from tests.machine.conftest import Starter, require_conformant

pytestmark = pytest.mark.engine


def test_docker_workers_and_json_logs(start: Starter, tmp_path: Path) -> None:
    assert os.environ.get("DOCKER_HOST"), "CI starts a dockerd for this: .ci/dockerd start FOLDER"
    run = start(
        "suites/", "--provider", "docker", "--images", "built", "--cluster-name", "docker",
        "--access-log-encoding", "json", "-n", "2", "--profile", "core",
    )  # fmt: skip
    assert run.ends() == 0, run.output
    require_conformant(run.report, run.output)
    assert run.report["versions"]["provider"] == "docker"
    path = [b for b in run.report["behaviours"] if b["behaviour"] == "test_each_version_takes_its_own_path"]
    lines = [line for b in path for e in b["evidence"] for line in e["sample_lines"]]
    assert lines
    assert all(line.startswith("{") for line in lines)
    docker = find_engine("docker", run_folder=tmp_path, say=print)
    assert docker.containers() == []
    assert docker.volumes() == []
    assert not docker.has_network(docker.network)
