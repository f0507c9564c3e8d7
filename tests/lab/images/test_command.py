"""The command line of a module that builds images: which engine it calls, with which name, and how it ends."""

from __future__ import annotations

import pytest

from lab.engine import Engine
from lab.images import command
from splithorizon.base.errors import UsageProblem
from splithorizon.run.progress import Progress
from tests.support.fake_programs import FakePrograms


def run(*arguments: str, problem: UsageProblem | None = None) -> tuple[int, list[tuple[str, str]]]:
    """The exit status, and the provider and the name that the build got."""
    built: list[tuple[str, str]] = []

    def build(engine: Engine, name: str, progress: Progress) -> None:
        built.append((engine.provider, name))
        if problem:
            raise problem

    return command.run("lab.images.any", "Builds.", "a name", build, arguments), built


@pytest.mark.parametrize("provider", ["podman", "docker"])
def test_the_engine_and_the_name_are_those_of_the_command_line(provider: str, programs: FakePrograms) -> None:
    programs.add(provider)
    assert run("hub/image:1", "--provider", provider) == (0, [(provider, "hub/image:1")])


def test_a_build_that_cannot_be_made_is_said_and_ends_with_1(
    programs: FakePrograms, capsys: pytest.CaptureFixture[str]
) -> None:
    programs.add("podman")
    status, built = run("image", problem=UsageProblem("there is no Go. Nothing was created."))
    assert (status, len(built)) == (1, 1)
    assert capsys.readouterr().err == "there is no Go. Nothing was created.\n"


def test_nothing_is_built_without_an_engine(programs: FakePrograms, capsys: pytest.CaptureFixture[str]) -> None:
    programs.hide_all_others()
    assert run("image") == (1, [])
    assert capsys.readouterr().err == "there is no podman on PATH. Nothing was created.\n"
