"""What others notice of a fault: by what is news against the sound mesh, and by a table of what names a cause."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from proof import peers
from proof.faults import every_fault
from proof.faults.registry import Fault
from proof.peers import ANALYZE, CURLS, NAMES, PEERS, PROXY_STATUS, REMOTE_CLUSTERS, Comparison, Judged, accuses, judge
from splithorizon.diagnosis.causes import REGISTRY
from splithorizon.diagnosis.root_causes import READ
from splithorizon.mesh.mesh import Mesh
from tests.support.existing_mesh import TwoClusters, installed_mesh
from tests.support.mesh_info import mesh_info

SOUND = {
    ANALYZE: ("IST0170 Warning asked in primary: Service istio-system/istiod: inconsistent",),
    REMOTE_CLUSTERS: ("primary  synced", "remote istio-system/secret synced"),
    PROXY_STATUS: ("sleep.sample primary synced",),
    CURLS: ("primary is answered by v1: 200", "primary is answered by v2: 200"),
}


def fault(cause: str) -> Fault:
    return Fault("f", "It is.", {"test_both_versions_answer": ""}, lambda *_: None, root_cause=cause)


def told(cause: str, **said: tuple[str, ...]) -> dict[str, Judged]:
    return judge(fault(cause), SOUND | {name.replace("_", "-"): one for name, one in said.items()}, SOUND)


def test_what_is_as_on_the_sound_mesh_notices_nothing() -> None:
    found = told("ports-differ")
    assert found == dict.fromkeys(PEERS, Judged())
    assert not any(one.noticed for one in found.values())


def test_what_is_news_or_gone_is_noticed_and_words_of_the_cause_name_it() -> None:
    ports = "IST0170 Warning asked in primary: Service sample/helloworld: service ports are inconsistent"
    found = told("ports-differ", analyze=(*SOUND[ANALYZE], ports), curls=SOUND[CURLS][:1])
    assert (found[ANALYZE].noticed, found[ANALYZE].named) == (True, True)
    assert found[CURLS] == Judged(("gone: curls: primary is answered by v2: 200",))
    assert not found[PROXY_STATUS].noticed
    assert not told("ports-differ", analyze=())[ANALYZE].noticed, "fewer complaints"
    assert not told("policy-denies", analyze=(*SOUND[ANALYZE], ports))[ANALYZE].named
    assert told("policy-denies", curls=("primary gets RBAC: access denied",))[CURLS].named


@pytest.mark.parametrize(
    ("cause", "said", "named"),
    [
        ("remote-secret-missing", ("primary  synced",), True),
        ("remote-secret-at-loopback", ("primary  synced", "remote istio-system/secret timeout"), True),
        ("remote-secret-key-wrong", ("primary  synced", "c2 istio-system/secret synced"), True),
        ("ports-differ", ("primary  synced", "remote istio-system/secret timeout"), False),
    ],
)
def test_the_list_of_remote_clusters_names_what_is_wrong_with_a_secret(
    cause: str, said: tuple[str, ...], named: bool
) -> None:
    found = told(cause, remote_clusters=said)[REMOTE_CLUSTERS]
    assert (found.noticed, found.named) == (True, named)


def test_a_sound_mesh_is_accused_by_warnings_and_by_whoever_fails() -> None:
    assert [accuses(one) for name in PEERS for one in SOUND[name]] == [True] + [False] * 5
    assert not accuses("IST0102 Info asked in primary: Namespace default: not enabled")
    assert accuses("failed: no answer")
    assert accuses("primary gets 503")
    assert accuses("sleep.sample primary EDS STALE")


def test_the_totals_count_each_fault_once_and_say_what_was_accused() -> None:
    both = Comparison(dict(SOUND), {"a": told("ports-differ", curls=()), "b": told("ports-differ")})
    content = both.as_json({"istio": "1.29.1"}, {"a": True, "b": False})
    assert content["totals"][CURLS] == {"noticed": 1, "named": 0, "accused_the_sound_mesh": []}
    assert content["totals"][ANALYZE]["accused_the_sound_mesh"] == list(SOUND[ANALYZE])
    assert content["splithorizon"] == {"noticed": 2, "named": 1, "accused_the_sound_mesh": []}
    assert content["by_fault"]["a"][CURLS]["news"]
    assert content["by_fault"]["b"]["splithorizon"] == {"noticed": True, "named": False}
    assert json.loads(json.dumps(content)) == content


def test_every_cause_of_the_table_is_one_that_is_registered() -> None:
    known = {one.id for one in (*REGISTRY, *READ)}
    assert NAMES.keys() - known == set()
    demanded = {one.root_cause for one in every_fault()}
    assert len(demanded & NAMES.keys()) > 20, "the table is of use"


TABLE = """\
NAME        SECRET                                      STATUS     ISTIOD
primary                                                 synced     istiod-7c7b8854b-blfhf
remote      istio-system/istio-remote-secret-remote     timeout    istiod-7c7b8854b-blfhf
"""
STATUS = """\
NAME                              CLUSTER     CDS              ECDS        EDS       LDS              ISTIOD
sleep-7454f4c649-d7nnn.sample     primary     SYNCED (12s)     IGNORED     STALE     SYNCED (12s)     istiod-1
"""
FOUND = [
    {"code": "IST0103", "level": "Warning", "origin": "Pod sample/helloworld-v1-5bf887c9c-r7msf", "cluster": "remote",
     "message": "The pod helloworld-v1-5bf887c9c-r7msf is missing the Istio proxy."},
    {"code": "IST0170", "level": "Warning", "origin": "Service istio-system/istiod", "cluster": "remote",
     "message": 'inconsistent across clusters ["remote" "default"], ports'},
    {"code": "IST0137", "level": "Warning", "origin": "Deployment sample/helloworld-v1",
     "message": "associated with multiple services [sample/a sample/b]"},
]  # fmt: skip


@pytest.fixture
def mesh(tmp_path: Path) -> Iterator[tuple[Mesh, TwoClusters]]:
    """A mesh with a program in the place of istioctl, which prints what istioctl does."""
    printed = {"analyze": json.dumps(FOUND), "remote-clusters": TABLE, "proxy-status": STATUS}
    program = tmp_path / "istioctl"
    cases = "\n".join(f"  {name}) printf %s {shlex.quote(text)};;" for name, text in printed.items())
    program.write_text(f'#!/bin/sh\ncase "$3" in\n{cases}\nesac\n')
    program.chmod(0o755)
    with installed_mesh(tmp_path) as clusters:
        run = clusters.run(tmp_path / "runs", "run", owned=True)
        yield Mesh(replace(mesh_info(run.folder), istioctl=program)), clusters


def printing(text: str, *_: object) -> str:
    """What a command in a pod prints."""
    return text


def test_each_is_asked_and_its_answer_read(mesh: tuple[Mesh, TwoClusters]) -> None:
    asked, clusters = mesh
    for role, api in clusters.apis.items():
        lines = {"primary": "Hello version: v1, instance: x\n200\n", "remote": "no healthy upstream\n503\n"}
        api.execute = partial(printing, lines[role])
    found = peers.ask(asked)
    assert found[REMOTE_CLUSTERS] == ("primary  synced", "remote istio-system/istio-remote-secret-remote timeout")
    assert found[PROXY_STATUS] == ("sleep.sample primary EDS STALE",)
    assert found[CURLS] == ("primary is answered by v1: 200", "remote gets 503", "remote gets no healthy upstream")
    assert found[ANALYZE] == (
        "IST0103 Warning asked in primary: Pod sample/helloworld-v1 of remote: "
        "The pod helloworld-v1 is missing the Istio proxy.",
        "IST0103 Warning asked in remote: Pod sample/helloworld-v1 of remote: "
        "The pod helloworld-v1 is missing the Istio proxy.",
        "IST0137 Warning asked in primary: Deployment sample/helloworld-v1: associated with multiple services ",
        "IST0137 Warning asked in remote: Deployment sample/helloworld-v1: associated with multiple services ",
        "IST0170 Warning asked in primary: Service istio-system/istiod: inconsistent across clusters , ports",
        "IST0170 Warning asked in remote: Service istio-system/istiod: inconsistent across clusters , ports",
    )


def test_whoever_fails_says_so_in_one_statement(mesh: tuple[Mesh, TwoClusters]) -> None:
    asked, clusters = mesh
    assert asked.info.istioctl is not None
    asked.info.istioctl.write_text("#!/bin/sh\necho broken >&2\nexit 1\n")
    for api in clusters.apis.values():
        api.execute = lambda *_: "200\n"
    found = peers.ask(asked)
    assert [one.startswith("failed: ") for one in found[REMOTE_CLUSTERS]] == [True]
    assert found[CURLS] == ()
