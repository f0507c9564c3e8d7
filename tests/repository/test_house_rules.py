"""Rules of this repository that no linter knows; each was a bug somewhere."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import fixtures
import splithorizon
from tests.support.repository import kept_files

REPOSITORY = Path(__file__).resolve().parents[2]
LIBRARY, PYTEST_SIDE, SUITES = ("splithorizon",), ("fixtures", "conftest.py"), ("suites",)

# In pieces, or this file would break its own rule. Debian has a package named docker.io.
HOSTS = [
    ".".join(parts)
    for parts in [
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("proxy", "golang", "org"),
        ("sum", "golang", "org"),
        ("npmjs", "org"),
        ("crates", "io"),
        ("rubygems", "org"),
        ("deb", "debian", "org"),
        ("registry-1", "docker", "io"),
        ("docker", "io/"),
        ("quay", "io"),
        ("gcr", "io"),
        ("ghcr", "io"),
        ("registry", "k8s", "io"),
    ]
]


def sources(*places: str) -> list[Path]:
    found = [path for place in places for path in ([REPOSITORY / place] if place.endswith(".py") else _below(place))]
    assert found, f"no Python files in {places}"
    return found


def _below(place: str) -> list[Path]:
    return sorted((REPOSITORY / place).rglob("*.py"))


def used_names(path: Path) -> Iterator[str]:
    """Every module and attribute that a file uses, as dotted names."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield f"{node.value.id}.{node.attr}"


def using(files: list[Path], *banned: str) -> dict[str, list[str]]:
    """The files that use a banned name or anything in it."""
    broken = {
        str(path.relative_to(REPOSITORY)): sorted(
            {n for n in used_names(path) for b in banned if n == b or n.startswith(f"{b}.")}
        )
        for path in files
    }
    return {path: names for path, names in broken.items() if names}


def test_the_rules_see_what_they_look_for(tmp_path: Path) -> None:
    file = tmp_path / "file.py"
    file.write_text("import time as t\nfrom time import sleep\nimport a.b\ntime.sleep(1)\n")
    assert set(used_names(file)) == {"time", "time.sleep", "a.b"}


def test_the_library_knows_no_pytest() -> None:
    # The command runs pytest, and imports it where it does: tests/test_cli.py.
    assert using(sources(*LIBRARY), "pytest", "_pytest", "fixtures") == {
        "splithorizon/cli.py": ["pytest", "pytest.main"]
    }


def test_the_suites_know_only_nouns_and_checks() -> None:
    banned = ("kubernetes", "subprocess", "tenacity", "time", "requests", "splithorizon.base.process")
    assert using(sources(*SUITES), *banned) == {}


def test_waiting_has_one_place() -> None:
    broken = using(sources(*LIBRARY, *PYTEST_SIDE, *SUITES), "tenacity", "time.sleep")
    assert set(broken) == {"splithorizon/base/waiting.py"}


def test_child_processes_have_one_place() -> None:
    banned = ("subprocess", "os.system", "os.popen", "multiprocessing", "pty")
    broken = using(sources(*LIBRARY, *PYTEST_SIDE, *SUITES), *banned)
    assert set(broken) == {"splithorizon/base/process.py"}


def test_a_command_that_a_check_gives_names_its_cluster() -> None:
    """Who looks at two clusters has one of them as the current context, and half of the time it is the wrong one."""
    given = [
        command
        for path in sources("splithorizon")
        for command in re.findall(r'"((?:kubectl|istioctl) (?!installs|generated|did)[^"]+)', path.read_text())
    ]
    assert len(given) > 20
    assert [
        command for command in given if not re.match(r"\w+ <((istiod|secrets|config|gateway) of )?\{\w", command)
    ] == []


def test_no_file_names_the_host_of_a_registry() -> None:
    pattern = re.compile("|".join(rf"(?<![\w-]){re.escape(host)}" for host in HOSTS), re.IGNORECASE)
    looked_at, broken = 0, []
    for path in kept_files():
        looked_at += 1
        for match in pattern.finditer(path.read_bytes().decode(errors="replace")):
            broken.append(f"{path.relative_to(REPOSITORY)}: {match[0]}")
    assert looked_at > 100
    assert broken == []


def test_the_conftest_is_a_list_of_plug_ins_and_nothing_else() -> None:
    text = (REPOSITORY / "conftest.py").read_text()
    kinds = [type(node).__name__ for node in ast.parse(text).body]
    assert kinds == ["Expr", "ImportFrom", "Assign"]
    assert len(text.splitlines()) < 40


def test_every_duration_says_why() -> None:
    text = (REPOSITORY / "splithorizon" / "base" / "timeouts.py").read_text()
    fields = re.findall(r"^    \w+: float = .*$", text, re.MULTILINE)
    assert len(fields) >= 15
    assert [field for field in fields if not re.search(r"= [\d.]+  # .{10}", field)] == []


@pytest.mark.parametrize("package", [splithorizon, fixtures], ids=["splithorizon", "fixtures"])
def test_our_packages_come_before_distributions_of_that_name(package: object) -> None:
    file = getattr(package, "__file__", None)
    assert file is not None
    assert Path(file).parent.parent == REPOSITORY


def test_nothing_runs_a_failed_test_again(pytestconfig: pytest.Config) -> None:
    assert not pytestconfig.pluginmanager.hasplugin("rerunfailures")
    assert "rerun" not in (REPOSITORY / "pyproject.toml").read_text()
