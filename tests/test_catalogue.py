"""What a behaviour says of itself, and which behaviours a run is about."""

from __future__ import annotations

from pathlib import Path

import pytest

from splithorizon.catalogue import EVERYDAY, Profile, behaviour, parse_profiles, unclaimed

MODULE = '"""It holds,\nat all times.\n\nGiven  a mesh\nBreaks when  it is\n    broken\nProfile  {profile}\n"""\n'


def module(folder: Path, name: str, profile: str = "core") -> Path:
    path = folder / "area" / f"{name}.py"
    path.parent.mkdir(exist_ok=True)
    path.write_text(MODULE.format(profile=profile))
    return path


def test_a_docstring_tells_claim_fault_and_profile(tmp_path: Path) -> None:
    found = behaviour(module(tmp_path, "test_it", "security"))
    assert (found.area, found.name, found.claim) == ("area", "test_it", "It holds, at all times")
    assert (found.fault, found.profile) == ("it is broken", Profile.SECURITY)


def test_one_that_names_no_known_profile_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"test_it\.py: there is no profile 'fast': core, extended"):
        behaviour(module(tmp_path, "test_it", "fast"))
    path = module(tmp_path, "test_it")
    path.write_text(path.read_text().replace("Breaks when", "Breaks if"))
    with pytest.raises(ValueError, match="no 'Breaks when'"):
        behaviour(path)


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
