"""What is read of a behaviour, and which behaviours a run claims."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fixtures.behaviours import behaviour as decorator
from splithorizon.run.catalogue import EVERYDAY, Profile, behaviour, parse_profiles, selected_by, unclaimed

MODULE = '''"""It holds,
at all times.

Given  a mesh
"""

def helper(): ...

@pytest.mark.timeout(9)
@behaviour({data})
def test_it(): ...
'''
DATA = 'profile="{}", breaks_when="a-fault"'


def module(folder: Path, name: str, profile: str = "core", *, data: str = DATA) -> Path:
    path = folder / "area" / f"{name}.py"
    path.parent.mkdir(exist_ok=True)
    path.write_text(MODULE.format(data=data.format(profile)))
    return path


def test_the_docstring_has_the_claim_and_the_decorator_the_rest(tmp_path: Path) -> None:
    read = behaviour(module(tmp_path, "test_it", "security"))
    assert (read.area, read.name, read.claim) == ("area", "test_it", "It holds, at all times")
    assert (read.breaks_when, read.profile) == (("a-fault",), Profile.SECURITY)


def test_the_checks_that_a_test_calls_and_the_members_that_it_names_are_read(tmp_path: Path) -> None:
    path = module(tmp_path, "test_it")
    body = "def test_it(): record(checks.carried(Protocol.TCP, route), checks.all_answered(sample.replies))"
    path.write_text(path.read_text().replace("def test_it(): ...", body))
    read = behaviour(path)
    assert read.checks == ("carried", "all_answered")
    assert {"TCP", "replies"} <= set(read.attributes)


@pytest.mark.parametrize(("data", "latent"), [(DATA, False), (f"{DATA}, latent=True", True)])
def test_whether_traffic_needs_it_is_read(tmp_path: Path, data: str, latent: bool) -> None:
    assert behaviour(module(tmp_path, "test_it", data=data)).latent is latent


def test_several_faults_keep_their_order(tmp_path: Path) -> None:
    read = behaviour(module(tmp_path, "test_it", data='profile="core", breaks_when=("z", "a")'))
    assert read.breaks_when == ("z", "a")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ('profile="fast", breaks_when="a"', "there is no profile 'fast': core, extended"),
        ('breaks_when="a"', "there is no profile None"),
        ('profile="core"', "breaks_when is None: the name of a registered fault"),
        ('profile="core", breaks_when=""', "the name of a registered fault"),
        ('profile="core", breaks_when=()', "the name of a registered fault"),
        ('profile="core", breaks_when=("a", 1)', "the name of a registered fault"),
        ('profile=CORE, breaks_when="a"', "not literals"),
    ],
)
def test_invalid_data_is_refused_with_the_file(tmp_path: Path, data: str, message: str) -> None:
    with pytest.raises(ValueError, match=rf"test_it\.py: .*{re.escape(message)}"):
        behaviour(module(tmp_path, "test_it", data=data))


def test_a_module_without_the_decorator_is_refused(tmp_path: Path) -> None:
    path = module(tmp_path, "test_it")
    path.write_text(path.read_text().replace("@behaviour", "@something"))
    with pytest.raises(ValueError, match=r"test_it\.py: no test has a decorator @behaviour"):
        behaviour(path)


def test_the_decorator_marks_the_data_that_the_catalogue_reads() -> None:
    @decorator(profile="security", breaks_when="a-fault")
    def test_it() -> None: ...

    marks = {mark.name: mark.kwargs for mark in test_it.pytestmark}  # type: ignore[attr-defined]  # pytest sets it
    data = {"profile": "security", "breaks_when": ("a-fault",), "latent": False, "every_pair": False}
    assert marks == {"behaviour": data, "security": {}}
    with pytest.raises(ValueError, match="no profile 'fast'"):
        decorator(profile="fast", breaks_when="a-fault")


@pytest.mark.parametrize(
    ("expression", "profiles"),
    [
        ("security", (Profile.SECURITY,)),
        ("core or disruptive", (Profile.CORE, Profile.DISRUPTIVE)),
        ("(core or extended) and not slow", (Profile.CORE, Profile.EXTENDED)),
        ("not disruptive", ()),
        ("not (disruptive or cleanup)", ()),
        ("core and security", ()),
        ("slow", ()),
        ("", ()),
        ("core or slow(reason='net')", ()),
        ("core or", ()),
    ],
)
def test_an_expression_of_marks_asks_for_the_profiles_that_it_names(
    expression: str, profiles: tuple[Profile, ...]
) -> None:
    assert selected_by(expression) == profiles


def test_profiles_are_named_or_all() -> None:
    assert parse_profiles("security, core") == (Profile.CORE, Profile.SECURITY)
    assert parse_profiles("all") == tuple(Profile)
    assert parse_profiles(",".join(EVERYDAY)) == EVERYDAY
    with pytest.raises(ValueError, match="no profile ''"):
        parse_profiles("core,")


def test_what_was_not_asked_for_is_unclaimed_with_its_reason(tmp_path: Path) -> None:
    core, away = (behaviour(module(tmp_path, name, p)) for name, p in [("test_a", "core"), ("test_b", "disruptive")])
    both = [core, away]
    assert unclaimed(both, EVERYDAY, named=(), refused={}) == {
        "test_b": "of profile disruptive, which was not asked for"
    }
    assert unclaimed(both, EVERYDAY, named=(away.path,), refused={}) == {}
    assert unclaimed(both, tuple(Profile), named=(), refused={}) == {}
    refused = {Profile.DISRUPTIVE: "its owner does not allow it"}
    assert unclaimed(both, tuple(Profile), named=(away.path,), refused=refused) == {
        "test_b": "its owner does not allow it"
    }
