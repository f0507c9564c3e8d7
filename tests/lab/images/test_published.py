"""Published images: their names, how they are pulled, and what is refused."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from lab.engine import Engine
from lab.images import published
from lab.images.published import HostPrograms
from splithorizon.base.errors import EnvironmentBroke, UsageProblem
from splithorizon.run.options import Options
from splithorizon.run.progress import Progress
from tests.support.fake_programs import FakePrograms

# Generates a Deployment with the hub and tag that --set names, or else its own.
ISTIOCTL = """hub=istio tag=1.29.1
for argument; do case "$argument" in hub=*) hub=${argument#hub=} ;; tag=*) tag=${argument#tag=} ;; esac; done
case "$1" in
  version) echo '{"clientVersion": {"version": "1.29.1"}}' ;;
  manifest) cat <<EOF
kind: Service
---
kind: Deployment
spec: {template: {spec: {containers: [{image: "$hub/pilot:$tag"}]}}}
EOF
  ;;
esac"""
# Has every image but those that the file `absent` names; the label of Envoy is that of the file `label`.
DOCKER = """cd "$(dirname "$0")"
case "$1" in
  pull|manifest) for last; do :; done; ! grep -qs "$last" absent || { echo "Error: no such image" >&2; exit 1; } ;;
  image) cat label 2>/dev/null || echo null ;;
esac"""


@pytest.fixture
def host(programs: FakePrograms) -> HostPrograms:
    return HostPrograms(Path("/bin/kind"), Path("/bin/kubectl"), programs.add("istioctl", ISTIOCTL))


@pytest.fixture
def engine(programs: FakePrograms) -> Engine:
    return Engine("docker", programs.add("docker", DOCKER), {}, lacks_resource_capability=False)


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def progress(lines: list[str]) -> Progress:
    return Progress(lines.append)


def test_istio_is_pulled_under_the_names_that_istioctl_generates(
    engine: Engine, host: HostPrograms, progress: Progress, programs: FakePrograms
) -> None:
    images = published.pull(Options(), engine, host, progress)
    assert (images.istio_hub, images.istio_version, images.mode) == ("istio", "1.29.1", "published")
    assert images.to_load == ("istio/pilot:1.29.1", "istio/proxyv2:1.29.1", *published.SAMPLES)
    pulled = [call.removeprefix("docker pull ") for call in programs.calls if call.startswith("docker pull")]
    assert pulled == [*images.to_load]
    assert (images.node, images.own_node, images.upstream_envoy) == ("", False, False)


def test_hubs_version_and_node_are_those_of_the_options(
    engine: Engine, host: HostPrograms, progress: Progress, programs: FakePrograms, lines: list[str]
) -> None:
    (programs.folder / "label").write_text('{"splithorizon.node": "own", "splithorizon.envoy": "upstream"}')
    options = Options(hub="hub.test/mesh", sample_hub="hub.test/samples", istio_version="1.29.3", kind_image="node:1")
    images = published.pull(options, engine, host, progress)
    assert images.to_load[:2] == ("hub.test/mesh/pilot:1.29.3", "hub.test/mesh/proxyv2:1.29.3")
    assert images.samples["curlimages/curl:8.16.0"] == "hub.test/samples/curl:8.16.0"
    assert (images.node, images.own_node, images.upstream_envoy) == ("node:1", True, True)
    assert "docker pull node:1" in programs.calls
    assert not [line for line in lines if "warning" in line], "the minor versions are the same"


def test_another_minor_version_of_istioctl_is_a_warning(
    engine: Engine, host: HostPrograms, progress: Progress, lines: list[str]
) -> None:
    published.pull(Options(istio_version="1.28.3"), engine, host, progress)
    (warning,) = (line for line in lines if "warning" in line)
    assert f"--istio-version 1.28.3, but {host.istioctl} has version 1.29.1 and installs its own charts" in warning


def test_an_image_that_cannot_be_pulled_is_refused_with_the_engines_reason(
    engine: Engine, host: HostPrograms, progress: Progress, programs: FakePrograms
) -> None:
    (programs.folder / "absent").write_text("istio/proxyv2:1.29.1\n")
    with pytest.raises(UsageProblem) as refused:
        published.pull(Options(), engine, host, progress)
    assert str(refused.value) == (
        "image istio/proxyv2:1.29.1 cannot be pulled: Error: no such image. Nothing was created."
    )


def test_an_istioctl_that_generates_no_istiod_breaks_the_run(
    engine: Engine, progress: Progress, programs: FakePrograms
) -> None:
    istioctl = programs.add("istioctl", "echo 'kind: Service'")
    with pytest.raises(EnvironmentBroke, match="istioctl generated no Deployment of istiod"):
        published.pull(Options(), engine, HostPrograms(Path("kind"), Path("kubectl"), istioctl), progress)


def test_a_registry_answers_if_it_has_the_sample_image(engine: Engine, programs: FakePrograms) -> None:
    assert published.registry_answers(Options(), engine)
    assert published.registry_answers(Options(sample_hub="127.0.0.1:5000/x"), engine)
    assert programs.calls == [
        f"docker manifest inspect {published.SAMPLES[0]}",
        "docker manifest inspect --insecure 127.0.0.1:5000/x/examples-helloworld-v1:1.0",
    ]
    (programs.folder / "absent").write_text(published.SAMPLES[0])
    assert not published.registry_answers(Options(), engine)


def test_an_engine_that_cannot_ask_is_a_registry_that_does_not_answer(tmp_path: Path) -> None:
    engine = Engine("docker", tmp_path / "gone", {}, lacks_resource_capability=False)
    assert not published.registry_answers(Options(), engine)


def test_programs_are_those_of_options_then_of_path_and_else_built(programs: FakePrograms, tmp_path: Path) -> None:
    kubectl = programs.add("kubectl")
    programs.hide_all_others()
    chosen = tmp_path / "my-kind"
    chosen.touch()
    built: list[str] = []

    def build(name: str) -> Path:
        built.append(name)
        return tmp_path / "built" / name

    host = published.host_programs(Options(kind=chosen), build)
    assert host == HostPrograms(chosen, kubectl, tmp_path / "built" / "istioctl")
    assert built == ["istioctl"]


def test_a_program_that_does_not_exist_is_never_built_instead() -> None:
    def build(name: str) -> Path:
        pytest.fail(f"{name} was to be built")

    for options in (
        Options(kind=Path("/does/not/exist")),
        Options(kind=Path(sys.executable), kubectl=Path("/does/not/exist")),
    ):
        with pytest.raises(UsageProblem, match=r"/does/not/exist: there is no such file"):
            published.host_programs(options, build)
