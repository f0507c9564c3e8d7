"""What ``splithorizon diagnose`` finds of a Service, from real loopback API servers; and that it writes nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from splithorizon import cli
from splithorizon.base import timeouts
from splithorizon.base.errors import EnvironmentBroke, UsageProblem
from splithorizon.diagnosis import root_causes
from splithorizon.kube.api_resources import path_of
from splithorizon.run.journal import runs_folder
from splithorizon.run.options import Options
from splithorizon.run.outcome import ExitStatus
from splithorizon.run.service_diagnosis import Found, Question, diagnose
from tests.support.diagnosable_mesh import answer, diagnosable_mesh, pod_address
from tests.support.existing_mesh import GATEWAYS, TwoClusters

OURS = Question("sample", "helloworld")
OPTIONS = Options(contexts=("east", "west"))


@pytest.fixture
def mesh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TwoClusters]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    monkeypatch.chdir(tmp_path)
    # However slow this machine is.
    monkeypatch.setattr(timeouts, "_current", replace(timeouts.Timeouts(), diagnosis_read=120))
    with diagnosable_mesh(tmp_path) as found:
        yield found


def asked(question: Question = OURS) -> Found:
    return diagnose(OPTIONS, question)[0]


def far_lost(mesh: TwoClusters) -> None:
    """No client holds an endpoint of the other network."""
    answer(mesh, lambda role: [f"{pod_address(mesh, role)}:5000"])


def test_a_sound_service_has_nothing_wrong_and_nothing_is_written(mesh: TwoClusters) -> None:
    found = asked()
    assert found.exit_status == ExitStatus.CONFORMANT
    assert found.diagnosis.root_causes == ()
    assert [one.proxy is not None for one in found.views] == [True, True]
    for api in mesh.apis.values():
        assert {method for method, *_ in api.asked} == {"GET"}
        assert not any("curl" in str(query) for _, _, query, *_ in api.asked)
    assert list(runs_folder().iterdir()) == [], "no copy of a kubeconfig is left"


def test_a_cause_is_named_with_evidence_in_either_form(mesh: TwoClusters, capsys: pytest.CaptureFixture[str]) -> None:
    far_lost(mesh)
    service = mesh.remote.objects[path_of("Service", "sample", "helloworld")]
    service["spec"]["ports"][0]["name"] = "http-web"
    command = ["diagnose", "east,west", "--service", "sample/helloworld"]
    assert cli.main(command) == 1
    said = capsys.readouterr().out
    assert "root cause: " in said
    assert f"[{root_causes.PORTS_DIFFER.id}]" in said
    assert "evidence: Service remote/sample/helloworld: spec.ports[0].name http-web (port 5000)" in said
    assert f"gateway {GATEWAYS['remote']}:15443" in said
    assert "MISSING" in said
    assert cli.main([*command, "--json"]) == 1
    content = json.loads(capsys.readouterr().out)
    (cause,) = content["root_causes"]
    assert cause["cause_id"] == root_causes.PORTS_DIFFER.id
    assert content["exit_status"] == 1
    missing = content["clusters"][0]["ports"][0]["missing"]
    assert missing == [
        {"address": f"{GATEWAYS['remote']}:15443", "weight": 1, "cluster": "remote", "kind": "gateway"}
    ]  # fmt: skip


def test_endpoints_that_no_cause_explains_are_read_twice(mesh: TwoClusters) -> None:
    far_lost(mesh)
    found = asked()
    assert found.exit_status == ExitStatus.NOT_CONFORMANT
    assert found.diagnosis.root_causes == ()
    reads = [path for path in mesh.primary.requests("GET") if path == path_of("Pod", "sample")]
    assert len(reads) == 2


def test_a_service_that_is_nowhere_is_bad_input(mesh: TwoClusters) -> None:
    with pytest.raises(UsageProblem, match="no cluster has this Service"):
        asked(Question("sample", "shop"))
    with pytest.raises(UsageProblem, match="no cluster has a pod of this name"):
        asked(replace(OURS, client_namespace="sample", client="shop"))


def test_a_client_is_taken_by_the_name_of_its_deployment(mesh: TwoClusters) -> None:
    found = asked(replace(OURS, client_namespace="sample", client="sleep"))
    assert [one.picked for one in found.views] == ["the client that was named"] * 2


def test_what_may_not_be_read_leaves_it_unjudged(mesh: TwoClusters) -> None:
    mesh.remote.answers[path_of("Pod", "sample")] = (403, b'{"message": "no"}')
    assert asked().unjudged == "", "those of the system namespace were read"
    mesh.remote.answers[path_of("Service", None)] = (403, b'{"message": "no"}')
    for namespace in ("sample", "istio-system"):
        mesh.remote.answers[path_of("Service", namespace)] = (403, b'{"message": "no"}')
    with pytest.raises(EnvironmentBroke):
        asked()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "A,B and --service NS/NAME are needed"),
        (("east,west",), "A,B and --service NS/NAME are needed"),
        (("east", "--service", "a/b"), "at least two contexts are needed"),
        (("east,west", "--service", "b"), "a namespace and a name are needed"),
        (("east,west", "--service", "a/b", "--client", "c"), "--client c: a namespace and a name are needed"),
        (("east,west", "--service", "a/b", "--minutes", "0"), "at least 1"),
        (("no,where", "--service", "a/b"), "no context named 'no'"),
        (("env", "--service", "a/b"), "CTX_CLUSTER1 and CTX_CLUSTER2 not set"),
    ],
)
def test_bad_input_is_refused_in_one_line(
    words: tuple[str, ...],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    for name in ("CTX_CLUSTER1", "CTX_CLUSTER2"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["diagnose", *words]) == 4
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("splithorizon diagnose: ")
    assert said in line


def test_an_api_server_that_does_not_answer_ends_unjudged(
    mesh: TwoClusters, capsys: pytest.CaptureFixture[str]
) -> None:
    mesh.remote.shutdown()
    mesh.remote.server_close()
    assert cli.main(["diagnose", "east,west", "--service", "sample/helloworld"]) == 10
    assert "does not answer" in capsys.readouterr().err


def test_options_of_the_file_count(mesh: TwoClusters, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "splithorizon.toml").write_text('contexts = "east,west"\n')
    assert cli.main(["diagnose", "--service", "sample/helloworld"]) == 0
    assert "nothing wrong was found" in capsys.readouterr().out
