"""The sender and helloworld: their sources are vetted, the sender's own tests pass, and one answers the other."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab.images import programs
from lab.images.cache import Cache
from lab.images.versions import IMAGES
from splithorizon.base.process import run
from splithorizon.base.timeouts import current as timeouts
from splithorizon.kube.client import Object
from splithorizon.traffic import sender
from splithorizon.traffic.sender import KEPT, Result, Stream

pytestmark = pytest.mark.engine


def go(*arguments: str, module: Path) -> str:
    environment = {"CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly", "GOWORK": "off"}
    return run(["go", *arguments], within=timeouts().go_build, cwd=module, env=environment).stdout


@pytest.mark.parametrize("name", ["helloworld", "sender"])
def test_a_program_is_vetted(name: str) -> None:
    go("vet", "./...", module=IMAGES / name)


def test_the_senders_own_tests_pass() -> None:
    printed = go("test", "-count=1", "./...", module=IMAGES / "sender")
    assert printed.startswith("ok"), printed


@contextmanager
def running(*command: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment}) as process:
        try:
            yield process
        finally:
            process.terminate()


def test_helloworld_answers_the_sender_on_each_stream(tmp_path: Path) -> None:
    cache, log = Cache(tmp_path, print), tmp_path / "log"
    helloworld = programs.helloworld().build(cache, log) / "helloworld"
    send = programs.sender().build(cache, log) / "sender"
    client: Object = {"spec": {"template": {"metadata": {}, "spec": {"containers": [{}]}}}}
    made = sender.deployment(client, target="127.0.0.1", rate=20, streams=tuple(Stream), image="unused")
    (container,) = made["spec"]["template"]["spec"]["containers"]
    results: list[Result] = []
    with (
        running(str(helloworld), SERVICE_VERSION="v1"),
        running(str(send), *container["args"], POD_NAME="pod-a") as process,
    ):
        assert process.stdout is not None
        while len(results) < 50:
            line = process.stdout.readline()
            assert line, "the sender has ended"
            found = sender.parse(line.rstrip("\n"))
            results += [found] if found else []
    assert {one.stream for one in results} == {*Stream}
    assert [one for one in results if one.lost] == []
    for stream in KEPT:
        kept = [one for one in results if one.stream is stream]
        assert [(one.number, one.opened) for one in kept] == [(n, n == 1) for n in range(1, len(kept) + 1)], stream
