"""The documents agree with the code."""

from __future__ import annotations

import ast
import itertools
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from docs import examples, tables
from proof.faults import every_fault
from splithorizon.diagnosis import causes
from splithorizon.istio.info import NetworkMode
from splithorizon.istio.topology import PRIMARY_REMOTE
from splithorizon.run import catalogue, report_file
from splithorizon.run.catalogue import Behaviour
from tests.support.repository import kept_files

REPOSITORY = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((REPOSITORY / ".github" / "workflows").glob("*.yml"))

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*[a-z]")
_PROSE_WIDTH = 150


def documents() -> list[Path]:
    pages = sorted(path for path in kept_files() if path.suffix == ".md")
    assert len(pages) >= 8
    return pages


def document_id(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


def shell_lines(text: str) -> list[str]:
    return [line for kind, block in _FENCE.findall(text) if kind == "sh" for line in block.splitlines()]


def without_code(text: str) -> str:
    return _SPAN.sub("", _FENCE.sub("", text))


def anchors(text: str) -> set[str]:
    """The fragments by which a page's headings can be linked, as GitHub generates them."""
    headings = re.findall(r"^#+ (.+)$", _FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(path: Path) -> Iterator[str]:
    for link in _LINK.findall(without_code(path.read_text())):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, fragment = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        if not target.exists() or (fragment and fragment not in anchors(target.read_text())):
            yield link


def our_options(text: str) -> set[str]:
    """The options of pytest and of our own commands that a page names, alone or in a command line of pytest."""
    spans = [span for span in _SPAN.findall(_FENCE.sub("", text)) if span.startswith(("--", "pytest"))]
    lines = [line for line in shell_lines(text) if re.match(r"(\S*/)?pytest ", line)]
    return {option for part in [*spans, *lines] for option in _OPTION.findall(part)}


@pytest.fixture(scope="module")
def known_options() -> set[str]:
    commands = (["pytest", "--help"], ["splithorizon.cli", "diagnose", "--help"])
    shown = [
        subprocess.run(
            [sys.executable, "-m", *command], cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=True
        )
        for command in commands
    ]
    return {option for one in shown for option in _OPTION.findall(one.stdout)}


@pytest.fixture(scope="module")
def messages() -> str:
    """Every text in the code, one per line, without the expressions of f-strings."""
    files = [path for package in ("splithorizon", "lab", "fixtures") for path in (REPOSITORY / package).rglob("*.py")]
    texts = [
        node.value
        for path in files
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    return "\n".join(texts)


def test_these_tests_notice_broken_links_and_options(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A *head*, line\n[a](gone.md) [b](page.md#a-head-line) [c](#none) `[d](x)` [e](https://e/)\n"
        "`--one` `git --two` `pytest --three=3`\n```sh\npytest --four\nkubectl --five\n```\n"
    )
    assert list(broken_links(page)) == ["gone.md", "#none"]
    assert our_options(page.read_text()) == {"--one", "--three", "--four"}


@pytest.mark.parametrize("page", documents(), ids=document_id)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    assert list(broken_links(page)) == []


@pytest.mark.parametrize("page", documents(), ids=document_id)
def test_every_option_that_is_named_exists(page: Path, known_options: set[str]) -> None:
    assert our_options(page.read_text()) - known_options == set()


@pytest.mark.parametrize("page", documents(), ids=document_id)
def test_prose_is_narrow_enough_to_read(page: Path) -> None:
    # The text of a link counts, and not its target.
    shown = re.sub(r"\]\([^)\s]+\)", "]", _FENCE.sub("", page.read_text()))
    lines = shown.splitlines()
    assert [line for line in lines if len(line) > _PROSE_WIDTH and not line.startswith("|")] == []


def test_the_tables_are_what_the_code_says() -> None:
    command = [sys.executable, "-m", "docs.tables", "--check"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, f"run python -m docs.tables\n{done.stdout}{done.stderr}"


def test_a_stale_table_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    area, manifests = tmp_path / "suites" / "area", tmp_path / "manifests"
    area.mkdir(parents=True)
    (manifests / "faults").mkdir(parents=True)
    (manifests / "faults" / "networks-joined.yaml").touch()
    (manifests / "used.yaml").write_text("# A thing.\n# Used by: test_w, test_x\n# Used by: test_y\n")
    (manifests / "unused.yaml").write_text("# Used by: test_x_and_more\n")
    monkeypatch.setattr(tables, "SUITES", area.parent)
    monkeypatch.setattr(tables, "MANIFESTS", manifests)
    monkeypatch.setattr(tables, "CAUSES", tmp_path / "causes.md")
    for page in (area / "README.md", area.parent / "README.md", tables.CAUSES):
        page.write_text("# Area\n<!-- made by docs/tables.py -->\nold\n<!-- end -->\nkept\n")
    module = area / "test_x.py"
    module.write_text(
        '"""It holds."""\n@behaviour(profile="core", breaks_when="networks-joined")\n'
        "def test_x(prove): prove(checks.absent((), name))\n"
    )
    assert (tables.main(["--check"]), tables.main([]), tables.main(["--check"])) == (1, 0, 0)
    text = (area / "README.md").read_text()
    assert "### It holds\n\n- test: [test_x.py](test_x.py), profile `core`\n- checks: [readiness.absent](" in text
    assert "- manifests: [used.yaml](../../manifests/used.yaml)\n" in text
    assert "- fault that must break it: `networks-joined`, function [networks_joined](" in text
    assert "with [networks-joined.yaml](../../manifests/faults/networks-joined.yaml)." in " ".join(text.split())
    assert "| [area](area/README.md) | [It holds](area/test_x.py) | core |" in (area.parent / "README.md").read_text()
    assert "| `primary-profile-in-remote` |" in tables.CAUSES.read_text()
    assert "`primary-profile-in-remote`" in text
    assert "kept" in text
    (row,) = (line for line in tables.CAUSES.read_text().splitlines() if line.startswith("| `networks-joined` |"))
    assert row.endswith("proof/faults/networks.py) |")
    module.write_text(module.read_text().replace("networks-joined", "no-such-fault"))
    with pytest.raises(ValueError, match=r"test_x\.py: there is no fault 'no-such-fault'"):
        tables.main(["--check"])


@pytest.mark.parametrize("one", catalogue.behaviours(tables.SUITES), ids=lambda one: one.name)
def test_from_each_claim_a_reader_finds_what_belongs_to_it(one: Behaviour) -> None:
    page = (one.path.parent / "README.md").read_text()
    section = page.partition(f"### {one.claim}\n")[2].partition("\n\n###")[0].partition("<!-- end")[0]
    assert f"]({one.path.name})" in section
    for label in ("checks: [", "manifests: ", "fault that must break it: `"):
        assert f"\n- {label}" in section
    shown = " ".join(section.split())
    for fault in (fault for fault in every_fault() if fault.name in one.breaks_when):
        assert f"`{fault.name}`, function [{fault.inject.__name__}](" in shown
        cause = fault.causes[one.name]
        assert not cause or f"Cause on the check: `{cause}`" in shown
        assert not fault.root_cause or f"`{fault.root_cause}`" in shown
        assert f"`{fault.causes[one.name]}`" in shown.partition("that a failure can name: ")[2]


def test_a_behaviour_without_manifests_of_its_own_stands_on_the_common_ones() -> None:
    text = tables.behaviours_of(REPOSITORY / "suites" / "resilience")
    assert "- manifests: only the common ones, [workloads](../../manifests/workloads) and [istio]" in text
    assert "- also broken by: " in tables.behaviours_of(REPOSITORY / "suites" / "discovery")


def test_a_manifest_says_how_it_is_applied_and_names_behaviours_that_there_are() -> None:
    """Overlays are merged by the installer, the CronJob's files by Kustomize, and no command applies them alone."""
    behaviours = {path.stem for path in (REPOSITORY / "suites").glob("*/test_*.py")}
    files = sorted((REPOSITORY / "manifests").rglob("*.yaml"))
    manifests = [path for path in files if "cronjob" not in path.parts]
    assert len(manifests) > 40
    for path in manifests:
        head = "".join(itertools.takewhile(lambda line: line.startswith("# "), path.open()))
        assert head.startswith("# Overlay" if "overlays" in path.parts else "# "), path
        if "overlays" not in path.parts:
            assert re.search(rf"^# By hand: .*{re.escape(str(path.relative_to(REPOSITORY)))}", head, re.MULTILINE), path
        used = [name for line in re.findall(r"^# Used by: (.*)$", head, re.MULTILINE) for name in line.split(", ")]
        assert set(used) <= behaviours, path


def test_every_fault_of_a_manifest_shows_that_manifest() -> None:
    shown = {path for fault in every_fault() for path in tables.manifests_in(fault)}
    assert shown == set((REPOSITORY / "manifests" / "faults").glob("*.yaml"))


def test_the_readme_links_every_document() -> None:
    linked = set(_LINK.findall((REPOSITORY / "README.md").read_text()))
    documents_of_ours = {f"docs/{path.name}" for path in (REPOSITORY / "docs").glob("*.md")}
    assert {"docs/glossary.md", "docs/measurements.md"} <= documents_of_ours
    assert documents_of_ours - {link.partition("#")[0] for link in linked} == set()


def test_the_glossary_has_at_most_twenty_terms_in_their_order() -> None:
    rows = re.findall(
        r"^\| (?!term \|)([^|-][^|]*) \|", (REPOSITORY / "docs" / "glossary.md").read_text(), re.MULTILINE
    )
    terms = [term for row in rows for term in row.split(", ")]
    assert {"near", "far", "route", "claim", "profile", "owned mesh", "existing mesh"} <= set(terms)
    assert len(terms) <= 20
    assert rows == sorted(rows, key=str.lower)


@pytest.mark.parametrize("page", ["README.md", "docs/design.md"])
def test_what_a_page_says_is_in_a_file_is_there(page: str) -> None:
    """A row of *where to find what* names a definition and the file that has it."""
    path = REPOSITORY / page
    named = re.findall(r"`(\w+)` in \[[^\]]+\]\(([^)]+)\)", path.read_text())
    assert len(named) >= 2
    assert [name for name, file in named if f"def {name}(" not in (path.parent / file).read_text()] == []


@pytest.mark.parametrize("page", ["README.md", "docs/design.md"])
def test_a_page_shows_both_networks_and_the_way_of_a_request(page: str) -> None:
    pictures = [block for kind, block in _FENCE.findall((REPOSITORY / page).read_text()) if kind == "mermaid"]
    kinds = [block.partition("\n")[0] for block in pictures]
    assert "flowchart LR" in kinds
    assert "sequenceDiagram" in kinds
    # The names of the networks are those of the manifests.
    networks = {
        yaml.safe_load((REPOSITORY / "manifests" / "istio" / f"{name}-namespace.yaml").read_text())["metadata"][
            "labels"
        ]["topology.istio.io/network"]
        for name in ("primary", "remote")
    }
    assert all(any(network in picture for picture in pictures) for network in networks)


@pytest.mark.parametrize("page", documents(), ids=document_id)
def test_a_page_uses_the_common_terms(page: Path) -> None:
    """Not in what is generated: that is the code's."""
    text = re.sub(r"<!-- made by .*?<!-- end -->", "", page.read_text(), flags=re.DOTALL)
    found = re.findall(
        r"\b(?:side-car|told(?! apart)|anew|the seed|meshes? of others|nouns?|accus\w+)\b", without_code(text)
    )
    assert found == []


def test_of_a_table_by_protocol_a_test_has_the_causes_of_its_own_protocol() -> None:
    routing = REPOSITORY / "suites" / "routing"
    silent, large = (
        tables.causes_of(catalogue.behaviour(routing / f"test_{name}.py"))
        for name in ("silent_connections_stay_open", "large_bodies_arrive_whole")
    )
    assert silent == [causes.SILENCE_LIMITED]
    assert large == [causes.BODY_LIMITED, causes.CONNECTION_CUT]


def test_every_area_shows_its_behaviour_by_hand() -> None:
    areas = sorted({path.parent for path in (REPOSITORY / "suites").glob("*/test_*.py")})
    assert areas
    for area in areas:
        _, _, by_hand = (area / "README.md").read_text().partition("## By hand")
        lines = shell_lines(by_hand)
        assert 0 < len(lines) <= 15, area
        assert any("kubectl" in line for line in lines), area


def test_every_message_that_is_explained_can_appear(messages: str) -> None:
    page = (REPOSITORY / "docs" / "failures.md").read_text()
    _, _, explained = page.partition("## Inconclusive")
    rows = [line for line in explained.splitlines() if line.startswith("| ") and "`" in line.split(" | ")[0]]
    assert len(rows) >= 25
    pieces = [piece.strip() for row in rows for span in _SPAN.findall(row.split(" | ")[0]) for piece in span.split("…")]
    assert [piece for piece in pieces if piece not in messages] == []


def readme_commands() -> dict[str, str]:
    lines = shell_lines((REPOSITORY / "README.md").read_text())
    return {line.rpartition(" ")[2]: line for line in lines if " tox run -e " in line.replace("/tox", " tox")}


def test_the_readme_counts_the_faults_of_each_network_mode() -> None:
    counted = re.search(r"(\d+) of them in each network mode", (REPOSITORY / "README.md").read_text())
    assert counted is not None
    breaking = [fault for fault in every_fault() if not fault.sound and fault.assumes.holds(PRIMARY_REMOTE)]
    assert {sum(mode in fault.modes for fault in breaking) for mode in NetworkMode} == {int(counted[1])}


def test_the_readme_has_one_line_for_the_main_job_and_one_for_its_tests() -> None:
    assert set(readme_commands()) == {"conformance", "unit"}


def test_ci_calls_the_two_lines_of_the_readme_as_they_stand() -> None:
    script = REPOSITORY / ".ci" / "run"
    text = script.read_text()
    assert script.stat().st_mode & 0o111
    assert "pip install" not in text
    function = re.search(r"^readme_command\(\) \{\n.*?^\}$", text, re.MULTILINE | re.DOTALL)
    assert function is not None
    for environment, line in readme_commands().items():
        assert f"{environment}=$(readme_command {environment})" in text
        assert re.search(
            rf'^(step ".*" bash -c "\${environment}"|begin_beside "\${environment}" "[^"]*")$', text, re.MULTILINE
        )
        read = ["bash", "-c", f"{function[0]}\nreadme_command {environment}"]
        printed = subprocess.run(read, cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=60)
        assert printed.stdout == f"{line}\n"


def steps_of(workflow: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    content = yaml.safe_load(workflow.read_text())
    return content, [step for job in content["jobs"].values() for step in job["steps"]]


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_is_bounded_and_trusts_no_tag(workflow: Path) -> None:
    content, steps = steps_of(workflow)
    assert content["permissions"] == {"contents": "read"}
    assert all(job["timeout-minutes"] <= 60 for job in content["jobs"].values())
    used = [step["uses"] for step in steps if "uses" in step]
    assert used
    assert [action for action in used if not re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40}", action)] == []
    # An expression in a script is replaced before the script runs, so its value could contain code.
    assert [step["run"] for step in steps if "${{" in step.get("run", "")] == []


@pytest.mark.parametrize(("workflow", "environment"), [("tests", "unit"), ("nightly", "conformance")])
def test_a_workflow_runs_the_line_of_the_readme(workflow: str, environment: str) -> None:
    _, steps = steps_of(REPOSITORY / ".github" / "workflows" / f"{workflow}.yml")
    commands = [step["run"].replace("exec ", "", 1) for step in steps if "run" in step]
    assert any(command.startswith(readme_commands()[environment]) for command in commands)


def test_the_nightly_asks_which_releases_are_supported() -> None:
    jobs = yaml.safe_load((REPOSITORY / ".github" / "workflows" / "nightly.yml").read_text())["jobs"]
    versions = jobs["conformance"]["strategy"]["matrix"]["istio_version"]
    assert versions.endswith("|| needs.releases.outputs.versions) }}")
    (asked,) = (step for step in jobs["releases"]["steps"] if step.get("id") == "supported")
    assert "python3 -m lab.images.supported" in asked["run"]
    assert {name for name, job in jobs.items() if job.get("needs") == "releases"} == {"conformance", "upgrade"}


def test_example_pages_follow_from_their_reports() -> None:
    found = [path for path, text in examples.rendered() if path.read_text("utf-8") != text]
    assert found == [], "run python -m docs.examples"
    verdicts = {
        stored.parent.name: report_file.load(stored).verdict.value for stored in examples.FOLDER.glob("*/report.json")
    }
    assert verdicts == {"sound": "conformant", "broken": "not conformant", "upgrade": "not conformant"}
