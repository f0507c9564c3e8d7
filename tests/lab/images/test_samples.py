"""The images of a watch: what is compiled for them, their names, and what they are built from."""

from __future__ import annotations

import pytest

from lab.images import samples, versions
from splithorizon.traffic import sender
from splithorizon.traffic.sender import Stream
from tests.support.fake_programs import FakePrograms

TAG = versions.load().helloworld
# Writes the file that follows -o, as the linker does.
GO = """case "$1 $2" in
  "env GOVERSION") echo go1.26.1 ;;
  "build "*) while [ "$1" != -o ]; do shift; done; echo compiled >"$2" ;;
esac"""
# An engine that builds only where the program is in the context.
PODMAN = """for last; do :; done; ls "$last" | grep -qx 'sender\\|helloworld'"""


@pytest.fixture
def tools(
    programs: FakePrograms, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> FakePrograms:
    cache = tmp_path_factory.mktemp("cache")
    monkeypatch.setattr(samples, "cache_root", lambda: cache)
    programs.add("go", GO)
    programs.add("podman", PODMAN)
    return programs


def test_the_sender_and_both_helloworlds_are_built_below_the_hub(tools: FakePrograms) -> None:
    assert samples.main(["registry.example/mine"]) == 0
    built = [call for call in tools.calls if call.startswith("podman build")]
    assert [call.partition("--tag ")[2].partition(" ")[0] for call in built] == [
        f"registry.example/mine/{name}:{TAG}" for name in ("sender", "examples-helloworld-v1", "examples-helloworld-v2")
    ]
    assert [call.count("--build-arg=SERVICE_VERSION=v2") for call in built] == [0, 0, 1]


def test_a_build_that_fails_is_said_and_ends_with_1(tools: FakePrograms, capsys: pytest.CaptureFixture[str]) -> None:
    tools.add("podman", "echo 'no space left' >&2; exit 1")
    assert samples.main(["registry.example/mine"]) == 1
    assert "no space left" in capsys.readouterr().err


def test_the_program_knows_the_flags_that_the_deployment_gives_it() -> None:
    main = (versions.IMAGES / "sender" / "main.go").read_text()
    made = sender.deployment(
        {"spec": {"template": {"metadata": {}, "spec": {"containers": [{}]}}}},
        target="watch-v2", rate=20, streams=tuple(Stream), image="sender",
    )  # fmt: skip
    (container,) = made["spec"]["template"]["spec"]["containers"]
    flags = {one.removeprefix("-").partition("=")[0] for one in container["args"]}
    assert flags == {*Stream, "rate", "timeout", "every"}
    assert all(f'= "{flag}"' in main or f'"{flag}",' in main for flag in flags)
    assert f'ENTRYPOINT ["{container["command"][0]}"]' in (versions.IMAGES / "sender" / "Containerfile").read_text()
