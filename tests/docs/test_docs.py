"""What is written for people is true of the code beside it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from docs import tables
from proof.faults import every_fault
from splithorizon.diagnosis import causes
from splithorizon.istio.info import NetworkMode
from tests.support.repository import kept_files

REPOSITORY = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((REPOSITORY / ".github" / "workflows").glob("*.yml"))

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*[a-z]")
_PROSE_WIDTH = 150


def documents() -> list[Path]:
    found = sorted(path for path in kept_files() if path.suffix == ".md")
    assert len(found) >= 8
    return found


def document_id(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


def shell_lines(text: str) -> list[str]:
    return [line for kind, block in _FENCE.findall(text) if kind == "sh" for line in block.splitlines()]


def without_code(text: str) -> str:
    return _SPAN.sub("", _FENCE.sub("", text))


def anchors(text: str) -> set[str]:
    """The fragments that a page's headings can be linked by, as GitHub makes them."""
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
    """The options of pytest that a page names, alone or on a command line of pytest's."""
    spans = [span for span in _SPAN.findall(_FENCE.sub("", text)) if span.startswith(("--", "pytest"))]
    lines = [line for line in shell_lines(text) if re.match(r"(\S*/)?pytest ", line)]
    return {option for part in [*spans, *lines] for option in _OPTION.findall(part)}


@pytest.fixture(scope="module")
def known_options() -> set[str]:
    shown = subprocess.run(
        [sys.executable, "-m", "pytest", "--help"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return set(_OPTION.findall(shown.stdout))


@pytest.fixture(scope="module")
def messages() -> str:
    """Every text in the code, one a line; what is put into an f-string is cut out."""
    files = [path for package in ("splithorizon", "lab", "fixtures") for path in (REPOSITORY / package).rglob("*.py")]
    texts = [
        node.value
        for path in files
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    return "\n".join(texts)


def test_these_tests_see_what_they_look_for(tmp_path: Path) -> None:
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
    # Of a link, what is shown.
    shown = re.sub(r"\]\([^)\s]+\)", "]", _FENCE.sub("", page.read_text()))
    lines = shown.splitlines()
    assert [line for line in lines if len(line) > _PROSE_WIDTH and not line.startswith("|")] == []


def test_the_tables_are_what_the_code_says() -> None:
    command = [sys.executable, "-m", "docs.tables", "--check"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, f"run python -m docs.tables\n{done.stdout}{done.stderr}"


def test_a_stale_table_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    area = tmp_path / "suites" / "area"
    area.mkdir(parents=True)
    monkeypatch.setattr(tables, "SUITES", area.parent)
    monkeypatch.setattr(tables, "CAUSES", tmp_path / "causes.md")
    for page in (area / "README.md", area.parent / "README.md", tables.CAUSES):
        page.write_text("# Area\n<!-- made by docs/tables.py -->\nold\n<!-- end -->\nkept\n")
    module = area / "test_x.py"
    module.write_text(
        '"""It holds."""\n@behaviour(profile="core", breaks_when="networks-joined")\n'
        "def test_x(prove): prove(checks.absent(()))\n"
    )
    assert (tables.main(["--check"]), tables.main([]), tables.main(["--check"])) == (1, 0, 0)
    text = (area / "README.md").read_text()
    assert "| [It holds](test_x.py) | core | [networks-joined](" in text
    assert "): Each node gets a route to the other's pods" in text
    assert "| `primary-profile-in-remote` |" in text
    assert "kept" in text
    (row,) = (line for line in tables.CAUSES.read_text().splitlines() if line.startswith("| `networks-joined` |"))
    assert row.endswith("proof/faults/networks.py) |")
    module.write_text(module.read_text().replace("networks-joined", "no-such-fault"))
    with pytest.raises(ValueError, match=r"test_x\.py: there is no fault 'no-such-fault'"):
        tables.main(["--check"])


def test_of_a_table_by_protocol_a_test_has_the_causes_of_its_own_protocol() -> None:
    routing = REPOSITORY / "suites" / "routing"
    silent, large = (
        tables.causes_of(routing / f"test_{name}.py")
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
    told = re.search(r"(\d+) of them in each network mode", (REPOSITORY / "README.md").read_text())
    assert told is not None
    assert {sum(mode in fault.modes and not fault.sound for fault in every_fault()) for mode in NetworkMode} == {
        int(told[1])
    }


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
        found = subprocess.run(read, cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=10)
        assert found.stdout == f"{line}\n"


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
    # An expression in a script is code that whoever fills it in may write.
    assert [step["run"] for step in steps if "${{" in step.get("run", "")] == []


@pytest.mark.parametrize(("workflow", "environment"), [("tests", "unit"), ("nightly", "conformance")])
def test_a_workflow_runs_the_line_of_the_readme(workflow: str, environment: str) -> None:
    _, steps = steps_of(REPOSITORY / ".github" / "workflows" / f"{workflow}.yml")
    commands = [step["run"].replace("exec ", "", 1) for step in steps if "run" in step]
    assert any(command.startswith(readme_commands()[environment]) for command in commands)


def test_the_nightly_versions_can_also_be_built() -> None:
    text = (REPOSITORY / ".github" / "workflows" / "nightly.yml").read_text()
    nightly = set(re.findall(r'"(\d+\.\d+\.\d+)"', text))
    releases = tomllib.loads((REPOSITORY / "images" / "versions.toml").read_text())["istio"]["releases"]
    assert nightly == set(releases)
